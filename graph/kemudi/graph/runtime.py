"""Compose the services: client, store, service, sync and HTTP in one process, or a single sync run."""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

import kemudi.client
from kemudi.graph.cache import (
    VERSION_SECONDS,
    CountedCache,
    DataVersion,
    MemoryCache,
    RedisCache,
    ResultCache,
    asked_for,
)
from kemudi.graph.http import Parts, build_app
from kemudi.graph.mapping import Names
from kemudi.graph.metrics import Metrics
from kemudi.graph.opening import open_store, sync_parts
from kemudi.graph.rates import RateLimiter
from kemudi.graph.registry import Registry
from kemudi.graph.service import GraphService
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync.copying import Copier
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.graph.tracing import TracedCache, TracedStore, tracing_from
from kemudi.schema.errors import KemudiError, UsageError
from kemudi.web.logs import make_log
from kemudi.web.process import ends_on_signals, serve_until
from kemudi.web.server import HttpServer, listen

REDIS_VARIABLE: Final = "KEMUDI_GRAPH_REDIS_URL"
"""A Redis for the query cache and the rate limits; without it each process keeps its own."""

_PROGRESS_SECONDS: Final = 0.2
_PREPARE_SECONDS: Final = 2.0


def serve(
    *,
    ladybug: Path | None,
    registry_dsn: str | None,
    host: str,
    port: int,
    redis_url: str | None = None,
    names: Names | None = None,
) -> int:
    """Run the graph service, and with a registry the sync, until SIGTERM or SIGINT. Returns the exit code.

    Settings come from the `KEMUDI_*` variables. With Neo4j it starts while the server is away and is not ready then.

    Args:
        ladybug: The file of the embedded store; None for the Neo4j that the settings name.
        registry_dsn: SQLAlchemy address of the registry; None: no sync here.
        host: Where to listen.
        port: The same; 0 for a free one.
        redis_url: For the query cache and the rate limits; else `KEMUDI_GRAPH_REDIS_URL`, else memory.
        names: Of the registry's tables and columns, where they are not the usual ones.

    Raises:
        KemudiError: A part cannot start; the message says which.
    """
    ending, log = threading.Event(), make_log()
    with ExitStack() as stack:
        stack.enter_context(ends_on_signals(ending))
        listener = stack.enter_context(listen(host, port, who="the graph service"))
        config = stack.enter_context(kemudi.client.connect(service="graph", contracts=CONTRACTS))
        store = open_store(config, ladybug)
        stack.callback(store.close)
        metrics = Metrics()
        version = _data_version(store, config)
        cache, limiter = _cache_and_limiter(version, redis_url or os.environ.get(REDIS_VARIABLE))
        stack.callback(cache.close)
        stack.callback(limiter.close)
        tracing = tracing_from()
        counted: ResultCache = CountedCache(cache, metrics.looked_up)
        if tracing is None:
            service = GraphService(config, store, counted)
        else:
            stack.callback(tracing.close)
            service = GraphService(config, TracedStore(store, tracing), TracedCache(counted, tracing))
        runner = _runner(stack, config, store, registry_dsn, names, ending)
        loop = SyncLoop(runner, ending, log) if runner is not None else None
        preparation = _Preparation(store, runner, loop, ending, log)
        if runner is not None:
            metrics.watch_sync(lambda: runner.status)
        app = build_app(
            Parts(
                config, service, store, runner, loop, limiter, metrics, preparation.problem, version, tracing
            )
        )
        server = HttpServer(app, listener, name="graph-http")
        stack.callback(_end, server, loop, preparation, ending)
        preparation.start()
        server.start()
        log.info("serving", url=server.url, store=store.name, sync=runner is not None)
        return serve_until(ending, server, log)


