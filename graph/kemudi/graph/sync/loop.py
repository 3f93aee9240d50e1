"""The thread that keeps a graph up to date: a run at start, whenever the registry changed, and on request."""

import threading
import time
from typing import Final

from structlog.typing import FilteringBoundLogger

from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.status import SyncStatus
from kemudi.schema.errors import KemudiError

LOOK_SECONDS: Final = 2.0
LOOK_SHARE: Final = 10
"""Looking for changes takes at most one part in so many of the time, however long it takes on a large registry."""

FULL_SECONDS: Final = 3600.0
"""So often every row is taken over, which finds changes that left no trace of their time."""

AGAIN_SECONDS: Final = (5.0, 15.0, 60.0)
"""After a run that failed or stopped at its time limit; the last one again and again."""

_BEGIN_SECONDS: Final = 2.0
_JOIN_SECONDS: Final = 1.0


class SyncLoop:
    """Owns the runner's thread. `request` asks for a run now."""

    def __init__(self, runner: SyncRunner, ending: threading.Event, log: FilteringBoundLogger) -> None:
        self._runner = runner
        self._ending = ending
        self._log = log
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sync", daemon=True)
        self._full_at = float("-inf")
        self._unsuccessful = 0

    def start(self) -> None:
        """Start the thread. The first run takes over every row."""
        self._thread.start()

    def request(self) -> SyncStatus:
        """Ask for a full run. Returns the status once it has begun; that of the present run if there is one."""
        before = self._runner.status
        if before.active:
            return before
        self._wake.set()
        return self._runner.board.wait_for(lambda status: status.run > before.run, _BEGIN_SECONDS)

    def stop(self) -> bool:
        """End after the batch that runs. False when that takes longer than it may."""
        self._ending.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        asked, pause = False, 0.0
        while not self._ending.is_set():
            began = time.monotonic()
            if asked or began - self._full_at > FULL_SECONDS or self._is_behind():
                pause = self._run(full=asked)
            else:
                pause = max(LOOK_SECONDS, (time.monotonic() - began) * LOOK_SHARE)
            asked = self._wake.wait(pause)
            self._wake.clear()

    def _run(self, *, full: bool) -> float:
        """One run, logged; how long to wait then."""
        full = full or time.monotonic() - self._full_at > FULL_SECONDS
        try:
            status = self._runner.run(full=full)
        except Exception:  # noqa: BLE001  # the thread must live on; the log has the trace, the status the kind
            self._log.exception("sync failed")
            status = self._runner.status
        self._log.info(
            "sync", state=status.state, rows=status.rows_done, rate=status.rate, error=status.error
        )
        if status.state != "done":
            self._unsuccessful += 1
            return AGAIN_SECONDS[min(self._unsuccessful, len(AGAIN_SECONDS)) - 1]
        self._unsuccessful = 0
        if full:
            self._full_at = time.monotonic()
        return LOOK_SECONDS

    def _is_behind(self) -> bool:
        try:
            return self._runner.enabled and self._runner.is_behind()
        except KemudiError as error:
            self._log.warning("sync cannot look for changes", error=str(error))
        except Exception:  # noqa: BLE001  # as for a run: without this thread nothing is synced any more
            self._log.exception("sync cannot look for changes")
        return False
