"""The work tree as a source: uncommitted saves too, served at the first complete event and never half-written."""

import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha1
from typing import Final

from kemudi.daemon.attempt import Seen, Stopped
from kemudi.daemon.commits import CommitStates
from kemudi.daemon.conditions import Reason
from kemudi.daemon.gitlock import IndexLock
from kemudi.daemon.trigger import Cause, Hints
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.worktree import WorkTree
from kemudi.schema.paths import File, is_relevant
from kemudi.schema.state import ConfigState

SETTLE_SECONDS: Final = 0.015
"""A change that no event has called complete must look the same so much later."""

_LOOKS: Final = 40


class WorkTreeView:
    """One work tree. One thread owns it."""

    def __init__(
        self,
        repository: ConfigRepository,
        commits: CommitStates,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        root = repository.worktree_root
        assert root is not None  # noqa: S101  # the caller asked for a work tree
        self._repository = repository
        self._commits = commits
        self._tree = WorkTree(root)
        self._sleep = sleep
        self.lock = IndexLock(repository.layout.git_dir / "index.lock", clock)
        self._files: Mapping[str, File] = {}
        self._different: set[str] = set()
        self._head = ""
        self._state: ConfigState | None = None
        self._pending: set[str] = set()
        self._changed: set[str] = set()
        self._all = True
        self._hints = Hints()
        self._seen: Seen | None = None

    def begin(self, hints: Hints) -> None:
        """Start a pass: forget what was seen."""
        self._hints = hints
        self._seen = None

    def look(self, branch: str | None) -> Seen:
        """What the work tree holds now. Raises Stopped when it belongs to no commit of the served branch."""
        if self._seen is None:
            self._seen = self._look(branch)
        return self._seen

    def state(self) -> ConfigState:
        """The config repo as the last look found it. Only the files that changed are parsed."""
        if self._state is None:
            base = self._commits.state(self._head)
            changes = {path: self._files.get(path) for path in self._different}
            self._state = base.update(changes)
        elif self._pending:
            self._state = self._state.update({path: self._files.get(path) for path in self._pending})
        self._pending.clear()
        return self._state

    def _look(self, branch: str | None) -> Seen:
        try:
            head = self._served_head(branch)
        except Stopped:
            self._all = True  # what is hinted meanwhile is looked at later
            raise
        digest = self._scan_between_writes()
        self._compare_with(head)
        clean = not self._different
        return Seen("worktree", head if clean else f"worktree@{digest}", head)

    def _served_head(self, branch: str | None) -> str:
        """The commit below the work tree. Raises Stopped when it is none of the served branch, or git is at work."""
        head = self._repository.head()
        if head.branch is None:
            raise Stopped(
                Reason.HEAD_DETACHED, "HEAD names no branch; check one out to serve saved files again"
            )
        if head.branch != branch:
            raise Stopped(Reason.OFF_BRANCH, f"{head.branch} is checked out, and {branch} is served")
        if head.sha is None:
            raise Stopped(Reason.UNBORN_BRANCH, f"the branch {branch} has no commit yet")
        if self.lock.is_held():
            raise Stopped(Reason.GIT_BUSY, "git is writing the work tree")
        return head.sha

    def _scan_between_writes(self) -> str:
        """A scan during which git wrote nothing. Raises Stopped while git is at work.

        A look at the lock before the scan is not enough: a checkout may begin, and even end, while files are read.
        """
        for _ in range(_LOOKS):
            before = self._index_stamp()
            digest = self._scan()
            if self.lock.is_held():
                break
            if self._index_stamp() == before:
                return digest
            self._all = True
        self._all = True
        raise Stopped(Reason.GIT_BUSY, "git is writing the work tree")

    def _index_stamp(self) -> tuple[int, int] | None:
        """Git replaces its index at the end of whatever it writes to the work tree."""
        try:
            found = (self._repository.layout.git_dir / "index").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _scan(self) -> str:
        """Read what changed, until nobody is in the middle of writing it. Returns the digest of the whole.

        Events name the files that are complete; these are read at once. Whatever else differs may be half-written,
        and is looked at until it stays the same.
        """
        hints = self._hints
        named = None if self._all or hints.rescan or hints.causes != {Cause.WATCH} else hints.paths
        scan = self._tree.scan(named)
        self._changed |= scan.changes.keys()
        for _ in range(_LOOKS):
            if not scan.unsettled and scan.changes.keys() <= hints.paths:
                break
            self._sleep(SETTLE_SECONDS)
            scan = self._tree.scan()
            self._changed |= scan.changes.keys()
            hints = Hints()
        self._all = bool(scan.unsettled)
        self._files = scan.files
        self._pending |= self._changed
        return scan.digest

    def _compare_with(self, head: str) -> None:
        """Keep the set of files that differ from HEAD, looking only at those that moved on either side."""
        ids = self._repository.file_ids(head)
        paths: Iterable[str] = self._changed
        if head != self._head:
            moved = {*ids, *self._files} if not self._head else self._moved(self._head, head)
            paths = {*paths, *moved}
            self._head = head
        for path in paths:
            file, known = self._files.get(path), ids.get(path)
            if not is_relevant(path, file.kind if file is not None else "file"):
                continue
            same = known is None if file is None else known is not None and _is(file, known.kind, known.sha)
            (self._different.discard if same else self._different.add)(path)
        self._changed.clear()  # only now: a look that was given up must not lose what it found

    def _moved(self, old: str, new: str) -> set[str]:
        return set(self._repository.changes(old, new))


def _is(file: File, kind: str, sha: str) -> bool:
    """Whether a file is the blob of this name."""
    if file.kind != kind or file.kind != "file":
        return file.kind == kind
    digest = sha1(b"blob %d\0" % len(file.data), usedforsecurity=False)
    digest.update(file.data)
    return digest.hexdigest() == sha
