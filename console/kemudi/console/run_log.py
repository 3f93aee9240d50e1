"""What each environment was given, for policies that ask how long a value ran."""

import threading
import time
from collections.abc import Callable
from typing import Final

from kemudi.console.observed import DaemonClient
from kemudi.console.watch import Watch
from kemudi.repo.evidence import Served

_KEPT_SECONDS: Final = 5.0


class RunLog:
    """The daemon's log as evidence, kept for some seconds: one page may ask for it many times.

    Args:
        daemon: Asked for the log, which is long.
        watch: Knows whether the daemon answers; one that does not is not waited for.
        clock: Monotonic seconds.
    """

    def __init__(
        self, daemon: DaemonClient, watch: Watch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._daemon = daemon
        self._watch = watch
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Served]] = {}

    def __call__(self, env: str) -> Served:
        """What an environment was given; nothing while nobody can say."""
        if not self._watch.board.reachable:
            return Served()
        with self._lock:
            at, known = self._known.get(env, (float("-inf"), Served()))
            if self._clock() - at < _KEPT_SECONDS:
                return known
            found = self._daemon.served(env)
            self._known[env] = (self._clock(), found)
            return found
