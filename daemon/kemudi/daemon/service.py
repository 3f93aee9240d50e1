"""The composition root: parts are made, connected, started and stopped here and nowhere else."""

import os
import queue
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from kemudi.daemon.auth import Gatekeeper, load_secret
from kemudi.daemon.bench import Bench
from kemudi.daemon.desk import Desk
from kemudi.daemon.environment import Environment
from kemudi.daemon.fetcher import Fetcher
from kemudi.daemon.http import make_app
from kemudi.daemon.lease import LeaseKeeper, Renewer
from kemudi.daemon.logs import Log, make_log
from kemudi.daemon.metrics import Metrics
from kemudi.daemon.notify import READY, STOPPING, WATCHDOG, Notifier
from kemudi.daemon.overrides import Overrides
from kemudi.daemon.pause import Pauses
from kemudi.daemon.queries import Queries
from kemudi.daemon.reconciler import Reconciler
from kemudi.daemon.settings import DaemonSettings
from kemudi.daemon.signatures import Signatures
from kemudi.daemon.source import Source
from kemudi.daemon.statefiles import FolderLock, make_folder
from kemudi.daemon.status import EnvironmentStatus
from kemudi.daemon.telemetry import Telemetry
from kemudi.daemon.trigger import Cause, Hints, Trigger
from kemudi.daemon.unseal import Unsealer
from kemudi.daemon.watcher import Watcher
from kemudi.repo.local import LocalRefs
from kemudi.repo.mirror import Mirror
from kemudi.repo.secrets import load_identities
from kemudi.repo.signatures import TrustedKeys
from kemudi.schema import manifest as repo
from kemudi.schema.errors import ConflictError, KemudiError, UnavailableError, UsageError
from kemudi.schema.hardening import harden
from kemudi.store.keyfiles import KeyFile
from kemudi.store.redis import RedisStore
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import SigningKey, VerifyKeys
from kemudi.store.values import utc_text
from kemudi.web.server import HttpServer, listen

STALL_SECONDS: Final = 30.0
"""A reconciling thread that has not begun a pass for so long is taken for stuck: no more signs of life."""

_STOP_SECONDS: Final = 2.3
ONCE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Keys:
    """What the daemon holds: opened once, at start, so that a wrong file is named before anything else happens."""

    signer: SigningKey
    trusted: VerifyKeys
    keysets: KeyFile[KeysetBundle]
    identities: tuple[str, ...]

    @classmethod
    def load(cls, settings: DaemonSettings) -> Self:
        """Read the key files. Raises UsageError, KeyFileRefusedError."""
        if settings.signing_key is None:
            raise UsageError(
                "the daemon needs a key to sign what it publishes (KEMUDI_SIGNING_KEY)",
                hint="Make one with `kemudi secret keygen`.",
            )
        signer = SigningKey.load(settings.signing_key)
        trusted = signer.verify_keys()
        if settings.pinned_verify_keys is not None:
            trusted = trusted.merged(VerifyKeys.load(settings.pinned_verify_keys))
        keysets = KeyFile(settings.keyset, KeysetBundle.load)
        identities = () if settings.identity is None else load_identities(settings.identity)
        return cls(signer, trusted, keysets, identities)