def run_sync_once(
    registry_dsn: str,
    on_progress: Callable[[Mapping[str, Any]], None],
    *,
    names: Names | None = None,
    dask: str | None = None,
) -> dict[str, Any]:
    """Run one full sync from a registry into the Neo4j of the settings. Returns its last status.

    `on_progress` gets the status some times a second; `names` are those of the registry's tables and columns; `dask` is
    the address of a scheduler whose workers copy the rows. Raises LeaseHeldError while another process syncs into this
    graph, KemudiError when a part cannot start.
    """
    ending = threading.Event()
    with sync_parts(registry_dsn, names) as (config, store, registry):
        runner = SyncRunner(config, store, registry, ending, copier=_cluster(dask, names))
        runner.learn_last_success()
        worker = threading.Thread(target=runner.run, name="sync")
        worker.start()
        try:
            while worker.is_alive():
                worker.join(_PROGRESS_SECONDS)
                on_progress(runner.status.as_json())
        finally:
            ending.set()
            worker.join()
        if runner.held is not None:
            raise runner.held
        return runner.status.as_json()


def _cluster(address: str | None, names: Names | None) -> Copier | None:
    if address is None:
        return None
    try:
        from kemudi.graph.cluster import Cluster
    except ImportError as error:
        raise UsageError("Dask is not installed here", hint="pip install 'kemudi[dask]'") from error
    return Cluster(address, names)


def verify_once(registry_dsn: str, *, names: Names | None = None) -> dict[str, Any]:
    """Compare a registry with the Neo4j of the settings, as `kemudi.graph.sync.verify` says. Raises KemudiError."""
    with sync_parts(registry_dsn, names) as (_, store, registry):
        return verify(registry, store)


class _Preparation:
    """Makes tables or constraints, and starts the sync then. On Neo4j it waits for a server that is away."""

    def __init__(
        self,
        store: GraphStore,
        runner: SyncRunner | None,
        loop: SyncLoop | None,
        ending: threading.Event,
        log: FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._runner = runner
        self._loop = loop
        self._ending = ending
        self._log = log
        self._problem: str | None = "the graph store is being prepared"
        self._thread = threading.Thread(target=self._wait, name="graph-prepare", daemon=True)

    def problem(self) -> str | None:
        """Why the store is not prepared; None once it is."""
        return self._problem

    def start(self) -> None:
        """Try at once. Raises what the embedded store raises; Neo4j is tried again until it answers."""
        if isinstance(self._store, LadybugStore):
            self._attempt()
        else:
            self._thread.start()

    def join(self) -> None:
        """Wait until it has noticed the end."""
        if self._thread.ident is not None:
            self._thread.join(_PREPARE_SECONDS)

    def _wait(self) -> None:
        while not self._ending.is_set():
            try:
                self._attempt()
            except KemudiError as error:
                if self._problem != str(error):
                    self._log.warning("the graph store is not ready", error=str(error))
                self._problem = str(error)
                self._ending.wait(_PREPARE_SECONDS)
            else:
                return

    def _attempt(self) -> None:
        self._store.prepare()
        if self._runner is not None:
            self._runner.learn_last_success()
        self._problem = None
        if self._loop is not None and not self._ending.is_set():
            self._loop.start()


def _end(
    server: HttpServer, loop: SyncLoop | None, preparation: _Preparation, ending: threading.Event
) -> None:
    ending.set()  # first, so that the sync ends its batch while the last requests are answered
    server.close()
    preparation.join()
    if loop is not None:
        loop.stop()


def _runner(
    stack: ExitStack,
    config: Any,  # a client
    store: GraphStore,
    registry_dsn: str | None,
    names: Names | None,
    ending: threading.Event,
) -> SyncRunner | None:
    if registry_dsn is None:
        return None
    registry = Registry(registry_dsn, names)
    stack.callback(registry.close)
    return SyncRunner(config, store, registry, ending)


def _data_version(store: GraphStore, config: Any) -> DataVersion:  # a client
    seconds = 0.0 if isinstance(store, LadybugStore) else VERSION_SECONDS
    return DataVersion(asked_for(store, lambda: config["GRAPH_QUERY_TIMEOUT"]), seconds)


def _cache_and_limiter(version: DataVersion, redis_url: str | None) -> tuple[ResultCache, RateLimiter]:
    if redis_url is None:
        return MemoryCache(version), RateLimiter()
    env = os.environ.get("KEMUDI_ENV", "default")
    return RedisCache.connect(redis_url, env, version), RateLimiter.connect(redis_url, env)
