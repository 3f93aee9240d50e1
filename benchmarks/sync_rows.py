"""Rows a second of a full sync, against a bare loop over the same rows with the same three statements.

The floor reads pages with `sqlite3`, and writes each with the statements that merge students, classes and pairs, in
one transaction: no checkpoint, no look at deleted or retaken rows, no comparison at the end. The sync is measured
twice: its rows alone, which is what the floor does, and the whole run until the graph is known to equal the registry.
Each gets an empty store. Run: `python benchmarks/sync_rows.py [--rows N] [--neo4j URI]`; password in NEO4J_PASSWORD.
"""

import argparse
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ladybug
import neo4j

from kemudi.client.testing import InMemoryClient
from kemudi.graph.generator import generate
from kemudi.graph.queries import query
from kemudi.graph.registry import Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.schema.secret import Secret

PAGE = (
    "SELECT h.id, h.nim, m.nama, h.kode, k.nama, h.deleted FROM riwayat_pendidikan h "
    "JOIN mahasiswa m ON m.nim = h.nim JOIN kelas k ON k.kode = h.kode WHERE h.id > ? ORDER BY h.id LIMIT ?"
)
Steps = list[tuple[str, dict[str, Any]]]
USER = "neo4j"


def batches(file: Path, size: int) -> Iterator[Steps]:
    """The statements of each page, with their parameters."""
    connection, after = sqlite3.connect(file), 0
    while rows := connection.execute(PAGE, (after, size)).fetchall():
        after = rows[-1][0]
        live = [row for row in rows if not row[5]]
        students, classes = {row[1]: row[2] for row in live}, {row[3]: row[4] for row in live}
        yield [
            (
                query("merge_students"),
                {"rows": [{"nim": nim, "nama": students[nim]} for nim in sorted(students)]},
            ),
            (
                query("merge_classes"),
                {"rows": [{"kode": kode, "nama": classes[kode]} for kode in sorted(classes)]},
            ),
            (
                query("merge_pairs"),
                {
                    "pairs": [
                        {"nim": nim, "kode": kode} for nim, kode in sorted({(row[1], row[3]) for row in live})
                    ]
                },
            ),
        ]
    connection.close()


def bare_ladybug(path: Path, file: Path, size: int) -> None:
    LadybugStore.prepare(store := LadybugStore(path))
    store.close()
    database = ladybug.Database(str(path), buffer_pool_size=256 * 2**20, max_num_threads=2)
    connection = ladybug.Connection(database)
    for steps in batches(file, size):
        connection.execute("BEGIN TRANSACTION")
        for text, parameters in steps:
            connection.execute(text, parameters)
        connection.execute("COMMIT")
    connection.close()
    database.close()


def bare_neo4j(uri: str, password: str, file: Path, size: int) -> None:
    with neo4j.GraphDatabase.driver(uri, auth=(USER, password)) as driver, driver.session() as session:
        for steps in batches(file, size):
            with session.begin_transaction() as transaction:
                for text, parameters in steps:
                    transaction.run(text, parameters).consume()  # type: ignore[arg-type]  # a literal in a file
                transaction.commit()


def synced(store: GraphStore, dsn: str, size: int, parallelism: int) -> tuple[float, float]:
    """Seconds until the last row was in, and until the run was over."""
    settings = {"SYNC_BATCH_SIZE": size, "SYNC_PARALLELISM": parallelism}
    registry = Registry(dsn)
    runner = SyncRunner(InMemoryClient(settings, contracts=CONTRACTS), store, registry, threading.Event())
    seen: list[float] = []

    def watch() -> None:
        runner.board.wait_for(lambda status: status.phase in {"reconcile", "prune"}, 3600)
        seen.append(time.perf_counter())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    status = runner.run()
    ended = time.perf_counter()
    watcher.join()
    assert status.state == "done", status
    found = verify(registry, store)
    assert found["equal"], found
    registry.close()
    return seen[0] - began, ended - began


def told(name: str, rows: int, seconds: float, floor: float | None = None) -> None:
    against = f"   {seconds / floor:.2f} times the floor's time" if floor else ""
    print(f"  {name:<34}{rows / seconds:>9,.0f} rows/s{seconds:>8.1f} s{against}", flush=True)


def compared(
    rows: int, floor: Callable[[], None], sync: Callable[[int], tuple[float, float]], levels: list[int]
) -> None:
    began = time.perf_counter()
    floor()
    least = time.perf_counter() - began
    told("bare loop", rows, least)
    for level in levels:
        copied, whole = sync(level)
        told(f"sync, rows, parallelism {level}", rows, copied, least)
        told(f"sync, whole run, parallelism {level}", rows, whole, least)


def on_ladybug(folder: Path, file: Path, rows: int, size: int) -> None:
    def sync(_level: int) -> tuple[float, float]:
        store = LadybugStore(folder / "sync.lbdb")
        store.prepare()
        try:
            return synced(store, f"sqlite:///{file}", size, 1)
        finally:
            store.close()

    print(f"ladybug {ladybug.__version__}, {rows:,} rows in batches of {size:,}")
    compared(rows, lambda: bare_ladybug(folder / "bare.lbdb", file, size), sync, [1])


def on_neo4j(uri: str, password: str, file: Path, rows: int, size: int) -> None:
    def emptied() -> None:
        with neo4j.GraphDatabase.driver(uri, auth=(USER, password)) as driver, driver.session() as session:
            session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS").consume()

    def sync(level: int) -> tuple[float, float]:
        emptied()
        store = Neo4jStore(uri, USER, Secret(password))
        try:
            return synced(store, f"sqlite:///{file}", size, level)
        finally:
            store.close()

    store = Neo4jStore(uri, USER, Secret(password))
    store.prepare()
    store.close()
    bare_neo4j(uri, password, file, 5 * size)  # a server that has just started compiles first
    emptied()
    print(f"neo4j, {rows:,} rows in batches of {size:,}")
    compared(rows, lambda: bare_neo4j(uri, password, file, size), sync, [1, 4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--neo4j", metavar="URI", help="measure this one, and empty it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "registry.db"
        generate(f"sqlite:///{file}", arguments.rows)
        if arguments.neo4j:
            on_neo4j(arguments.neo4j, os.environ["NEO4J_PASSWORD"], file, arguments.rows, arguments.batch)
        else:
            on_ladybug(Path(name), file, arguments.rows, arguments.batch)


if __name__ == "__main__":
    main()
