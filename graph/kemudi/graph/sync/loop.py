"""The thread that keeps a graph up to date: a run at start, whenever the registry changed, and on request."""

import threading
from typing import Final

import structlog

from kemudi.graph.sync.runner import SyncRunner
from kemudi.schema.errors import UnavailableError

_LOOK_SECONDS: Final = 2.0
_JOIN_SECONDS: Final = 30.0

_log = structlog.get_logger("kemudi.graph.sync")


class SyncLoop:
    """Owns the runner's thread. `request` asks for a run now."""

    def __init__(self, runner: SyncRunner, ending: threading.Event) -> None:
        self._runner = runner
        self._ending = ending
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request(self) -> None:
        """Run soon, also when nothing seems to have changed."""
        self._wake.set()

    def stop(self) -> None:
        """End after the batch that runs."""
        self._ending.set()
        self._wake.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        asked = True
        while not self._ending.is_set():
            if asked or self._is_behind():
                status = self._runner.run()
                _log.info(
                    "sync.run",
                    state=status.state,
                    rows=status.rows_done,
                    rate=status.rate,
                    error=status.error,
                )
            asked = self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()

    def _is_behind(self) -> bool:
        try:
            return self._runner.is_behind()
        except UnavailableError as error:
            _log.warning("sync.unavailable", error=str(error))
            return False
