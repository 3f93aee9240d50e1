"""Classmates in process, from the cache and over HTTP, against the same Cypher by the bare driver.

The graph is that of a generated registry. In each round every student of a sample is asked for once in each way, one
way after the other and in another order each time, so that all of them meet the same moments of the machine; a round's
figure is its p95, and the ratio that counts is the median of the rounds' ratios. The floor reads the same records with
`session.run`, without a time limit, cache, settings or check of what is there.

Run: `python benchmarks/classmates.py [--students N] [--neo4j URI]`; password in NEO4J_PASSWORD. Without --neo4j it
measures the embedded store. The Neo4j that is named is filled once, and again only when it holds another registry.
"""

import argparse
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import ladybug
import neo4j

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion, MemoryCache
from kemudi.graph.generator import ROWS_A_STUDENT, generate
from kemudi.graph.http import Parts, build_app
from kemudi.graph.queries import query
from kemudi.graph.registry import Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.graph.sync.runner import SyncRunner
from kemudi.schema.secret import Secret
from kemudi.web.server import HttpServer, listen

USER = "neo4j"
LIMIT = 50
TEXT = query("classmates")
ROUNDS = 9
SEED = 42

Ask = Callable[[str], Any]


@contextmanager
def bare_neo4j(uri: str, password: str) -> Iterator[Ask]:
    with neo4j.GraphDatabase.driver(uri, auth=(USER, password)) as driver:

        def ask(nim: str) -> Any:
            with driver.session(default_access_mode=neo4j.READ_ACCESS) as session:
                return [each.data() for each in session.run(TEXT, {"nim": nim, "limit": LIMIT})]  # type: ignore[arg-type]  # a literal in a file

        yield ask


@contextmanager
def bare_ladybug(store: Any) -> Iterator[Ask]:
    connection = ladybug.Connection(store._database)  # noqa: SLF001  # a file can be opened once

    def ask(nim: str) -> Any:
        result = connection.execute(TEXT, {"nim": nim, "limit": LIMIT})
        try:
            return list(result.rows_as_dict())
        finally:
            result.close()

    yield ask
    connection.close()


def filled(store: GraphStore, students: int, folder: Path) -> None:
    """Copy a registry of so many students, unless the graph holds one of that size."""
    store.prepare()
    dsn = f"sqlite:///{folder / 'registry.db'}"
    generate(dsn, students * ROWS_A_STUDENT)
    registry = Registry(dsn)
    settings = {"SYNC_BATCH_SIZE": 5_000}
    runner = SyncRunner(InMemoryClient(settings, contracts=CONTRACTS), store, registry, threading.Event())
    if store.read("counts", {})[0]["edges"] != len(set(registry.edges())):
        status = runner.run()
        assert status.state == "done", status
    registry.close()


def p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def measured(ways: dict[str, Ask], nims: list[str], rounds: int) -> dict[str, list[float]]:
    """The p95 of each way in each round."""
    turns = random.Random(SEED)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for nim in nims:
            for name in turns.sample(list(ways), len(ways)):
                began = time.perf_counter()
                ways[name](nim)
                seconds[name].append(time.perf_counter() - began)
        for name, each in seconds.items():
            found[name].append(p95(each))
    return found


def told(found: dict[str, list[float]], floor: str) -> None:
    print(f"{'p95 of':<28}{'ms, median':>12}{'to the floor':>14}{'worst round':>13}")
    for name, each in found.items():
        ratios = [one / least for one, least in zip(each, found[floor], strict=True)]
        middle, most = statistics.median(ratios), max(ratios)
        print(f"  {name:<26}{statistics.median(each) * 1000:>12.3f}{middle:>13.3f}x{most:>12.3f}x")


def compared(store: GraphStore, bare: Ask, sample: int) -> None:
    plain = InMemoryClient({"GRAPH_CACHE_ENABLED": False, "API_RATE_LIMIT": 10**9}, contracts=CONTRACTS)
    config = InMemoryClient({"API_RATE_LIMIT": 10**9}, contracts=CONTRACTS)
    service = GraphService(plain, store)
    cached = GraphService(config, store, MemoryCache(DataVersion(Checkpoints(store).data_version)))
    everybody = [each["nim"] for each in store.read("students", {"after": "", "limit": 10**9})]
    nims = random.Random(SEED).sample(everybody, sample)
    with ExitStack() as stack:
        listener = listen("127.0.0.1", 0, who="the benchmark")
        server = HttpServer(build_app(Parts(plain, service, store)), listener, name="http")
        stack.callback(server.close)
        server.start()
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=60))
        ways: dict[str, Ask] = {
            "the bare driver": bare,
            "GraphService.classmates": service.classmates,
            "from the cache": cached.classmates,
            "HTTP, no cache": lambda nim: http.get(f"/students/{nim}/classmates").content,
        }
        for nim in nims:  # also compiles the query, fills the pool and the cache
            assert service.classmates(nim) == cached.classmates(nim) == bare(nim)
        told(measured(ways, nims, ROUNDS), "the bare driver")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--students", type=int, default=50_000)
    parser.add_argument("--sample", type=int, default=200, help="students asked for in each round")
    parser.add_argument("--neo4j", metavar="URI", help="measure this one, and fill it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        store: GraphStore
        if arguments.neo4j:
            password = os.environ["NEO4J_PASSWORD"]
            store = Neo4jStore(arguments.neo4j, USER, Secret(password))
            bare = stack.enter_context(bare_neo4j(arguments.neo4j, password))
        else:
            store = LadybugStore(Path(name) / "graph.lbdb")
            bare = stack.enter_context(bare_ladybug(store))
        stack.callback(store.close)
        filled(store, arguments.students, Path(name))
        print(f"{store.name}, {arguments.students:,} students, {arguments.sample} of them asked for")
        compared(store, bare, arguments.sample)


if __name__ == "__main__":
    main()
