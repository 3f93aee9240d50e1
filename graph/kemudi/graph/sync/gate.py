"""Between two batches: wait while paused, stop at the time limit, and take the settings anew."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from kemudi.graph.sync.status import StatusBoard

_LOOK_SECONDS: Final = 0.02

Config = Any
"""A `kemudi.client`: `config[key]`, `.revision`, `.generation`."""


class StoppedError(Exception):
    """The run ends after the batch that is written: at its time limit, or because the process ends."""


class Gate:
    """One run's way through its pauses and its time. A pause does not count toward SYNC_TIMEOUT.

    Args:
        config: The settings, read between batches.
        board: Told of a pause.
        ending: Set when the process ends.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        config: Config,
        board: StatusBoard,
        ending: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._board = board
        self._ending = ending
        self._clock = clock
        self._start = clock()
        self._paused = 0.0
        self._lock = threading.Lock()

    @property
    def active_seconds(self) -> float:
        """How long the run worked, pauses left out."""
        return self._clock() - self._start - self._paused

    def pass_through(self) -> int:
        """Wait while SYNC_PAUSED, then return SYNC_BATCH_SIZE. Raises StoppedError."""
        with self._lock:
            self._wait_while_paused()
            self._require_time()
            size = int(self._config["SYNC_BATCH_SIZE"])
            self._board.update(
                batch_size=size, revision=self._config.revision, generation=self._config.generation
            )
            return size

    def _wait_while_paused(self) -> None:
        if not self._config["SYNC_PAUSED"]:
            return
        began = self._clock()
        self._board.update(state="paused")
        while self._config["SYNC_PAUSED"]:
            if self._ending.wait(_LOOK_SECONDS):
                break
        self._paused += self._clock() - began
        self._board.update(state="running")

    def _require_time(self) -> None:
        if self._ending.is_set():
            raise StoppedError("the process ends; the checkpoint is kept")
        limit = self._config["SYNC_TIMEOUT"]
        if self.active_seconds >= limit:
            raise StoppedError(f"SYNC_TIMEOUT of {limit} s is over; the checkpoint is kept")
