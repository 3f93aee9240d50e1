"""The remote, fetched by a thread of its own: a host that hangs delays neither repairs nor leases nor answers."""

import threading
import time
from typing import Final

from kemudi.daemon.backoff import Backoff
from kemudi.daemon.trigger import Cause, Trigger
from kemudi.repo.mirror import Mirror
from kemudi.schema.errors import KemudiError

MIN_SECONDS: Final = 1.0
"""Between two fetches, however many webhooks arrive."""

MAX_BACKOFF_SECONDS: Final = 60.0


class Fetcher:
    """Keeps a mirror up to date. `error`, `version` and `request` are for any thread."""

    def __init__(self, mirror: Mirror, trigger: Trigger, poll_seconds: float) -> None:
        self._mirror = mirror
        self._trigger = trigger
        self._poll = poll_seconds
        self._backoff = Backoff(poll_seconds, MAX_BACKOFF_SECONDS)
        self._wake = threading.Condition()
        self._asked = False
        self._damaged = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="kemudi-fetch", daemon=True)
        self.error = "the first fetch is under way"
        self.version = 0

    def start(self) -> None:
        """Begin to fetch."""
        self._thread.start()

    def request(self) -> None:
        """Fetch soon: a hint. Never more often than once a second."""
        with self._wake:
            self._asked = True
            self._wake.notify_all()

    def report_damage(self) -> None:
        """A reader met a damaged object: make the mirror anew."""
        with self._wake:
            self._damaged = self._asked = True
            self._wake.notify_all()

    def fetch(self) -> None:
        """Fetch now, in the caller's thread. The outcome is in `error`."""
        with self._wake:
            damaged, self._asked, self._damaged = self._damaged, False, False
        try:
            fetched = self._mirror.reclone() if damaged else self._mirror.fetch()
        except KemudiError as error:
            self._tell(str(error))
            return
        except OSError as error:
            self._tell(f"the mirror cannot be written: {error.strerror}")
            return
        if fetched.recloned:
            self.version += 1
        self._backoff.reset()
        if fetched.sha != fetched.before or fetched.recloned:
            self._trigger.ring(Cause.FETCH)
        self._tell("")

    def close(self) -> None:
        """End the thread; a fetch under way is left to its own time limit."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(0.5)

    def _tell(self, error: str) -> None:
        changed, self.error = error != self.error, error
        if changed:
            self._trigger.ring(Cause.FETCH)

    def _run(self) -> None:
        while not self._closed:
            started = time.monotonic()
            self.fetch()
            pause = self._backoff.next() if self.error else self._poll
            self._sleep(started + pause, started + MIN_SECONDS)

    def _sleep(self, due: float, earliest: float) -> None:
        """Until the next fetch is due; a request shortens that, down to the least interval."""
        with self._wake:
            while not self._closed:
                now = time.monotonic()
                until = min(due, earliest) if self._asked else due
                if now >= until:
                    return
                self._wake.wait(until - now)
