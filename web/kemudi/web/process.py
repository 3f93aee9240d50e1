"""A process that serves until a signal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from structlog.typing import FilteringBoundLogger

from kemudi.web.server import HttpServer

_WATCH_SECONDS: Final = 0.5
_FAILED: Final = 70


@contextmanager
def ends_on_signals(ending: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set the event; what was there before is put back."""
    before = {
        number: signal.signal(number, lambda *_: ending.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve_until(ending: threading.Event, server: HttpServer, log: FilteringBoundLogger) -> int:
    """Wait for the event, or for the end of the server by itself. Returns the exit code of the process."""
    while not ending.wait(_WATCH_SECONDS):
        if not server.is_alive:
            log.error("the HTTP server ended")
            return _FAILED
    log.info("ending")
    return 0
