"""A config repo in git: its commits as files, what changed between two, and how they stand to each other."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from kemudi.repo import layout
from kemudi.repo.ancestry import Ancestry
from kemudi.repo.errors import (
    NoConfigRepositoryError,
    UnknownRevisionError,
    UnsupportedRepositoryError,
    WrongObjectKindError,
)
from kemudi.repo.formats import Commit
from kemudi.repo.git import SHA, Git
from kemudi.repo.layout import Layout
from kemudi.repo.objects import Objects
from kemudi.repo.paths import MANIFEST, READ_BYTES
from kemudi.repo.refs import Head, Refs
from kemudi.repo.trees import FileId, Trees
from kemudi.schema.paths import File
from kemudi.schema.sentences import sentence

_SEARCHED_DEPTH: Final = 2


class ConfigRepository:
    """A local repository, bare or not, that holds a config repo in its root or in a folder.

    Reads git objects only, never the work tree. One thread uses it at a time. Every method may raise a member of
    UnavailableError's family when the repository cannot be read: `CorruptObjectError`, `GitTimeoutError` …

    Attributes:
        layout: Where the parts of the repository are.
        prefix: Folder of kemudi.yaml in the repository, `""` for its root, else without a slash at the end.
        git: The runner, for what is rare.
        objects: The object reader.
    """

    def __init__(self, where: Layout, prefix: str) -> None:
        self.layout = where
        self.prefix = prefix
        self.git = Git(where.git_dir)
        self.objects = Objects(self.git)
        self._refs = Refs(where, self.git)
        self._trees = Trees(self.objects)
        self._ancestry = Ancestry(where, self.git, self.objects)
        self._ids: tuple[str, Mapping[str, FileId]] | None = None

    @classmethod
    def open(cls, path: Path, *, prefix: str | None = None) -> Self:
        """Open the repository that `path` leads to: the config folder, a folder above it, or a bare repository.

        Args:
            path: Where to look. The folder of kemudi.yaml is `path`, its `config-repo`, one above it, else the only
                one in the work tree or in HEAD's tree.
            prefix: The folder in the repository, when it is known.

        Raises NoConfigRepositoryError, UnsafeRepositoryError, UnsupportedRepositoryError.
        """
        where = layout.find(path)
        kind = Git(where.git_dir).object_format()
        if kind != "sha1":
            raise UnsupportedRepositoryError(
                sentence(
                    "%(common_dir)s names its objects by %(kind)s; Kemudi reads SHA-1 repositories",
                    common_dir=where.common_dir,
                    kind=kind,
                )
            )
        if prefix is None:
            prefix = _prefix_on_disk(path.resolve(), where)
        if prefix is not None:
            return cls(where, prefix.strip("/"))
        repository = cls(where, "")
        try:
            repository.prefix = repository._prefix_in_head()
        except BaseException:
            repository.close()
            raise
        return repository

    @property
    def worktree_root(self) -> Path | None:
        """The config folder in the work tree, None for a bare repository."""
        top = self.layout.worktree
        return None if top is None else top / self.prefix

    @property
    def watched(self) -> tuple[Path, ...]:
        """Folders whose change may mean a new commit: HEAD is in the first, the branches below the second."""
        return tuple(dict.fromkeys((self.layout.git_dir, self.layout.common_dir / "refs" / "heads")))

    def head(self) -> Head:
        """The branch that HEAD is on and its commit; a detached HEAD has no branch, an unborn branch no commit."""
        return self._refs.head()

    def branch_tip(self, branch: str) -> str | None:
        """The newest commit of a local branch, None if there is no such branch. Reads one file."""
        return self._refs.branch_tip(branch)

    def resolve(self, rev: str) -> str:
        """The commit that any name of git's stands for. Raises UnknownRevisionError."""
        known = SHA.fullmatch(rev) and self._is_commit(rev)
        found = rev if known else self.git.rev_parse(rev)
        if found is None:
            raise UnknownRevisionError(
                sentence(
                    "%(value)s names no commit of %(common_dir)s",
                    value=repr(rev[:80]),
                    common_dir=self.layout.common_dir,
                )
            )
        return found

    def file_ids(self, sha: str) -> Mapping[str, FileId]:
        """Which content every file of the config repo has at a commit, by path. Near the last call it is cheap."""
        if self._ids is None:
            ids = self._different(None, sha)
            self._ids = sha, {path: found for path, found in ids.items() if found is not None}
        elif self._ids[0] != sha:
            merged = dict(self._ids[1])
            for path, found in self._different(self._ids[0], sha).items():
                if found is None:
                    merged.pop(path, None)
                else:
                    merged[path] = found
            self._ids = sha, merged
        return self._ids[1]

    def files(self, sha: str) -> dict[str, File]:
        """Every file of the config repo at a commit, by path relative to the config repo."""
        read = self._read(self._different(None, sha))
        return {path: file for path, file in read.items() if file is not None}

    def file(self, sha: str, name: str) -> File | None:
        """One file of the config repo's own folder at a commit, None where there is none. No process is started."""
        folder = self._folder(sha)
        entry = self.objects.tree(folder).get(name.encode()) if folder is not None else None
        if entry is None or entry.kind != "file":
            return None
        return File(name, self.objects.blobs([entry.sha], limit=READ_BYTES)[0])

    def changes(self, old: str, new: str) -> dict[str, File | None]:
        """What `new` has that `old` has not, by path; None for what is gone. No process is started."""
        return self._read(self._different(old, new))

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether a commit is an ancestor of another one, or the same. Raises ShallowRepositoryError."""
        return self._ancestry.is_ancestor(ancestor, descendant)

    def depth(self, sha: str, known: tuple[str, int] | None = None) -> int:
        """`git rev-list --count sha`; fast if `known`, a commit and its depth, is a near ancestor.

        Raises ShallowRepositoryError.
        """
        return self._ancestry.depth(sha, known)

    def first_parents(self, sha: str, limit: int) -> tuple[str, ...]:
        """`sha`, its first parent, and so on: at most `limit`, newest first."""
        return self._ancestry.first_parents(sha, limit)

    def commit_info(self, sha: str) -> Commit:
        """Who made a commit, when and why."""
        return self.objects.commit(sha)

    def close(self) -> None:
        """End the process that reads objects."""
        self.objects.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_commit(self, sha: str) -> bool:
        try:
            return self.objects.has_commit(sha)
        except WrongObjectKindError:
            return False

    def _different(self, old: str | None, new: str) -> dict[str, FileId | None]:
        return self._trees.difference(None if old is None else self._folder(old), self._folder(new))

    def _folder(self, sha: str) -> str | None:
        return self._trees.subtree(self.objects.commit(sha).tree, self.prefix)

    def _read(self, ids: Mapping[str, FileId | None]) -> dict[str, File | None]:
        wanted = [(path, found) for path, found in ids.items() if found is not None and found.kind == "file"]
        blobs = self.objects.blobs([found.sha for _, found in wanted], limit=READ_BYTES)
        # Where a link leads is never read: its path and kind are all that validation needs.
        files: dict[str, File | None] = {
            path: None if found is None else File(path, b"", found.kind) for path, found in ids.items()
        }
        for (path, _), data in zip(wanted, blobs, strict=True):
            files[path] = File(path, data)
        return files

    def _prefix_in_head(self) -> str:
        sha = self.head().sha
        if sha is None:
            raise NoConfigRepositoryError(
                sentence("%(common_dir)s has no commit yet", common_dir=self.layout.common_dir),
                hint=sentence("Commit a config repo first."),
            )
        return _only(self._manifests(self.objects.commit(sha).tree, "", 0), self.layout.common_dir)

    def _manifests(self, tree: str, prefix: str, depth: int) -> Iterable[str]:
        entries = self.objects.tree(tree)
        if MANIFEST.encode() in entries:
            return (prefix.rstrip("/"),)
        if depth == _SEARCHED_DEPTH:
            return ()
        return (
            found
            for name, entry in entries.items()
            if entry.kind == "tree" and not name.startswith(b".")
            for found in self._manifests(entry.sha, f"{prefix}{name.decode('utf-8', 'replace')}/", depth + 1)
        )


def _prefix_on_disk(path: Path, where: Layout) -> str | None:
    """The folder of kemudi.yaml in the work tree, None if it is not to be found there."""
    top = where.worktree
    if top is None:
        return None
    for folder in (path, path / "config-repo", *path.parents):
        if not folder.is_relative_to(top):
            break
        if (folder / MANIFEST).is_file():
            return folder.relative_to(top).as_posix().removeprefix(".")
    below = {found.parent for pattern in ("*", "*/*") for found in path.glob(f"{pattern}/{MANIFEST}")}
    shown = [
        folder.relative_to(top).as_posix()
        for folder in sorted(below)
        if not any(part.startswith(".") for part in folder.relative_to(top).parts)
    ]
    return _only(shown, path) if shown else None


def _only(folders: Iterable[str], where: Path) -> str:
    found = list(folders)
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoConfigRepositoryError(
            sentence("there is no %(manifest)s in %(where)s", manifest=MANIFEST, where=where),
            hint=sentence("Start one with `kemudi init`."),
        )
    raise NoConfigRepositoryError(
        sentence("%(where)s holds several config repos: %(found)s", where=where, found=", ".join(found)),
        hint=sentence("Name the folder of one."),
    )
