"""Telling code what changed: callbacks by glob, in order, none able to stop another or the client.

Callbacks of a connected client run one after another in a thread of their own, so one that takes its time delays
other callbacks and nothing else. When they fall far behind, the oldest waiting changes are merged with the next.
"""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple, Self, TypeAlias

from kemudi.client.diff import changed_names, value_or_none
from kemudi.client.view import Served, plaintexts
from kemudi.schema.masking import masked

_log: Final = logging.getLogger("kemudi.client")
_BACKLOG: Final = 256
_TRACE_CHARACTERS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that changed.

    Attributes:
        key: The setting.
        old: Its value before, None where there was none. A secret is a Secret.
        new: Its value from now on, None where it is gone.
        revision: The commit that is served from now on.
        generation: Its place in order, `era.depth.serial`.
        category: The setting's category.
    """

    key: str
    old: Any
    new: Any
    revision: str | None
    generation: str | None
    category: str = ""


Callback: TypeAlias = Callable[[Change], object]


class Subscription:
    """A callback that is told of changes until `.close()`, also usable as a context manager."""

    __slots__ = ("_callback", "_owner", "closed", "pattern", "since")

    def __init__(self, owner: "Subscriptions", pattern: str, callback: Callback, since: int) -> None:
        self._owner = owner
        self._callback = callback
        self.pattern = pattern
        self.since = since
        self.closed = False

    def close(self) -> None:
        """No call starts after this returns; one that runs in another thread may still end. May be repeated."""
        self.closed = True
        self._owner.remove(self)

    def tell(self, change: Change, served: Served) -> None:
        """Call back. What it raises is logged, secrets masked."""
        if self.closed or not fnmatchcase(change.key, self.pattern):
            return
        try:
            self._callback(change)
        except Exception:  # noqa: BLE001 - a callback may raise anything and must not stop the others
            trace = masked(traceback.format_exc(), plaintexts(served), limit=_TRACE_CHARACTERS)
            _log.error("the subscription to %r failed at %s: %s", self.pattern, change.key, trace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class _Swap(NamedTuple):
    number: int
    old: Served
    new: Served


class Subscriptions:
    """The subscriptions of one client.

    Args:
        threaded: Call back in a thread of its own, started at the first subscription; otherwise within `flush`.
    """

    def __init__(self, *, threaded: bool) -> None:
        self._threaded = threaded
        self._subscribed: tuple[Subscription, ...] = ()
        self._swaps: deque[_Swap] = deque()
        self._telling: _Swap | None = None
        self._count = 0
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._flushing = threading.Lock()

    def add(self, pattern: str, callback: Callback) -> Subscription:
        """Subscribe to the swaps from now on."""
        with self._wake:
            subscription = Subscription(self, pattern, callback, self._count)
            self._subscribed = (*self._subscribed, subscription)
            if self._threaded and self._thread is None and not self._closed:
                self._start()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget it."""
        with self._wake:
            self._subscribed = tuple(other for other in self._subscribed if other is not subscription)

    def announce(self, old: Served, new: Served) -> None:
        """Note a swap. Swaps are told in the order of these calls."""
        with self._wake:
            self._count += 1
            if not self._subscribed or self._closed:
                return
            if len(self._swaps) >= _BACKLOG:
                old = self._swaps.pop().old
            self._swaps.append(_Swap(self._count, old, new))
            self._wake.notify()

    def flush(self) -> None:
        """Without a thread of its own: tell what is waiting, here and now. A callback that causes a swap is fine."""
        if self._threaded:
            return
        while self._swaps and self._flushing.acquire(blocking=False):
            try:
                while self._swaps:
                    self._tell(self._swaps.popleft())
            finally:
                self._flushing.release()

    def close(self) -> None:
        """End the thread, unless it is the one that calls. What is waiting is dropped."""
        with self._wake:
            self._closed = True
            self._swaps.clear()
            self._wake.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1)

    def after_fork(self) -> None:
        """In the child: threads are gone and locks may be held by nobody. What was being told is told again."""
        self._reset()
        if self._telling is not None:
            self._swaps.appendleft(self._telling)
        if self._threaded and self._subscribed and not self._closed:
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="kemudi-callbacks", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._swaps and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                self._telling = self._swaps.popleft()
            self._tell(self._telling)
            self._telling = None

    def _tell(self, swap: _Swap) -> None:
        subscribed = [one for one in self._subscribed if one.since < swap.number]
        if not subscribed:
            return
        snapshot = swap.new.snapshot
        generation = None if snapshot.generation is None else str(snapshot.generation)
        for key in changed_names(swap.old, swap.new):
            old, new = value_or_none(key, swap.old), value_or_none(key, swap.new)
            entry = swap.new.entry(key) or swap.old.entry(key)
            category = "" if entry is None else entry.category
            change = Change(key, old, new, snapshot.revision, generation, category)
            for subscription in subscribed:
                subscription.tell(change, swap.new)
