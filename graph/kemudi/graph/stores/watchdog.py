"""Deadlines of calls that wait without an end: one thread for all of them, since a thread for each costs too much."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

_LOOK_SECONDS: Final = 0.25


class Watchdog:
    """Acts on calls that are not over by their deadline, within a quarter of a second. Its thread rests without any."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = count()
        self._work = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @contextmanager
    def watch(self, seconds: float, late: Callable[[], None]) -> Iterator[None]:
        """Call `late`, once and from another thread, when the block is not over after `seconds`."""
        if self._thread is None:
            self._start()
        number = next(self._numbers)
        self._calls[number] = (time.monotonic() + seconds, late)
        self._work.set()
        try:
            yield
        finally:
            self._calls.pop(number, None)

    def close(self) -> None:
        """End the thread; what runs is not watched any more."""
        self._closed = True
        self._work.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        looking = threading.Event()  # never set: a wait that nothing disturbs
        while not self._closed:
            if not self._calls:
                self._work.clear()
                # Whoever came between the look and the clearing is seen now, or has set it again.
                if not self._calls and not self._closed:
                    self._work.wait()
                continue
            now = time.monotonic()
            for number, (deadline, late) in list(self._calls.items()):
                if now >= deadline and self._calls.pop(number, None) is not None:
                    # In a thread of its own: it may take its time, and the others have deadlines too.
                    threading.Thread(target=late, name=self._name, daemon=True).start()
            looking.wait(_LOOK_SECONDS)
