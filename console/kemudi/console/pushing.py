"""Commits sent to the remote, where there is one: beside the request, again and again until it has them.

Proposals and approvals go both ways, so that several consoles of one remote show the same. A branch that is only behind
is brought to where the remote is: what was merged on the git host is then what people see and change here.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from kemudi.repo.changes import PROPOSALS
from kemudi.repo.errors import HeadMovedError
from kemudi.repo.following import follow
from kemudi.repo.proposal_exchange import exchange
from kemudi.repo.push import PushResult, push, remotes, unpushed
from kemudi.schema.errors import KemudiError

REMOTE: Final = "origin"
_FIRST_SECONDS: Final = 2.0
_LONGEST_SECONDS: Final = 60.0
_LIMIT_SECONDS: Final = 30.0
_ENDING_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 20.0
"""How often the remote is asked for proposals while nobody looks at them."""

_ASKED_SECONDS: Final = 2.0
"""How often it is asked at most, however many look."""


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
    """One thread, started where there is a remote. A commit is safe here, whatever the remote does."""

    def __init__(
        self,
        root: Callable[[], Path],
        branch: Callable[[], str | None],
        log: FilteringBoundLogger,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the repository, the branch that is served, a log, and whom to tell when `pending` changed."""
        self._root = root
        self._branch = branch
        self._log = log
        self._tell = tell
        self._lock = threading.Lock()
        self._pending: dict[str, PushResult | None] = {}
        self._proposals: dict[str, PushResult | None] = {}
        self._behind = ""
        self._exchange_wanted = False
        self._exchanged_at = float("-inf")
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What is not pushed yet; empty where there is no remote."""
        with self._lock:
            found = self._pending | self._proposals
        return tuple(Pending(branch, last) for branch, last in found.items())

    @property
    def behind(self) -> str:
        """Why what the remote has newer is not here, and what to do; empty while nothing is in the way."""
        return self._behind

    def has_remote(self) -> bool:
        """Whether there is anything to push to."""
        try:
            return REMOTE in remotes(self._root())
        except KemudiError:
            return False

    def push(self, branch: str) -> None:
        """Send a branch soon, or a proposal. Does nothing where there is no remote."""
        if not self.has_remote():
            return
        with self._lock:
            (self._proposals if branch.startswith(PROPOSALS) else self._pending).setdefault(branch, None)
        self._start(exchange_too=True)

    def exchange(self) -> None:
        """Bring proposals and approvals to the same state on both sides soon. Does nothing where there is no remote."""
        if self.has_remote():
            self._start(exchange_too=True)

    def look(self) -> None:
        """Somebody looks at proposals: ask the remote, unless that was just done."""
        if time.monotonic() - self._exchanged_at > _ASKED_SECONDS:
            self._exchanged_at = time.monotonic()
            self.exchange()

    def resume(self, branch: str | None) -> None:
        """Take up at start what was not pushed before the console ended, and follow the proposals of others."""
        if branch is None or not self.has_remote():
            return
        try:
            left = unpushed(self._root(), branch, REMOTE)
        except KemudiError:
            return
        if left.commits:
            self.push(branch)
        else:
            self._start(exchange_too=True)

    def close(self) -> None:
        """Stop trying; what is left is taken up at the next start."""
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_ENDING_SECONDS)

    def _start(self, *, exchange_too: bool) -> None:
        with self._lock:
            self._exchange_wanted = self._exchange_wanted or exchange_too
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="console-push", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        pause = _FIRST_SECONDS
        while not self._ending:
            self._wake.clear()
            with self._lock:
                waiting = list(self._pending)
            results = [
                self._try(branch) for branch in waiting
            ]  # each is tried, whatever became of the others
            pushed = all(results)
            if self._is_due(failing=not pushed or pause > _FIRST_SECONDS):
                pushed = self._try_exchange() and pushed
            with self._lock:
                left = bool(self._pending)
            if pushed and not left:
                pause = _FIRST_SECONDS
                self._wake.wait(_LOOK_SECONDS)
            else:
                self._wake.wait(pause)
                pause = min(_LONGEST_SECONDS, pause * 2)

    def _is_due(self, *, failing: bool) -> bool:
        with self._lock:
            wanted, self._exchange_wanted = self._exchange_wanted, False
        return wanted or failing or time.monotonic() - self._exchanged_at >= _LOOK_SECONDS

    def _try_exchange(self) -> bool:
        """Whether both sides agree now."""
        branch = self._branch()
        try:
            done = exchange(self._root(), branch, REMOTE, limit_seconds=_LIMIT_SECONDS)
        except KemudiError as error:
            self._log.warning("proposals were not exchanged", problem=type(error).__name__)
            return False
        finally:
            self._exchanged_at = time.monotonic()
        last = PushResult(done.state, "", REMOTE, None, done.message) if done.message else None
        unsent: dict[str, PushResult | None] = dict.fromkeys(done.unsent, last)
        with self._lock:
            news, self._proposals = unsent != self._proposals, unsent
        if branch is not None and done.there is not None:
            news = self._follow(branch, done.there) or news
        if news:
            self._tell()
        return not done.unsent and done.state == "pushed"

    def _follow(self, branch: str, there: str) -> bool:
        """Take over what the remote has newer. Whether there is something else to say than before."""
        before, self._behind = self._behind, ""
        try:
            if follow(self._root(), branch, there):
                self._log.info("followed the remote", branch=branch, revision=there)
        except HeadMovedError:
            pass  # somebody saves here just now, which is pushed next
        except KemudiError as error:
            with self._lock:
                told = branch in self._pending  # what is not pushed says so itself, and why
            self._behind = "" if told else error.explained
            if self._behind != before:
                self._log.warning("the remote cannot be followed", branch=branch, problem=error.message)
        return self._behind != before

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
