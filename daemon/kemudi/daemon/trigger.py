"""What wakes the daemon: hints from anywhere, coalesced into one wake-up."""

import threading
from dataclasses import dataclass, field
from enum import StrEnum


class Cause(StrEnum):
    """Who asks for a reconcile."""

    START = "start"
    POLL = "poll"
    WATCH = "watch"
    FETCH = "fetch"
    WEBHOOK = "webhook"
    REQUEST = "request"
    RELOAD = "reload"
    RETRY = "retry"
    DRIFT = "drift"
    LEASE = "lease"


@dataclass(frozen=True, slots=True)
class Hints:
    """Everything that arrived since the last wake-up.

    Attributes:
        causes: Who asked; empty when the time was up.
        paths: Files of the work tree that an event named as complete (closed after writing, moved, deleted).
        rescan: Something happened that names no complete file: look at the whole tree.
    """

    causes: frozenset[Cause] = frozenset()
    paths: frozenset[str] = frozenset()
    rescan: bool = False


@dataclass
class Trigger:
    """A bell: ringing it any number of times before it is heard counts once."""

    _changed: threading.Condition = field(default_factory=threading.Condition)
    _causes: set[Cause] = field(default_factory=set)
    _paths: set[str] = field(default_factory=set)
    _rescan: bool = False

    def ring(self, cause: Cause, *, path: str | None = None, rescan: bool = False) -> None:
        """Ask for a reconcile. Any thread; returns at once."""
        with self._changed:
            self._causes.add(cause)
            if path is not None:
                self._paths.add(path)
            self._rescan = self._rescan or rescan
            self._changed.notify_all()

    def wait(self, timeout_seconds: float) -> Hints:
        """Wait for a hint, at most so long, and take everything that arrived."""
        with self._changed:
            if not self._causes:
                self._changed.wait(max(0.0, timeout_seconds))
            hints = Hints(frozenset(self._causes), frozenset(self._paths), self._rescan)
            self._causes.clear()
            self._paths.clear()
            self._rescan = False
            return hints
