"""Open what the settings name: the graph store, and all that a sync needs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import kemudi.client
from kemudi.graph.errors import GraphUnavailableError
from kemudi.graph.mapping import Names
from kemudi.graph.registry import Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.schema.errors import RefusedError


@contextmanager
def sync_parts(registry_dsn: str, names: Names | None) -> Iterator[tuple[Any, GraphStore, Registry]]:
    """A client, the prepared Neo4j of the settings, and a registry; closed at the end. Raises KemudiError."""
    with ExitStack() as stack:
        config = stack.enter_context(kemudi.client.connect(service="sync", contracts=CONTRACTS))
        store = open_store(config, None)
        stack.callback(store.close)
        store.prepare()
        registry = Registry(registry_dsn, names)
        stack.callback(registry.close)
        yield config, store, registry


def open_store(config: Any, ladybug: Path | None) -> GraphStore:  # a client
    """The embedded store in a file, or the Neo4j that the settings name, not yet asked for anything.

    With Neo4j a changed address is tried before it is accepted: a server that does not answer refuses the change.
    """
    if ladybug is not None:
        return LadybugStore(ladybug)
    store = _neo4j(config.category("neo4j"))
    config.prepare("neo4j", _answers)
    return store


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
