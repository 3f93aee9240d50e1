"""A full sync and a run over 1,000 changes, against a bare loop over the same rows with the same three statements.

The floor reads pages with `sqlite3`, and writes each with the statements that merge students, classes and pairs, in
one transaction: no checkpoint, no look at deleted or retaken rows, no comparison at the end. The sync is measured
twice: its rows alone, which is what the floor does, and the whole run until the graph is known to equal the registry.
Each run has a process of its own, whose peak memory is printed, and begins with an empty store. On Neo4j a tenth of the
rows come first: the server compiles meanwhile, and the memory of both sizes can be compared.

Run: `python benchmarks/sync_rows.py [--rows N] [--batch N] [--neo4j URI]`; password in NEO4J_PASSWORD.
"""

import argparse
import multiprocessing
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import ladybug
import neo4j
from sqlalchemy import update

from kemudi.client.testing import InMemoryClient
from kemudi.graph.generator import generate
from kemudi.graph.queries import query
from kemudi.graph.registry import RIWAYAT_PENDIDIKAN, Registry
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
USER: Final = "neo4j"
CHANGES: Final = 1_000
LEVELS: Final = (1, 2, 4)


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


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the sync in a process of its own.

    Attributes:
        copied: Seconds until the last row was in.
        whole: Seconds until the run was over.
        changes: Seconds of the run over some changes that followed.
        peak: Bytes of memory that the process held at most, up to the end of both runs.
    """

    copied: float
    whole: float
    changes: float
    peak: int


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


def bare_neo4j(uri: str, file: Path, size: int) -> None:
    with server(uri) as driver, driver.session() as session:
        for steps in batches(file, size):
            with session.begin_transaction() as transaction:
                for text, parameters in steps:
                    transaction.run(text, parameters).consume()  # type: ignore[arg-type]  # a literal in a file
                transaction.commit()


def emptied(uri: str) -> None:
    with server(uri) as driver, driver.session() as session:
        for kind in (
            "()-[found]->()",
            "(found)",
        ):  # a class with all its students would not fit in a transaction
            session.run(
                f"MATCH {kind} CALL (found) {{ DELETE found }} IN TRANSACTIONS OF 10000 ROWS"  # type: ignore[arg-type]
            ).consume()


def server(uri: str) -> neo4j.Driver:
    return neo4j.GraphDatabase.driver(uri, auth=(USER, os.environ["NEO4J_PASSWORD"]))


def opened(where: str) -> GraphStore:
    store: GraphStore
    if "://" in where:
        store = Neo4jStore(where, USER, Secret(os.environ["NEO4J_PASSWORD"]))
    else:
        store = LadybugStore(Path(where))
    store.prepare()
    return store


def synced(where: str, file: Path, size: int, parallelism: int) -> Measured:
    """A full run and one over changes. Raises AssertionError when the graph is not what the registry is then."""
    settings = {"SYNC_BATCH_SIZE": size, "SYNC_PARALLELISM": parallelism, "SYNC_TIMEOUT": 86_400}
    registry, store = Registry(f"sqlite:///{file}"), opened(where)
    runner = SyncRunner(InMemoryClient(settings, contracts=CONTRACTS), store, registry, threading.Event())
    seen: list[float] = []

    def watch() -> None:
        runner.board.wait_for(lambda status: status.phase in {"reconcile", "prune"}, 3600)
        seen.append(time.perf_counter())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    whole = timed(lambda: run(runner, full=True), began := time.perf_counter())
    watcher.join()
    change(registry)
    changes = timed(lambda: run(runner, full=False), time.perf_counter())
    peak = peak_bytes()
    found = verify(registry, store)
    assert found["equal"], found
    store.close()
    registry.close()
    return Measured(seen[0] - began, whole, changes, peak)


def run(runner: SyncRunner, *, full: bool) -> None:
    status = runner.run(full=full)
    assert status.state == "done", status
    assert status.rows_done == status.rows_total > 0


def change(registry: Registry) -> None:
    """Flag some rows as deleted, all over the table, with their time."""
    rows = RIWAYAT_PENDIDIKAN
    among = rows.c.id % max(1, registry.totals().rows // CHANGES) == 0
    with registry.engine.begin() as connection:
        connection.execute(update(rows).where(among).values(deleted=True, updated_at=datetime.now(UTC)))


def peak_bytes() -> int:
    """Of this process since it began: VmHWM of proc_pid_status(5)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def timed(action: Callable[[], None], began: float) -> float:
    action()
    return time.perf_counter() - began


def told(name: str, rows: int, seconds: float, floor: float | None = None) -> None:
    against = f"   {floor / seconds:.2f} of the floor's rate" if floor else ""
    print(f"  {name:<34}{rows / seconds:>9,.0f} rows/s{seconds:>8.1f} s{against}", flush=True)


def compared(
    rows: int, floor: Callable[[], None], sync: Callable[[int], Measured], levels: tuple[int, ...]
) -> int:
    """Print it all; the peak memory of the first level in bytes."""
    least = timed(floor, time.perf_counter())
    told("bare loop", rows, least)
    peaks: list[int] = []
    for level in levels:
        measured = sync(level)
        told(f"sync, rows, parallelism {level}", rows, measured.copied, least)
        told(f"sync, whole run, parallelism {level}", rows, measured.whole, least)
        print(
            f"  a run over {CHANGES:,} changes: {measured.changes:.2f} s; peak {measured.peak / 2**20:.0f} MiB"
        )
        peaks.append(measured.peak)
    return peaks[0]


def apart(where: str, file: Path, size: int, level: int) -> Measured:
    """`synced` in a process of its own, on a copy of the registry: the runs change it."""
    copy = file.with_suffix(".copy.db")
    with sqlite3.connect(file) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(synced, (where, copy, size, level))


def on_ladybug(folder: Path, rows: int, size: int) -> None:
    file = made(folder, rows)
    print(f"ladybug {ladybug.__version__}, {rows:,} rows in batches of {size:,}")
    floor = partial(bare_ladybug, folder / "bare.lbdb", file, size)
    compared(rows, floor, partial(apart, str(folder / "sync.lbdb"), file, size), (1,))


def on_neo4j(uri: str, folder: Path, rows: int, size: int) -> None:
    opened(uri).close()

    def measured(rows: int, levels: tuple[int, ...]) -> int:
        file = made(folder, rows)

        def sync(level: int) -> Measured:
            emptied(uri)
            return apart(uri, file, size, level)

        emptied(uri)
        print(f"neo4j, {rows:,} rows in batches of {size:,}")
        return compared(rows, lambda: bare_neo4j(uri, file, size), sync, levels)

    few = measured(rows // 10, (1,))
    many = measured(rows, LEVELS)
    print(f"peak memory grows by {(many - few) / 2**20:.0f} MiB from {rows // 10:,} to {rows:,} rows")


def made(folder: Path, rows: int) -> Path:
    file = folder / f"registry-{rows}.db"
    generate(f"sqlite:///{file}", rows)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--neo4j", metavar="URI", help="measure this one, and empty it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.neo4j:
            on_neo4j(arguments.neo4j, Path(name), arguments.rows, arguments.batch)
        else:
            on_ladybug(Path(name), arguments.rows, arguments.batch)


if __name__ == "__main__":
    main()
