"""`index.lock`: while git holds it the work tree may be half-way between two commits."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

STALE_SECONDS: Final = 5.0
"""A lock that was seen for so long is taken for that of a dead process. It is never deleted here."""


class IndexLock:
    """Judges one lock file. Its age is reckoned on the monotonic clock, from when it was first seen."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._held: tuple[int, int] | None = None
        self._since = 0.0

    def is_held(self) -> bool:
        """Whether git is at work: the lock is there and young."""
        return self._look() and self._clock() - self._since < STALE_SECONDS

    @property
    def stale_path(self) -> Path | None:
        """The lock that a dead process has left, None if there is none."""
        return self._path if self._look() and self._clock() - self._since >= STALE_SECONDS else None

    def _look(self) -> bool:
        try:
            state = self._path.stat()
        except OSError:
            self._held = None
            return False
        identity = (state.st_ino, state.st_mtime_ns)
        if identity != self._held:
            self._held, self._since = identity, self._clock()
        return True
