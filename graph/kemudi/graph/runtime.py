"""Compose the services: client, store, service, sync and HTTP in one process, or a single sync run."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import uvicorn

import kemudi.client
from kemudi.graph.cache import DataVersion, MemoryCache
from kemudi.graph.errors import GraphUnavailableError
from kemudi.graph.http import Parts, build_app
from kemudi.graph.registry import Registry
from kemudi.graph.service import GraphService
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.schema.errors import RefusedError

_SHUTDOWN_SECONDS: Final = 3
_PROGRESS_SECONDS: Final = 0.2


def serve(*, ladybug: Path | None, registry_dsn: str | None, host: str, port: int) -> int:
    """Run the graph service, and with a registry the sync, until SIGTERM or SIGINT. Returns the exit code.

    Settings come from the `KEMUDI_*` variables. Raises KemudiError when a part cannot start.
    """
    with kemudi.client.connect(service="graph", contracts=CONTRACTS) as config:
        store = open_store(config, ladybug)
        ending = threading.Event()
        registry = Registry(registry_dsn) if registry_dsn is not None else None
        runner = SyncRunner(config, store, registry, ending) if registry is not None else None
        loop = SyncLoop(runner, ending) if runner is not None else None
        service = GraphService(config, store, MemoryCache(DataVersion(lambda: data_version(store))))
        app = build_app(Parts(config, service, store, runner, loop))
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        try:
            if runner is not None and loop is not None:
                runner.learn_last_success()
                loop.start()
            server.run()
        finally:
            if loop is not None:
                loop.stop()
            store.close()
            if registry is not None:
                registry.close()
    return 0


def run_sync_once(registry_dsn: str, on_progress: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Run one sync from a registry into the Neo4j of the settings. Returns its last status.

    `on_progress` gets the status some times a second. Raises KemudiError when a part cannot start.
    """
    with kemudi.client.connect(service="sync", contracts=CONTRACTS) as config:
        store = open_store(config, None)
        registry = Registry(registry_dsn)
        ending = threading.Event()
        runner = SyncRunner(config, store, registry, ending)
        worker = threading.Thread(target=runner.run, name="sync")
        try:
            worker.start()
            while worker.is_alive():
                worker.join(_PROGRESS_SECONDS)
                on_progress(runner.status.as_json())
        finally:
            ending.set()
            worker.join()
            store.close()
            registry.close()
        return runner.status.as_json()


def open_store(config: Any, ladybug: Path | None) -> GraphStore:  # a client
    """The embedded store in a file, or the Neo4j that the settings name; its tables or constraints are made.

    With Neo4j a changed address is tried before it is accepted: a server that does not answer refuses the change.
    """
    store: GraphStore
    if ladybug is not None:
        store = LadybugStore(ladybug)
    else:
        store = _neo4j(config.category("neo4j"))
        config.prepare("neo4j", _answers)
    store.prepare()
    return store


def data_version(store: GraphStore) -> int:
    """A number that rises with each change of the graph."""
    found = store.read("checkpoint", {"name": "data"})
    return int(found[0]["version"] or 0) if found else 0


def _neo4j(settings: Mapping[str, Any]) -> Neo4jStore:
    password = settings.get("NEO4J_PASSWORD")
    if password is None:
        raise RefusedError(
            "NEO4J_PASSWORD is not set", hint="Seal it: kemudi secret set NEO4J_PASSWORD --layer ENV"
        )
    return Neo4jStore(settings["NEO4J_URI"], settings["NEO4J_USER"], password)


def _answers(settings: Mapping[str, Any]) -> None:
    """The check of `config.prepare`: open the new address and ping it. Raises when it does not answer."""
    store = _neo4j(settings)
    try:
        store.ping()
    except GraphUnavailableError as error:
        raise GraphUnavailableError(f"{settings['NEO4J_URI']}: {error}") from error
    finally:
        store.close()
