"""Commits sent to the remote, where there is one: beside the request, again and again until it has them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from kemudi.repo.push import PushResult, push, remotes, unpushed
from kemudi.schema.errors import KemudiError

REMOTE: Final = "origin"
_FIRST_SECONDS: Final = 2.0
_LONGEST_SECONDS: Final = 60.0
_LIMIT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Pending:
    """A branch that the remote has not got yet.

    Attributes:
        branch: The branch.
        last: What the last attempt said; None while the first one is under way.
    """

    branch: str
    last: PushResult | None


class Pusher:
    """One thread, started when there is something to push. A commit is safe here, whatever the remote does."""

    def __init__(
        self, root: Callable[[], Path], log: FilteringBoundLogger, tell: Callable[[], None] = lambda: None
    ) -> None:
        """Take the repository, a log, and whom to tell when `pending` changed."""
        self._root = root
        self._log = log
        self._tell = tell
        self._lock = threading.Lock()
        self._pending: dict[str, PushResult | None] = {}
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What is not pushed yet; empty where there is no remote."""
        with self._lock:
            return tuple(Pending(branch, last) for branch, last in self._pending.items())

    def has_remote(self) -> bool:
        """Whether there is anything to push to."""
        try:
            return REMOTE in remotes(self._root())
        except KemudiError:
            return False

    def push(self, branch: str) -> None:
        """Send a branch soon. Does nothing where there is no remote."""
        if not self.has_remote():
            return
        with self._lock:
            self._pending.setdefault(branch, None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="console-push", daemon=True)
                self._thread.start()
        self._wake.set()

    def resume(self, branch: str | None) -> None:
        """Take up at start what was not pushed before the console ended."""
        if branch is None:
            return
        try:
            left = unpushed(self._root(), branch, REMOTE)
        except KemudiError:
            return
        if left.remote is not None and left.commits:
            self.push(branch)

    def close(self) -> None:
        """Stop trying; what is left is taken up at the next start."""
        self._ending = True
        self._wake.set()

    def _run(self) -> None:
        pause = _FIRST_SECONDS
        while not self._ending:
            waiting = [each.branch for each in self.pending]
            if not waiting:
                self._wake.wait()
                self._wake.clear()
                pause = _FIRST_SECONDS
                continue
            results = [self._try(branch) for branch in waiting]
            if all(results):
                pause = _FIRST_SECONDS
                continue
            self._wake.wait(pause)
            self._wake.clear()
            pause = min(_LONGEST_SECONDS, pause * 2)

    def _try(self, branch: str) -> bool:
        try:
            result = push(self._root(), branch, REMOTE, time_limit_seconds=_LIMIT_SECONDS)
        except KemudiError as error:
            self._log.warning("push failed", branch=branch, problem=type(error).__name__)
            with self._lock:
                self._pending.pop(branch, None)  # the branch is gone, or cannot be pushed by any means
            return True
        with self._lock:
            if result.is_done:
                self._pending.pop(branch, None)
            else:
                self._pending[branch] = result
        self._tell()
        return result.is_done
