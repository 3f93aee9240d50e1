"""A Neo4j that hangs: it takes connections, and says nothing."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion, MemoryCache, asked_for
from kemudi.graph.errors import GraphUnavailableError
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.schema.secret import Secret

pytestmark = pytest.mark.neo4j

LIMIT = 1
PATIENCE = 12
"""The limit, the grace, one attempt at a new connection, and a busy machine."""


@pytest.fixture
def frozen(neo4j_server: Any, until: Any) -> Iterator[Any]:
    """`freeze()` and `thaw()`; thawed at the end in any case."""
    process = psutil.Process(neo4j_server.process.pid)

    class Frozen:
        server = neo4j_server

        def freeze(self) -> None:
            os.kill(neo4j_server.process.pid, signal.SIGSTOP)
            until(lambda: process.status() == psutil.STATUS_STOPPED)

        def thaw(self) -> None:
            os.kill(neo4j_server.process.pid, signal.SIGCONT)

    made = Frozen()
    yield made
    made.thaw()


def test_nobody_waits_for_a_server_that_hangs(frozen: Any, until: Any) -> None:
    """Readers that had a connection, and those that come later, are told soon; thawed, it answers again."""
    store = Neo4jStore(frozen.server.uri, frozen.server.user, Secret(frozen.server.password))
    store.prepare()
    steps = [
        ("merge_students", {"rows": [{"nim": each, "nama": each} for each in "12"]}),
        ("merge_classes", {"rows": [{"kode": "A", "nama": "A"}]}),
        ("merge_pairs", {"pairs": [{"nim": each, "kode": "A"} for each in "12"]}),
    ]
    store.write(steps)
    store.read(
        "classmates", {"nim": "1", "limit": 5}
    )  # planned once without a limit: a busy machine may take its time
    # With the cache, which asks for the data version first.
    cache = MemoryCache(DataVersion(asked_for(store, lambda: LIMIT), 0))
    service = GraphService(InMemoryClient({"GRAPH_QUERY_TIMEOUT": LIMIT}, contracts=CONTRACTS), store, cache)
    seconds: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        with pytest.raises(GraphUnavailableError):
            service.classmates("1")
        seconds.append(time.monotonic() - began)

    try:
        assert len(service.classmates("1")) == 1
        frozen.freeze()
        readers = [threading.Thread(target=ask) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(PATIENCE)
        assert len(seconds) == 4
        began = time.monotonic()
        with pytest.raises(GraphUnavailableError):
            store.ping()
        assert time.monotonic() - began < PATIENCE
        frozen.thaw()
        until(lambda: _answers(service))
    finally:
        frozen.thaw()
        store.close()


def test_a_store_closes_while_the_server_hangs(frozen: Any) -> None:
    """The end of the process is not in the hands of a server."""
    store = Neo4jStore(frozen.server.uri, frozen.server.user, Secret(frozen.server.password))
    store.ping()
    frozen.freeze()
    ends: list[object] = []

    def read() -> None:
        try:
            ends.append(store.read("counts", {}, timeout=60))
        except Exception as error:  # noqa: BLE001  # whatever it is, the test has to see it
            ends.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(0.2)
    began = time.monotonic()
    store.close()
    reader.join(PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert [type(each) for each in ends] == [GraphUnavailableError]


def _answers(service: GraphService) -> bool:
    try:
        return len(service.classmates("1")) == 1
    except GraphUnavailableError:
        return False
