"""The files of a work tree, read in process: no index, no filter, no process, and no way out of the folder.

A file is read again only when its inode, size or time stamps changed, so a look at an unchanged tree costs one `stat`
a file, and a save that is named costs that file alone.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from kemudi.repo.errors import UnreadableFolderError
from kemudi.repo.trees import FileId
from kemudi.repo.walk import Known, Walk
from kemudi.schema.paths import File
from kemudi.schema.sentences import sentence

SETTLE_SECONDS: Final = 0.1
"""Editors replace a file by renaming, or empty it, or delete it, and write a moment later."""

_SUM: Final = 1 << 256


@dataclass(frozen=True, slots=True)
class Scan:
    """The work tree at one look.

    Attributes:
        files: Every file of the config repo, by path relative to it. A live view: copy it to keep it.
        changes: What differs from the look before; None for what is gone.
        digest: 12 hex digits of all paths and contents, whatever the order in which they came to be.
        unsettled: Files that are being written or have just vanished: they stand here with their content before.
            Look again after `SETTLE_SECONDS`; every look takes these paths in.
    """

    files: Mapping[str, File]
    changes: Mapping[str, File | None]
    digest: str
    unsettled: tuple[str, ...] = ()

    @property
    def revision(self) -> str:
        """`worktree@<digest>`, for a tree that is no commit's."""
        return f"worktree@{self.digest}"


class WorkTree:
    """The config folder of a work tree. One thread uses it at a time.

    Args:
        root: The folder of kemudi.yaml. What is above it is taken as it is; nothing below is followed out of it.
        settle_seconds: How long a file that shrank or vanished keeps its content before. 0: not at all.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        root: Path,
        *,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._files: dict[str, File] = {}
        self._sum = 0
        self._digest = _digest(0)
        self._unsettled: set[str] = set()
        self._missed: dict[str, float] = {}

    def scan(self, paths: Iterable[str | Path] | None = None) -> Scan:
        """Look at the whole tree, or only at some paths that are known to have changed.

        Args:
            paths: Files or folders, absolute or relative to the root, that their writers have closed. What is not
                below the root is left aside.

        Raises UnreadableFolderError; what was known before then stands.
        """
        walk = Walk(self._known, settle_ns=int(self._settle_seconds * 1e9))
        closed = None if paths is None else set(self._relative(paths))
        try:
            root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UnreadableFolderError(
                sentence("%(path)s cannot be read: %(strerror)s", path=self.root, strerror=error.strerror)
            ) from error
        try:
            if closed is None or "" in closed:
                walk.everything(root)
            else:
                for path in sorted(closed | self._unsettled):
                    walk.named(root, path, closed=path in closed)
        finally:
            os.close(root)
        return self._taken(walk)

    def matches(self, ids: Mapping[str, FileId]) -> bool:
        """Whether the last look found exactly the files of a commit, as `ConfigRepository.file_ids` gives them."""
        if len(ids) != len(self._known):
            return False
        return all(known.id == ids.get(path) for path, known in self._known.items())

    def differences(self, ids: Mapping[str, FileId]) -> tuple[str, ...]:
        """The paths in which the last look differs from a commit, sorted."""
        mine = {(path, known.id) for path, known in self._known.items()}
        return tuple(sorted({path for path, _ in mine ^ set(ids.items())}))

    def _taken(self, walk: Walk) -> Scan:
        changes: dict[str, File | None] = {}
        for path, known in walk.read.items():
            before = self._known.get(path)
            if before is not None and before.id == known.id:
                self._known[path] = known._replace(file=before.file)  # only touched: the same object goes on
                continue
            self._replace(path, known)
            changes[path] = known.file
        waiting = set(self._waiting(walk))
        for path in walk.gone - waiting:
            self._replace(path, None)
            changes[path] = None
        if changes:
            self._digest = _digest(self._sum)
        self._unsettled = walk.unsettled | waiting
        files, unsettled = MappingProxyType(self._files), tuple(sorted(self._unsettled))
        return Scan(files, MappingProxyType(changes), self._digest, unsettled)

    def _waiting(self, walk: Walk) -> Iterator[str]:
        """Vanished files that may be back in a moment. Vim renames a file away before it writes the new one."""
        for path in walk.seen:
            self._missed.pop(path, None)
        now = self._clock()
        for path in walk.gone:
            if now - self._missed.setdefault(path, now) < self._settle_seconds:
                yield path
            else:
                del self._missed[path]

    def _replace(self, path: str, known: Known | None) -> None:
        before = self._known.pop(path, None)
        if before is not None:
            self._sum = (self._sum - _share(path, before.id)) % _SUM
        if known is None:
            del self._files[path]
        else:
            self._sum = (self._sum + _share(path, known.id)) % _SUM
            self._known[path] = known
            self._files[path] = known.file

    def _relative(self, paths: Iterable[str | Path]) -> Iterator[str]:
        for path in paths:
            inside = os.path.relpath(path, self.root) if Path(path).is_absolute() else os.path.normpath(path)
            if inside == ".":
                yield ""
            elif inside != ".." and not inside.startswith("../"):
                yield inside


def _share(path: str, found: FileId) -> int:
    """What one file adds to the sum of all: a sum can be kept up to date at the cost of what changed."""
    text = f"{path}\0{found.kind}\0{found.sha}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest(), "big")


def _digest(total: int) -> str:
    return hashlib.sha256(total.to_bytes(32, "big")).hexdigest()[:12]
