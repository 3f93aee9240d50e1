"""Refs read in process: the daemon polls them, and a process for each look would cost a hundred times as much.

Only the plain cases are read here: a loose file, `packed-refs`, a symbolic HEAD. Whatever looks different (reftable,
a symlink, a damaged file) is left to git, whose answer counts.
"""

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kemudi.repo.errors import CorruptObjectError, UnknownRevisionError
from kemudi.repo.git import Git
from kemudi.repo.layout import Layout
from kemudi.schema.sentences import sentence

_SYMBOLIC: Final = re.compile(rb"ref: *([^\n\x00]+)\n?")
_DIRECT: Final = re.compile(rb"([0-9a-f]{40})\s*")
_HEADS: Final = "refs/heads/"
_REFTABLE: Final = "refs/heads/.invalid"
_LARGEST: Final = 4096
# A file that changed within the clock's tick of its own time stamp may change once more and keep its stamp.
_TICK_NS: Final = 20_000_000


@dataclass(frozen=True, slots=True)
class Head:
    """What HEAD says.

    Attributes:
        branch: Name of the branch, None when HEAD is detached.
        sha: The commit, None on a branch without commits.
    """

    branch: str | None
    sha: str | None


class Refs:
    """The refs of one repository. One thread uses it at a time."""

    def __init__(self, layout: Layout, git: Git) -> None:
        self._layout = layout
        self._git = git
        self._packed: dict[bytes, str] = {}
        self._packed_stamp: tuple[int, ...] | None = None

    def head(self) -> Head:
        """HEAD now. Raises UnavailableError's family when the repository is damaged."""
        content = _read(self._layout.git_dir / "HEAD")
        if content is not None:
            direct = _DIRECT.fullmatch(content)
            if direct is not None:
                return Head(None, direct[1].decode())
            symbolic = _SYMBOLIC.fullmatch(content)
            if symbolic is not None:
                name = os.fsdecode(symbolic[1].rstrip())
                if name != _REFTABLE and name.startswith(_HEADS):
                    return Head(name[len(_HEADS) :], self.tip(name))
        return self._asked_head()

    def branch_tip(self, branch: str) -> str | None:
        """The commit of a branch, None if there is none. Raises UnknownRevisionError for an impossible name."""
        return self.tip(_HEADS + check_ref_part(branch))

    def tip(self, name: str) -> str | None:
        """The commit of a full ref name, None if there is none."""
        content = _read(self._layout.common_dir / name)
        if content is not None:
            direct = _DIRECT.fullmatch(content)
            return direct[1].decode() if direct is not None else self._asked(name)
        if self._is_reftable():
            return self._git.rev_parse(name)
        return self._packed_refs().get(os.fsencode(name))

    def _asked(self, name: str) -> str:
        found = self._git.rev_parse(name)
        if found is None:
            # Not "no such ref": a counter or a branch that is there, but unreadable, must not look like a new one.
            raise CorruptObjectError(
                sentence("%(name)s is damaged", name=self._layout.common_dir / name), sha=name
            )
        return found

    def _asked_head(self) -> Head:
        sha = self._git.rev_parse("HEAD")
        name = self._git.symbolic_head()
        if name is None and sha is None:
            raise CorruptObjectError(
                sentence("%(name)s is damaged", name=self._layout.git_dir / "HEAD"), sha="HEAD"
            )
        return Head(name[len(_HEADS) :] if name is not None and name.startswith(_HEADS) else None, sha)

    def _is_reftable(self) -> bool:
        return not stat.S_ISDIR(_mode(self._layout.common_dir / "refs" / "heads"))

    def _packed_refs(self) -> dict[bytes, str]:
        path = self._layout.common_dir / "packed-refs"
        try:
            found = path.stat()
        except FileNotFoundError:
            return {}
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if stamp != self._packed_stamp:
            self._packed = _parse_packed(path)
            settled = time.time_ns() - found.st_ctime_ns > _TICK_NS
            self._packed_stamp = stamp if settled else None
        return self._packed


def check_ref_part(name: str) -> str:
    """`name` if it is safe as part of a ref's name and path. Raises UnknownRevisionError."""
    parts = name.split("/")
    bad = any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    if bad or ".." in name or "@{" in name or re.search(r"[\x00-\x20\x7f~^:?*\[\\]", name):
        raise UnknownRevisionError(sentence("%(name)s cannot be the name of a branch", name=repr(name[:60])))
    return name


def _read(path: Path) -> bytes | None:
    """The start of a plain file; None if there is no such file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return b""
    try:
        return os.read(handle, _LARGEST)
    except OSError:
        # A folder `refs/heads/a` is there for a branch `a/b`; then `a` can only be packed.
        return None
    finally:
        os.close(handle)


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def _parse_packed(path: Path) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for line in path.read_bytes().split(b"\n"):
        if line[:1] not in (b"#", b"^", b"") and line[40:41] == b" ":
            found[line[41:]] = line[:40].decode("ascii", "replace")
    return found
