"""What changed, for those who watch: keys, never values. Each watcher asks for the row with its own rights."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Final

KEPT: Final = 2000
PING_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Event:
    """One row that looks different now; with an empty key, the frame: chain state, banners, counts.

    Attributes:
        number: Grows by one with each event; what a browser names when it comes back.
        env: The environment; empty for all.
        key: The setting; empty for the frame.
        category: Of the setting, for the rights of the watcher.
        revision: What git's branch was at then.
        serial: Of the board that shows it.
        places: Environments with a category, or none, all of which the watcher has to see; empty for all watchers.
    """

    number: int
    env: str
    key: str
    category: str
    revision: str
    serial: int
    places: tuple[tuple[str, str], ...] = ()


class Hub:
    """The last events, and who waits for the next. Publishing happens in another thread than watching."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._last = 0
        self._serial = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.closing = False

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    @property
    def serial(self) -> int:
        """Of the newest board that was told of. A page of an older one missed something before its stream opened."""
        return self._serial

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return len(self._waiting)

    def publish(
        self,
        changed: Iterable[tuple[str, str, str]],
        revision: str,
        serial: int = 0,
        places: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Tell of rows (environment, key, category) that a board shows otherwise; 0: of something beside the board."""
        with self._lock:
            self._serial = max(self._serial, serial)
            for env, key, category in changed:
                self._last += 1
                self._events.append(Event(self._last, env, key, category, revision, serial, places))
        self._wake()

    def close(self) -> None:
        """End every stream soon."""
        self.closing = True
        self._wake()

    def since(self, number: int) -> list[Event] | None:
        """What happened after an event; None when that is too long ago to say."""
        with self._lock:
            if number > self._last or (number < self._last - len(self._events)):
                return None
            return [event for event in self._events if event.number > number]

    async def follow(self, number: int, alive: Callable[[], bool]) -> AsyncIterator[list[Event] | None]:
        """Batches of events after `number`; an empty one as a sign of life; None when some were missed.

        Ends when the hub closes, and within a second or so of `alive` being false.
        """
        mine = (asyncio.get_running_loop(), asyncio.Event())
        self._waiting.add(mine)
        silent = 0.0
        try:
            while not self.closing and alive():
                mine[1].clear()
                found = self.since(number)
                if found is None or found:
                    number, silent = self._last if found is None else found[-1].number, 0.0
                    yield found
                    continue
                try:
                    await asyncio.wait_for(mine[1].wait(), _LOOK_SECONDS)
                except TimeoutError:
                    silent += _LOOK_SECONDS
                if silent >= PING_SECONDS:
                    silent = 0.0
                    yield []
        finally:
            self._waiting.discard(mine)

    def _wake(self) -> None:
        for loop, event in tuple(self._waiting):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # its loop has ended meanwhile
                continue
