"""Between two batches: wait while paused, stop at the time limit, and take the settings anew."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from kemudi.graph.sync.status import StatusBoard

_LOOK_SECONDS: Final = 0.02


class Config(Protocol):
    """What the sync needs of a `kemudi.client`."""

    def __getitem__(self, key: str) -> Any:  # a setting has the type of its contract
        """A setting."""

    def pin(self) -> Any:  # a context manager that gives one revision's settings
        """One revision for a unit of work."""


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
        self._abandoned = False
        self._lock = threading.Lock()

    @property
    def active_seconds(self) -> float:
        """How long the run worked, pauses left out."""
        return self._clock() - self._start - self._paused

    def abandon(self) -> None:
        """Another part of the run failed: the others stop too."""
        self._abandoned = True

    def pass_through(self) -> int:
        """Wait while SYNC_PAUSED, then return SYNC_BATCH_SIZE. Raises StoppedError."""
        with self._lock:  # the other ranges of a run wait here too, and the pause is counted once
            self._wait_while_paused()
            with self._config.pin() as settings:
                self._require_time(settings["SYNC_TIMEOUT"])
                size = int(settings["SYNC_BATCH_SIZE"])
                self._board.update(
                    batch_size=size, revision=settings.revision, generation=settings.generation
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

    def _require_time(self, limit: float) -> None:
        if self._ending.is_set():
            raise StoppedError("the process ends; the checkpoint is kept")
        if self._abandoned:
            raise StoppedError("another range of the run failed; the checkpoint is kept")
        if self.active_seconds >= limit:
            raise StoppedError(f"SYNC_TIMEOUT of {limit} s is over; the checkpoint is kept")
