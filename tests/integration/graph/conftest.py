"""Registries, both stores, and the sync in a process of its own that a test may kill."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
from kemudi.schema.generation import Generation
from kemudi.schema.secret import Secret
from kemudi.store.manifest import Manifest
from kemudi.store.redis import RedisStore
from kemudi.store.sealing import KeysetBundle, Sealer
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category
from kemudi.store.values import LogEntry, utc_text

CHILD = """
import json, os, sys, threading, traceback
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
runner = SyncRunner(config, store, registry, threading.Event(), lease_seconds=0.5)
print("go", flush=True)
status = runner.run(full=mode == "full")
registry.close()
store.close()
print(json.dumps(status.as_json()), flush=True)
"""


FORKER = """
import json, os, sys, threading, traceback
from pathlib import Path
from kemudi.client.testing import InMemoryClient
from kemudi.graph.registry import Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.graph.sync.runner import SyncRunner
from kemudi.schema.secret import Secret

def sync(kind, where, dsn, mode, settings):
    config = InMemoryClient(settings, contracts=CONTRACTS)
    if kind == "ladybug":
        store = LadybugStore(Path(where))
    else:
        store = Neo4jStore(where, "neo4j", Secret(os.environ["PASSWORD"]))
    store.prepare()
    registry = Registry(dsn)
    print("go", os.getpid(), flush=True)
    runner = SyncRunner(config, store, registry, threading.Event(), lease_seconds=0.2)
    status = runner.run(full=mode == "full")
    registry.close()
    store.close()
    return 0 if status.state == "done" else 1

for line in iter(sys.stdin.readline, ""):
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = sync(*json.loads(line))
        except BaseException:
            traceback.print_exc()
            print("died", os.getpid(), flush=True)
        finally:
            os._exit(code)
    sys.stdin.readline()  # until then even an ended child keeps its id, so that a kill can hit no other
    print("end", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forker:
    """Runs the sync in processes that are forked, since starting twenty interpreters is most of a test's time."""

    def __init__(self, place: "Place") -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
        self._place = place
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKER],
            env=env | {"PASSWORD": place.password},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, dsn: str, mode: str, **settings: Any) -> int:
        """Begin a run; the process that it is in."""
        line = json.dumps([self._place.kind, self._place.where, dsn, mode, settings])
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        word, pid = self._line()
        assert word == "go"
        return int(pid)

    def end(self) -> int:
        """The exit code of the run, once it has ended or was killed."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        word, code = self._line()
        assert word == "end"
        return int(code)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _line(self) -> list[str]:
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()


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
        with self.registry.engine.begin() as connection:
            for table, key, value in ((MAHASISWA, "nim", nim), (KELAS, "kode", kode)):
                if connection.execute(select(table).where(table.c[key] == value)).first() is None:
                    connection.execute(insert(table).values({key: value, "nama": f"Nama {value}"}))
            row: dict[str, Any] = {"nim": nim, "kode": kode, "semester": 1, "deleted": deleted}
            row["updated_at"] = datetime.now(UTC)
            return int(connection.execute(insert(RIWAYAT_PENDIDIKAN).values(row)).inserted_primary_key[0])

    def flag(self, key: int) -> None:
        """Mark a row as deleted, with its time."""
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

    @contextmanager
    def away(self) -> Iterator[None]:
        """Out of reach meanwhile. Its connections too: an open one would go on reading the moved file."""
        path = Path(self.dsn.removeprefix("sqlite:///"))
        hidden = path.rename(path.with_name(f"{path.name}.away"))
        path.mkdir()  # in the way, so that SQLite cannot make an empty one
        self.registry.engine.dispose()
        try:
            yield
        finally:
            path.rmdir()
            hidden.rename(path)


OWNERS = {key: name for name, model in CONTRACTS.items() for key in model.model_fields}


class Settings:
    """Publishes signed snapshots as the daemon does; each call changes some settings."""

    def __init__(self, url: str, folder: Path) -> None:
        self._store = RedisStore(url, "dev")
        self._key = SigningKey.generate()
        self._keysets = KeysetBundle.generate(tuple(CONTRACTS))
        self._values: dict[str, Any] = {}
        self._depth = 0
        self._epoch = 0
        verify, keyset = folder / "verify.pem", folder / "keyset.json"
        self._key.verify_keys().save(verify)
        self._keysets.save(keyset)
        self.env = {
            "KEMUDI_ENV": "dev",
            "KEMUDI_REDIS_URL": url,
            "KEMUDI_VERIFY_KEY": str(verify),
            "KEMUDI_KEYSET": str(keyset),
            "KEMUDI_STATE_DIR": str(folder / "state"),
        }

    def publish(self, **values: Any) -> str:
        """The next revision."""
        self._depth += 1
        self._values |= values
        revision = f"{self._depth:040x}"
        sealer = Sealer(self._keysets, repo_id="r", env="dev")
        blobs = {name: encode_category(self._category(name), sealer) for name in CONTRACTS}
        staged = {digest_of(blob): blob for parts in blobs.values() for blob in parts}
        manifest = Manifest(
            repo_id="r",
            env="dev",
            generation=Generation(0, self._depth, 0),
            epoch=self._epoch,
            revision=revision,
            author="An Author <author@example.org>",
            committed_at=utc_text(),
            applied_at=utc_text(),
            categories={name: tuple(digest_of(blob) for blob in parts) for name, parts in blobs.items()},
            settings=len(OWNERS),
        )
        lease = self._store.acquire_lease("test", 30, after_epoch=self._epoch)
        assert lease is not None
        self._epoch = lease.epoch
        entry = LogEntry("applied", revision, str(manifest.generation), utc_text())
        try:
            self._store.stage(staged)
            self._store.publish(lease, manifest.sign(self._key), tuple(staged), entry, self._store.current())
        finally:
            self._store.release(lease)
        return revision

    def environment(self, **more: str) -> dict[str, str]:
        """Of a process that reads these settings."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
        return others | self.env | more

    def acknowledgements(self) -> list[Any]:
        return self._store.acknowledgements()

    def close(self) -> None:
        self._store.close()

    def _category(self, name: str) -> Category:
        mine = {key: value for key, value in self._values.items() if OWNERS[key] == name}
        defaults = {
            key: field.default
            for key, field in CONTRACTS[name].model_fields.items()
            if key not in mine and not field.is_required() and key != "NEO4J_PASSWORD"
        }
        restart = {"NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD", "NEO4J_ENABLE_SYNC"}
        return Category(
            name=name,
            values={key: value for key, value in mine.items() if not isinstance(value, Secret)},
            defaults=defaults,
            secrets={key: ("string", value) for key, value in mine.items() if isinstance(value, Secret)},
            restart=frozenset(restart & {key for key, owner in OWNERS.items() if owner == name}),
        )


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Iterator[Settings]:
    made = Settings(redis_url, tmp_path)
    made.publish(CACHE_TTL=5, API_RATE_LIMIT=100_000)
    yield made
    made.close()


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


@pytest.fixture(params=["ladybug", pytest.param("neo4j", marks=pytest.mark.neo4j)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Both stores, empty."""
    if request.param == "ladybug":
        return Place("ladybug", str(tmp_path / "graph.lbdb"))
    server = request.getfixturevalue("neo4j_server")
    return Place("neo4j", server.uri, server.password)


@pytest.fixture
def forker(place: Place) -> Iterator[Forker]:
    """Runs that may be killed."""
    made = Forker(place)
    yield made
    made.close()


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
