"""Registries, both stores, and the sync in a process of its own that a test may kill."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from kemudi.client.testing import InMemoryClient
from kemudi.graph.generator import generate
from kemudi.graph.registry import KELAS, MAHASISWA, RIWAYAT_PENDIDIKAN, Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.schema.secret import Secret

CHILD = """
import json, os, sys, threading
from pathlib import Path
from kemudi.client.testing import InMemoryClient
from kemudi.graph.registry import Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.sync.runner import SyncRunner
from kemudi.schema.secret import Secret

kind, where, dsn, mode, settings = sys.argv[1:]
config = InMemoryClient(json.loads(settings), contracts=CONTRACTS)
if kind == "ladybug":
    from kemudi.graph.stores.ladybug import LadybugStore
    store = LadybugStore(Path(where))
else:
    from kemudi.graph.stores.neo4j import Neo4jStore
    store = Neo4jStore(where, "neo4j", Secret(os.environ["PASSWORD"]))
store.prepare()
registry = Registry(dsn)
runner = SyncRunner(config, store, registry, threading.Event())
print("go", flush=True)
status = runner.run(full=mode == "full")
registry.close()
store.close()
print(json.dumps(status.as_json()), flush=True)
"""


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true result. Raises AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
    return result


@dataclass
class Place:
    """Where a graph lives: a file, or a server."""

    kind: str
    where: str
    password: str = ""

    def open(self) -> GraphStore:
        """The store, prepared."""
        store: GraphStore
        if self.kind == "ladybug":
            store = LadybugStore(Path(self.where))
        else:
            store = Neo4jStore(self.where, "neo4j", Secret(self.password))
        store.prepare()
        return store

    def sync(
        self, dsn: str, *, mode: str = "full", failpoint: str = "", **settings: Any
    ) -> "subprocess.Popen[str]":
        """A run in a process of its own; it has begun when this returns."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
        env |= {"PASSWORD": self.password, "KEMUDI_FAILPOINT": failpoint}
        argv = [sys.executable, "-c", CHILD, self.kind, self.where, dsn, mode, json.dumps(settings)]
        child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        return child

    @staticmethod
    def ended(child: "subprocess.Popen[str]") -> tuple[int, dict[str, Any] | None]:
        """Exit code and the last status of a run; None when it was killed."""
        out, _ = child.communicate(timeout=60)
        return child.returncode, json.loads(out) if out.strip() else None


@dataclass
class Source:
    """A registry, and what happens in it."""

    dsn: str
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry(self.dsn)

    def change(self, every: int, offset: int = 0) -> None:
        """Of each `every` rows one vanishes, one is flagged as deleted and one is un-flagged; as people do by hand."""
        table = RIWAYAT_PENDIDIKAN
        with self.registry.engine.begin() as connection:
            newest = connection.execute(
                select(table.c.updated_at).order_by(table.c.updated_at.desc())
            ).first()
            assert newest is not None
            connection.execute(delete(table).where(table.c.id % every == offset))
            for remainder, flag in ((1, True), (2, False)):
                connection.execute(
                    update(table)
                    .where(table.c.id % every == (offset + remainder) % every)
                    .values(deleted=flag, updated_at=newest[0])
                )

    def enrol(self, nim: str, kode: str, *, deleted: bool = False) -> int:
        """A new row, with student and class when they are new; its key."""
        from datetime import UTC, datetime

        with self.registry.engine.begin() as connection:
            for table, key, value in ((MAHASISWA, "nim", nim), (KELAS, "kode", kode)):
                if connection.execute(select(table).where(table.c[key] == value)).first() is None:
                    connection.execute(insert(table).values({key: value, "nama": f"Nama {value}"}))
            row = {
                "nim": nim,
                "kode": kode,
                "semester": 1,
                "deleted": deleted,
                "updated_at": datetime.now(UTC),
            }
            return int(connection.execute(insert(RIWAYAT_PENDIDIKAN).values(row)).inserted_primary_key[0])

    def flag(self, key: int) -> None:
        """Mark a row as deleted, with its time."""
        from datetime import UTC, datetime

        with self.registry.engine.begin() as connection:
            connection.execute(
                update(RIWAYAT_PENDIDIKAN)
                .where(RIWAYAT_PENDIDIKAN.c.id == key)
                .values(deleted=True, updated_at=datetime.now(UTC))
            )

    def remove(self, key: int) -> None:
        """A row vanishes without a trace."""
        with self.registry.engine.begin() as connection:
            connection.execute(delete(RIWAYAT_PENDIDIKAN).where(RIWAYAT_PENDIDIKAN.c.id == key))


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Callable[[int], Source]]:
    """Makes a registry of so many rows."""
    made: list[Source] = []

    def make(rows: int) -> Source:
        dsn = f"sqlite:///{tmp_path / f'registry-{len(made)}.db'}"
        generate(dsn, rows)
        made.append(Source(dsn))
        return made[-1]

    yield make
    for each in made:
        each.registry.close()


@pytest.fixture(
    params=["ladybug", pytest.param("neo4j", marks=[pytest.mark.neo4j, pytest.mark.xdist_group("neo4j")])]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Both stores, empty."""
    if request.param == "ladybug":
        return Place("ladybug", str(tmp_path / "graph.lbdb"))
    server = request.getfixturevalue("neo4j_server")
    return Place("neo4j", server.uri, server.password)


@pytest.fixture
def store(place: Place) -> Iterator[GraphStore]:
    """An empty, open store."""
    opened = place.open()
    yield opened
    opened.close()


@pytest.fixture
def config() -> InMemoryClient:
    """Settings with their defaults, to be changed as a merged commit does."""
    return InMemoryClient({"SYNC_BATCH_SIZE": 100}, contracts=CONTRACTS)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for a condition, not for time."""
    return eventually
