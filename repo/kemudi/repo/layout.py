"""Where the parts of a repository are: found and judged in process, before git is asked anything."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kemudi.repo.errors import NoConfigRepositoryError, UnsafeRepositoryError, UnsupportedRepositoryError
from kemudi.repo.git import program
from kemudi.schema.sentences import sentence

_POINTER: Final = "gitdir: "


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one repository.

    Attributes:
        git_dir: Holds HEAD; of a linked worktree its own.
        common_dir: Holds refs and objects.
        worktree: The top of the work tree, None for a bare repository.
    """

    git_dir: Path
    common_dir: Path
    worktree: Path | None

    @property
    def is_shallow(self) -> bool:
        """Whether history is cut off."""
        try:
            return (self.common_dir / "shallow").stat().st_size > 0
        except OSError:
            return False

    def shallow_commits(self) -> frozenset[str]:
        """The commits whose parents were left out; none in a whole clone."""
        try:
            return frozenset(
                (self.common_dir / "shallow").read_text(encoding="ascii", errors="replace").split()
            )
        except OSError:
            return frozenset()


def find(path: Path) -> Layout:
    """The repository that `path` lies in, or is. Raises NoConfigRepositoryError, UnsafeRepositoryError."""
    for folder in _upwards(path):
        dot_git = folder / ".git"
        if dot_git.is_file():
            return _checked(_of_git_dir(_pointed_to(dot_git), folder), dot_git)
        if _is_git_dir(dot_git):
            return _checked(Layout(dot_git, dot_git, folder), dot_git)
        if _is_git_dir(folder):
            return _checked(_of_git_dir(folder, None), folder)
    raise NoConfigRepositoryError(
        sentence("%(path)s is in no git repository", path=path),
        hint=sentence("Name a config repo, or start one with `kemudi init`."),
    )


def check_owner(path: Path, *, uid: int, trusted: frozenset[str]) -> None:
    """Raise UnsafeRepositoryError if `path` is neither of `uid` nor trusted. The rule is git's own.

    Args:
        path: A folder or file of the repository.
        uid: Who runs this process.
        trusted: Values of `safe.directory`.
    """
    owner = path.lstat().st_uid
    sudo = os.environ.get("SUDO_UID", "")
    if owner == uid or (uid == 0 and sudo.isascii() and sudo.isdigit() and owner == int(sudo)):
        return
    folder = path.parent if path.name == ".git" else path
    if "*" in trusted or str(folder) in trusted or str(path) in trusted:
        return
    raise UnsafeRepositoryError(
        sentence(
            "%(folder)s belongs to user %(owner)s, and this process runs as user %(uid)s",
            folder=folder,
            owner=owner,
            uid=uid,
        ),
        hint=sentence("If you trust it: git config --global --add safe.directory %(folder)s", folder=folder),
    )


def trusted_folders() -> frozenset[str]:
    """The user's `safe.directory` list: the only part of their git configuration that is read."""
    found: set[str] = set()
    for scope in ("--system", "--global"):
        answer = subprocess.run(
            [program(), "config", scope, "--null", "--get-all", "safe.directory"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=10,
        )
        for value in answer.stdout.decode("utf-8", "replace").split("\0")[:-1]:
            if value:
                found.add(value)
            else:
                found.clear()  # as for git, an empty value takes back what stood before it
    return frozenset(found)


def _checked(layout: Layout, *also: Path) -> Layout:
    if not (layout.common_dir / "objects").is_dir():
        raise NoConfigRepositoryError(
            sentence(
                "%(common_dir)s is not a git repository: it has no objects", common_dir=layout.common_dir
            )
        )
    trusted: frozenset[str] | None = None
    for path in dict.fromkeys((layout.git_dir, layout.common_dir, *also)):
        try:
            check_owner(path, uid=os.geteuid(), trusted=trusted or frozenset())
        except UnsafeRepositoryError:
            if trusted is not None:
                raise
            trusted = trusted_folders()
            check_owner(path, uid=os.geteuid(), trusted=trusted)
    return layout


def _upwards(path: Path) -> Iterator[Path]:
    start = path.resolve()
    yield start
    yield from start.parents


def _is_git_dir(folder: Path) -> bool:
    if not (folder / "HEAD").is_file():
        return False
    return (folder / "commondir").is_file() or ((folder / "objects").is_dir() and (folder / "refs").exists())


def _of_git_dir(git_dir: Path, worktree: Path | None) -> Layout:
    if not _is_git_dir(git_dir):
        raise NoConfigRepositoryError(
            sentence("%(git_dir)s is not a git repository", git_dir=git_dir),
            hint=sentence("A linked worktree whose repository was moved is mended by `git worktree repair`."),
        )
    try:
        common = (git_dir / "commondir").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return Layout(git_dir, git_dir, worktree)
    return Layout(git_dir, (git_dir / common).resolve(), worktree)


def _pointed_to(dot_git: Path) -> Path:
    text = dot_git.read_bytes()[:8192].decode("utf-8", "replace")
    if not text.startswith(_POINTER):
        raise UnsupportedRepositoryError(sentence("%(dot_git)s is not a file of git", dot_git=dot_git))
    return (dot_git.parent / text[len(_POINTER) :].rstrip("\r\n")).resolve()