@dataclass
class Daemon:
    """The parts of one daemon, connected and not yet started."""

    settings: DaemonSettings
    keys: Keys
    log: Log
    holder: str
    watch: bool = True
    takes_over: bool = True
    trigger: Trigger = field(default_factory=Trigger)
    metrics: Metrics = field(default_factory=Metrics)
    fetcher: Fetcher | None = None
    pauses: Pauses = field(init=False)
    source: Source = field(init=False)
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        make_folder(settings.state_dir)
        self.pauses = Pauses(settings.state_dir / "pauses.json")
        url = settings.remote_url
        if url is not None:
            self.fetcher = Fetcher(
                Mirror(url, settings.mirror, settings.branch), self.trigger, settings.poll_seconds
            )
        watcher = Watcher(self.trigger) if self.watch and url is None else None
        self.source = Source(settings, watcher=watcher, fetcher=self.fetcher)
        self._local = LocalRefs(settings.state_dir / "local.git")
        self._telemetry = Telemetry(self.log, self.metrics)
        self._unsealer = Unsealer(self.keys.identities)
        self._signatures = Signatures(TrustedKeys(settings.allowed_signers, settings.gpg_home))
        self.reconciler = Reconciler(
            settings, self.source, self.trigger, self.pauses, self._environment, self.metrics, self.log
        )

    def _environment(self, repo_id: str, mode: str, entry: repo.Environment) -> Environment:
        settings, keys = self.settings, self.keys
        store = RedisStore(settings.redis_url, entry.name)
        folder = settings.state_dir / "environments" / entry.name
        make_folder(folder)
        keeper = LeaseKeeper(
            store, self.holder, settings.lease_ttl, record=folder / "lease.json" if self.takes_over else None
        )
        bench = Bench(
            env=entry.name,
            repo_id=repo_id,
            mode=mode,
            reject=entry.reject,
            source=self.source,
            store=store,
            keeper=keeper,
            local=self._local,
            unsealer=self._unsealer,
            signatures=self._signatures,
            keysets=keys.keysets,
            signer=keys.signer,
            trusted=keys.trusted,
            pauses=self.pauses,
            overrides=Overrides(self._local, entry.name),
            record=folder / "applied.json",
            wall=utc_text,
        )
        return Environment(bench, settings.drift_seconds, self._telemetry)

    def keepers(self) -> list[LeaseKeeper]:
        """The leases to renew."""
        return [environment.bench.keeper for environment in self.reconciler.environments]

    def close(self) -> None:
        """Give back the leases, release git and Redis."""
        self.reconciler.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon at work."""

    url: str
    threads: Callable[[], bool]

    @property
    def is_alive(self) -> bool:
        """Whether every thread that must run does. One that has died takes the daemon with it."""
        return self.threads()


@contextmanager
def served(daemon: Daemon) -> Iterator[Running]:
    """The daemon at work: reconciling, renewing, answering. Ends everything at the end, in bounded time."""
    settings, reconciler = daemon.settings, daemon.reconciler
    token, webhook_secret = load_secret(settings.token_file), load_secret(settings.webhook_secret)
    listener = listen(settings.host, settings.port, who="the daemon")
    desk = Desk(
        reconciler,
        daemon.trigger,
        daemon.pauses,
        Queries(daemon.source.path, lambda: daemon.fetcher.version if daemon.fetcher is not None else 0),
        daemon.metrics,
        local=settings.remote_url is None,
        branch=lambda: daemon.source.branch,
    )
    loopback = settings.listens_on_loopback
    app = make_app(desk, Gatekeeper(token, loopback=loopback), webhook_secret)
    server = HttpServer(app, listener, name="kemudi-http")
    renewer = Renewer(daemon.keepers, settings.lease_ttl, lambda: daemon.trigger.ring(Cause.LEASE))
    worker = threading.Thread(target=reconciler.run, name="kemudi-reconcile", daemon=True)
    try:
        server.start()
        renewer.start()
        if daemon.fetcher is not None:
            daemon.fetcher.start()
        worker.start()
        yield Running(server.url, lambda: server.is_alive and worker.is_alive())
    finally:
        ends = time.monotonic() + _STOP_SECONDS
        desk.closing = True
        reconciler.stop()
        renewer.stop()
        server.stop()
        # A Redis that does not answer keeps who asks it; then there is nobody to give the lease back to.
        release = threading.Thread(target=daemon.close, name="kemudi-release", daemon=True)
        for part in (worker, server, renewer):
            part.join(max(0.01, ends - time.monotonic()))
        if not worker.is_alive():
            release.start()
            release.join(max(0.3, ends - time.monotonic()))
        desk.queries.close()


def run(settings: DaemonSettings) -> int:
    """Serve until SIGTERM or SIGINT. SIGHUP looks at git at once. Returns the exit code."""
    harden()
    log = make_log()
    keys = Keys.load(settings)
    notifier = Notifier.from_environ(os.environ)
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    # A SimpleQueue may be filled from a signal handler; whatever takes a lock may not.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: signals.put(received))
    with FolderLock(settings.state_dir):
        daemon = Daemon(settings, keys, log, holder_name())
        with served(daemon) as running:
            log.info("started", url=running.url, environments=list(settings.environments), pid=os.getpid())
            code = _supervise(daemon, running, notifier, signals)
            notifier.tell(STOPPING)
            log.info("stopping")
    log.info("stopped")
    return code


def _supervise(
    daemon: Daemon, running: Running, notifier: Notifier, signals: "queue.SimpleQueue[int]"
) -> int:
    """Wait for a signal to end; meanwhile tell the service manager how it is. Returns the exit code."""
    interval = min(1.0, (notifier.watchdog_seconds or 2.0) / 2)
    ready = False
    while True:
        if not ready and daemon.reconciler.wait_first(0):
            ready = True
            notifier.tell(READY)
        if notifier.watchdog_seconds and time.monotonic() - daemon.reconciler.beat < STALL_SECONDS:
            notifier.tell(WATCHDOG)
        try:
            received = signals.get(timeout=interval if ready else 0.05)
        except queue.Empty:
            if not running.is_alive:
                daemon.log.warning("a thread has ended; so does the daemon")
                return KemudiError.exit_code
            continue
        if received != signal.SIGHUP:
            return 0
        daemon.trigger.ring(Cause.RELOAD, rescan=True)


def apply_once(settings: DaemonSettings) -> list[EnvironmentStatus]:
    """Publish what git says now, once, and end: for a pipeline that has no daemon.

    Raises ConflictError when a daemon leads, UnavailableError when git or Redis cannot be reached.
    """
    keys = Keys.load(settings)
    daemon = Daemon(settings, keys, make_log(), holder_name(), watch=False, takes_over=False)
    try:
        if daemon.fetcher is not None:
            daemon.fetcher.fetch()
        _until_settled(daemon)
        statuses = list(daemon.reconciler.statuses)
    finally:
        daemon.close()
    problem = daemon.source.problem
    unfetched = daemon.fetcher.error if daemon.fetcher is not None else ""
    if problem is not None or unfetched:
        raise UnavailableError(str(problem or unfetched))
    for status in statuses:
        if status.ready.reason == "StoreFailed":
            raise UnavailableError(status.ready.message)
        if status.ready.reason == "NotLeader":
            raise ConflictError(
                f"a daemon publishes to {status.env}: {status.ready.message}",
                hint="It applies new commits by itself; `kemudi wait REVISION` waits for that.",
            )
    return statuses


def _until_settled(daemon: Daemon) -> None:
    """Passes until nothing is to be retried, at most a few seconds."""
    ends = time.monotonic() + ONCE_SECONDS
    hints = Hints(frozenset({Cause.START}))
    while True:
        daemon.reconciler.once(hints)
        retries = [each.retry_at for each in daemon.reconciler.environments if each.retry_at is not None]
        if not retries or time.monotonic() > ends:
            return
        time.sleep(max(0.0, min(retries) - time.monotonic()))
        hints = Hints(frozenset({Cause.RETRY}))


def holder_name() -> str:
    """The name under which this process leads: unique, and telling to a person."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
