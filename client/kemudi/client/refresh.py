"""The thread that keeps a client current: hints, polls, acknowledgements, the disk copy.

Each turn looks at the store, offers what is new, acknowledges, and waits for a hint. What the store cannot do now is
tried again; what it should not have is counted and left alone. A reader never waits for any of this.
"""

import atexit
import logging
import random
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kemudi.client.acks import REFRESH_SECONDS, TTL_SECONDS, acknowledgement, new_instance
from kemudi.client.disk import DiskCopy
from kemudi.client.fork import unwatch, watch
from kemudi.client.health import Health
from kemudi.client.loader import LoadRefusedError, SnapshotLoader
from kemudi.client.serving import Serving
from kemudi.client.snapshot import Snapshot
from kemudi.schema.errors import KemudiError, RefusedError
from kemudi.schema.generation import Generation
from kemudi.store.base import HintStream, SnapshotReader
from kemudi.store.values import Acknowledgement

_log: Final = logging.getLogger("kemudi.client")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, in seconds.

    Attributes:
        poll_least, poll_most: Between two looks at the store without a hint; random, to spread many processes.
        again: Until the next look after something could not be trusted or had gone.
        ask_again: Until a refused snapshot is offered again.
        copy_after: From a swap to the disk copy; later swaps do not push it back.
        keys: Between two looks at the keyset file.
    """

    poll_least: float = 5.0
    poll_most: float = 15.0
    again: float = 1.0
    ask_again: float = 30.0
    copy_after: float = 1.0
    keys: float = 2.0


@dataclass(frozen=True, slots=True)
class _Refused:
    snapshot: Snapshot
    reason: str
    until: float


class Refresher:
    """Keeps one client current.

    Args:
        open_store: Makes a store; called again after a fork.
        loader: Reads and verifies.
        serving: Where snapshots are offered.
        service: The name to acknowledge under.
        copy: The disk copy, None for no copy.
        pace: How often.
    """

    def __init__(
        self,
        open_store: Callable[[], SnapshotReader],
        loader: SnapshotLoader,
        serving: Serving,
        *,
        service: str,
        copy: DiskCopy | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._open_store = open_store
        self._loader = loader
        self._serving = serving
        self._service = service
        self._copy = copy
        self._pace = pace or Pace()
        self._counts: Counter[str] = Counter()
        self._confirmed = time.monotonic()
        self._connected = False
        self._problem = ""
        self._refused: _Refused | None = None
        self._distrusted = ""
        self._unsaved: dict[str, bytes] | None = None
        self._closed = False
        self._ends_at_exit = False
        self.refused_by_store: RefusedError | None = None
        self._reset()

    def _reset(self) -> None:
        self._store = self._open_store()
        self._hints: HintStream = self._store.hints()
        self._thread: threading.Thread | None = None
        self._acknowledged: Acknowledgement | None = None
        self._look_at = self._speak_at = self._copy_at = self._keys_at = 0.0
        self.instance = new_instance()
        self.looked = threading.Event()
        self.loaded = threading.Event()

    def start(self) -> None:
        """Begin, also in children of a fork. Sets `looked` after its first look, `loaded` with its first snapshot."""
        watch(self)
        if not self._ends_at_exit:  # a child has its parent's hooks
            atexit.register(self.close, patience=0.5)
            self._ends_at_exit = True
        self._thread = threading.Thread(target=self._run, name="kemudi-refresh", daemon=True)
        self._thread.start()

    def close(self, patience: float = 5.0) -> None:
        """End: withdraw the acknowledgement, write a copy that is due, release connections. May be repeated.

        Args:
            patience: How long to wait for the thread, in seconds; it may be within a check.
        """
        if self._closed:
            return
        self._closed = True
        unwatch(self)
        atexit.unregister(self.close)
        self._hints.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(patience)
        if self._connected and self._acknowledged is not None:
            self._quietly(self._store.withdraw, self._acknowledged)
        self._save_copy()
        self._store.close()

    def after_fork(self) -> None:
        """In the child: connections and the thread are the parent's; begin anew, from the same snapshot."""
        self._serving.after_fork()
        with warnings.catch_warnings():
            # The parent's sockets: only this process's handles of them are dropped, nothing is sent on them.
            warnings.simplefilter("ignore", ResourceWarning)
            self._reset()
        self._unsaved = None
        self.start()

    def health(self) -> Health:
        """The present state."""
        snapshot = self._serving.snapshot
        refused = self._refused
        return Health(
            connected=self._connected,
            stale_seconds=0.0 if self._is_current else time.monotonic() - self._confirmed,
            source=snapshot.source,
            revision=snapshot.revision,
            generation=_text(snapshot.generation),
            refused=dict(self._counts),
            refusal=refused.reason if refused else self._distrusted,
            restart_pending=self._serving.restart_pending,
            problem=self._problem,
        )

    @property
    def _is_current(self) -> bool:
        return self._connected and self._refused is None and not self._distrusted

    def _run(self) -> None:
        while not self._closed:
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - the thread must not end: reads would go on and never change again
                _log.error("a turn of the refresh thread failed; it goes on", exc_info=True)
                self._look_at = time.monotonic() + self._pace.again
            self.looked.set()
            due = min(self._look_at, self._speak_at, self._keys_at, *self._copy_due())
            if self._hints.wait(max(0.0, due - time.monotonic())):
                self._look_at = 0.0

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._keys_at:
            self._keys_at = now + self._pace.keys
            if self._serving.refresh_keys():
                self._speak_at = 0.0
        if now >= self._look_at:
            self._look_at = now + random.uniform(self._pace.poll_least, self._pace.poll_most)  # noqa: S311 - jitter
            self._look()
        if not self._connected:
            self._speak_at = time.monotonic() + REFRESH_SECONDS
        elif time.monotonic() >= self._speak_at and not self._closed:
            self._speak()
        if self._unsaved is not None and time.monotonic() >= self._copy_at and not self._closed:
            self._save_copy()

    def _copy_due(self) -> tuple[float, ...]:
        return () if self._unsaved is None else (self._copy_at,)

    def _look(self) -> None:
        """One look at the store."""
        refused = self._refused.snapshot if self._refused is not None else None
        try:
            loaded = self._loader.load(self._store, self._serving.snapshot, refused)
        except LoadRefusedError as error:
            self._reached()
            self._distrust(error)
            return
        except KemudiError as error:
            self._lost(error)
            return
        self._reached()
        if self._distrusted:
            self._distrusted, self._speak_at = "", 0.0
        if loaded is not None:
            self._offer(loaded.snapshot, loaded.fetched)
        if loaded is None or self._refused is None:
            self._confirmed = time.monotonic()

    def _offer(self, snapshot: Snapshot, fetched: Mapping[str, bytes]) -> None:
        now = time.monotonic()
        refused = self._refused
        if refused is not None and refused.snapshot.signed == snapshot.signed and now < refused.until:
            self._look_at = min(self._look_at, refused.until)
            return
        refusal = self._serving.offer(snapshot)
        self._speak_at = 0.0
        if refusal is not None:
            self._counts[refusal.kind] += 1
            self._refused = _Refused(snapshot, refusal.reason, time.monotonic() + self._pace.ask_again)
            self._look_at = min(self._look_at, self._refused.until)
            _log.warning("refusing revision %s: %s", snapshot.revision, refusal.reason)
            return
        self._refused = None
        if self._copy is not None:
            self._copy_at = self._copy_at if self._unsaved is not None else now + self._pace.copy_after
            self._unsaved = {**(self._unsaved or {}), **fetched}
        self.loaded.set()

    def _speak(self) -> None:
        """Acknowledge. That it cannot be written never matters."""
        refused = self._refused
        said = acknowledgement(
            self._serving,
            self._service,
            self.instance,
            refused_revision=(refused.snapshot.revision or "") if refused else "",
            reason=refused.reason if refused else self._distrusted,
        )
        self._speak_at = time.monotonic() + REFRESH_SECONDS
        self._acknowledged = said
        self._quietly(lambda it: self._store.acknowledge(it, TTL_SECONDS), said)

    def _quietly(self, write: Callable[[Acknowledgement], None], said: Acknowledgement) -> None:
        try:
            write(said)
        except KemudiError as error:
            _log.debug("no acknowledgement: %s", error)

    def _reached(self) -> None:
        if not self._connected:
            _log.info("connected to the store")
            self._speak_at = 0.0
        self._connected, self._problem, self.refused_by_store = True, "", None

    def _lost(self, error: KemudiError) -> None:
        if self._connected or not self._problem:
            _log.warning("serving what is in memory: %s", error)
        self._connected, self._problem = False, str(error)
        self.refused_by_store = error if isinstance(error, RefusedError) else None

    def _distrust(self, error: LoadRefusedError) -> None:
        """Count it once while it lasts, and look again soon: whoever repairs it may send no hint."""
        self._look_at = min(self._look_at, time.monotonic() + self._pace.again)
        if self._distrusted != str(error):
            self._distrusted, self._speak_at = str(error), 0.0
            self._counts[error.reason] += 1
            level = logging.WARNING if error.reason == "missing" else logging.ERROR
            _log.log(level, "keeping what is served: %s", error)

    def _save_copy(self) -> None:
        fresh, self._unsaved = self._unsaved, None
        if self._copy is None or fresh is None:
            return
        snapshot = self._serving.snapshot
        digests = {digest for category in snapshot.categories.values() for digest in category.digests}
        try:
            self._copy.save(snapshot.signed, digests, fresh, self._store.blobs)
        except (OSError, KemudiError) as error:
            _log.warning("no disk copy of the settings: %s", error)


def _text(generation: Generation | None) -> str | None:
    return None if generation is None else str(generation)
