"""A registry in PostgreSQL: the same graph as from SQLite, and safe stops where only a server fails so."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from kemudi.client.testing import InMemoryClient
from kemudi.graph.generator import generate
from kemudi.graph.mapping import tables
from kemudi.graph.registry import KELAS, MAHASISWA, Registry
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.status import SyncStatus
from kemudi.graph.sync.verify import verify

pytestmark = [pytest.mark.postgresql, pytest.mark.xdist_group("postgresql")]

ROWS = 600


@pytest.fixture
def dsn(postgresql_server: Any) -> str:
    """A registry of 600 rows."""
    address: str = postgresql_server.new_database()
    generate(address, ROWS)
    return address


@pytest.fixture
def registry(dsn: str) -> Iterator[Registry]:
    opened = Registry(dsn)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Any) -> Iterator[LadybugStore]:
    opened = LadybugStore(tmp_path / "graph.lbdb")
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def run(config: InMemoryClient, store: LadybugStore) -> Iterator[Callable[..., Any]]:
    """Syncs a registry: to its end, or in a thread, which gives the runner."""
    ending = threading.Event()
    threads: list[threading.Thread] = []

    def start(registry: Registry, *, background: bool = False, full: bool = True) -> Any:
        runner = SyncRunner(config, store, registry, ending)
        if not background:
            return runner.run(full=full)
        threads.append(threading.Thread(target=runner.run))
        threads[-1].start()
        return runner

    yield start
    ending.set()
    for thread in threads:
        thread.join(30)


def execute(registry: Registry, *statements: str) -> None:
    with registry.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def fuse(registry: Registry, failures: int, state: str) -> None:
    """The first reads of the rows fail on the server, with an SQLSTATE; a sequence is not rolled back."""
    execute(
        registry,
        "CREATE SEQUENCE fuse",
        f"""CREATE FUNCTION trip() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN
            IF nextval('fuse') <= {failures} THEN RAISE EXCEPTION 'tripped' USING ERRCODE = '{state}'; END IF;
            RETURN true; END $$""",
        "ALTER TABLE riwayat_pendidikan RENAME TO kept",
        "CREATE VIEW riwayat_pendidikan AS SELECT * FROM kept WHERE (SELECT trip())",
    )


def test_the_graph_is_the_same_as_from_sqlite(
    registry: Registry, run: Any, store: LadybugStore, source: Any
) -> None:
    """Pages, ranges, pairs and the graph itself; then changes, with a row that vanished among them."""
    same = source(ROWS).registry
    assert registry.page(0, ROWS) == same.page(0, ROWS)
    assert registry.ranges(3) == same.ranges(3)
    assert registry.edges() == same.edges()
    assert run(registry).state == "done"
    assert verify(registry, store)["equal"]
    assert verify(same, store)["equal"]
    for each in (registry, same):
        execute(
            each,
            "DELETE FROM riwayat_pendidikan WHERE id = 7",
            "UPDATE riwayat_pendidikan SET deleted = true, updated_at = '2031-01-01 00:00:00+00' WHERE id = 8",
        )
    assert run(registry, full=False).state == "done"
    assert verify(registry, store)["equal"]
    assert store.read("edges", {"after": "", "until": "~"}) == [
        {"nim": nim, "kode": kode} for nim, kode in same.edges()
    ]


def test_text_is_in_the_graphs_order_and_not_in_the_databases(
    registry: Registry, run: Any, store: LadybugStore
) -> None:
    """The database puts `a-1` behind `a1` and `B` behind `a`; ranges and differences are by code points."""
    keys = ["B1", "a-1", "a1", "a_1", "b1", "É1", "é1", "z1"]
    with registry.engine.begin() as connection:
        connection.execute(insert(MAHASISWA), [{"nim": key, "nama": key} for key in keys])
        connection.execute(insert(KELAS), [{"kode": key, "nama": key} for key in keys])
        connection.execute(
            text(
                "INSERT INTO riwayat_pendidikan SELECT 100000 + row_number() OVER (), m.nim, k.kode, 1, false,"
                " now() FROM mahasiswa m, kelas k WHERE length(m.nim) = 3 OR length(k.kode) = 3"
            )
        )
        # As in a database that somebody else made: the order of its text is its own.
        for table, column in (("mahasiswa", "nim"), ("riwayat_pendidikan", "nim"), ("kelas", "kode")):
            connection.execute(text(f'ALTER TABLE {table} ALTER {column} TYPE varchar(20) COLLATE "default"'))
        mixed = [found[0] for found in connection.execute(text("SELECT nim FROM mahasiswa ORDER BY nim"))]
    assert mixed != sorted(mixed)
    pairs = registry.edges()
    assert pairs == sorted(pairs)
    until = registry.students_until("B", 2)
    assert until is not None
    assert [each for each in pairs if "B" < each[0] <= until] == registry.edges("B", until)
    run(registry)
    assert verify(registry, store)["equal"]
    found = store.read("edges", {"after": "", "until": "\U0010ffff"})
    assert [(each["nim"], each["kode"]) for each in found] == pairs


@pytest.mark.parametrize(
    ("state", "words"), [("40001", "another transaction"), ("40P01", "another transaction")]
)
def test_a_statement_given_up_for_another_transaction_is_tried_again(
    registry: Registry, run: Any, config: InMemoryClient, store: LadybugStore, state: str, words: str
) -> None:
    """As many failures as SYNC_RETRY_ATTEMPTS are survived; one more ends the run, with the reason."""
    config.publish(SYNC_RETRY_ATTEMPTS=1, SYNC_BATCH_SIZE=100)
    fuse(registry, failures=3, state=state)
    failed: SyncStatus = run(registry)
    assert failed.state == "failed"
    assert words in (failed.error or "")
    assert "tripped" not in (failed.error or "")
    config.publish(SYNC_RETRY_ATTEMPTS=3)
    assert run(registry).state == "done"
    assert verify(registry, store)["equal"]


def test_a_connection_that_is_cut_is_made_anew(
    registry: Registry, run: Any, config: InMemoryClient, store: LadybugStore, until: Any
) -> None:
    """pg_terminate_backend in the middle of a run, again and again: the run ends equal."""
    config.publish(SYNC_BATCH_SIZE=20, SYNC_RETRY_ATTEMPTS=20)
    runner = run(registry, background=True)
    cutter = Registry(registry.engine.url.render_as_string(hide_password=False))
    cuts = 0
    for batches in (2, 6, 10):
        until(lambda limit=batches: runner.status.batches >= limit or not runner.status.active)
        with cutter.engine.connect() as connection:
            others = text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname ="
                " current_database() AND pid <> pg_backend_pid()"
            )
            cuts += connection.scalar(others) or 0
    cutter.close()
    assert cuts
    until(lambda: runner.status.state == "done", 60)
    assert verify(registry, store)["equal"]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("mahasiswa", "nama"),
        ("kelas", "kode"),
        ("riwayat_pendidikan", "updated_at"),
        ("riwayat_pendidikan", "nim"),
    ],
)
def test_a_missing_column_is_named_and_nothing_is_tried_again(
    registry: Registry, run: Any, store: LadybugStore, table: str, column: str
) -> None:
    """The run fails at once; what was in the graph stays, and the run after the repair goes through."""
    run(registry)
    before = store.read("counts", {})
    execute(registry, f"ALTER TABLE {table} RENAME COLUMN {column} TO gone")
    status: SyncStatus = run(registry)
    assert status.state == "failed"
    assert status.error == f"the registry has no column {column} in table {table}"
    assert store.read("counts", {}) == before
    execute(registry, f"ALTER TABLE {table} RENAME COLUMN gone TO {column}")
    assert run(registry).state == "done"


def test_a_column_that_goes_in_the_middle_of_a_run_stops_it_behind_its_checkpoint(
    registry: Registry, run: Any, config: InMemoryClient, store: LadybugStore, until: Any
) -> None:
    """The next run goes on from there once the column is back."""
    config.publish(SYNC_BATCH_SIZE=20)
    runner = run(registry, background=True)
    until(lambda: runner.status.batches >= 2)
    config.publish(SYNC_PAUSED=True)
    until(lambda: runner.status.state == "paused")
    done = runner.status.rows_done
    execute(registry, "ALTER TABLE kelas RENAME COLUMN nama TO gone")
    config.publish(SYNC_PAUSED=False)
    until(lambda: runner.status.state == "failed")
    assert runner.status.error == "the registry has no column nama in table kelas"
    assert runner.status.rows_done in {done, done + 20}  # a page may have been read ahead
    execute(registry, "ALTER TABLE kelas RENAME COLUMN gone TO nama")
    status: SyncStatus = run(registry)
    assert (status.state, status.rows_done) == ("done", ROWS - runner.status.rows_done)
    assert verify(registry, store)["equal"]


def test_a_user_who_may_not_read_is_told_so(registry: Registry, run: Any, postgresql_server: Any) -> None:
    """A refusal of the server: no second try, no password in the reason."""
    name = registry.engine.url.database
    execute(registry, "DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger LOGIN PASSWORD 'hunter2'")
    address = f"postgresql+psycopg://stranger:hunter2@/{name}?host={postgresql_server.folder}"
    theirs = Registry(address)
    status: SyncStatus = run(theirs)
    theirs.close()
    execute(registry, "DROP ROLE stranger")
    assert (status.state, status.batches) == ("failed", 0)
    assert "refuses" in (status.error or "")
    assert "hunter2" not in (status.error or "")


def test_a_server_that_is_away_is_waited_for(
    registry: Registry,
    run: Any,
    config: InMemoryClient,
    store: LadybugStore,
    postgresql_server: Any,
    until: Any,
) -> None:
    """It crashes in the middle of a run and comes back later: the status says so meanwhile, and the run ends equal."""
    config.publish(SYNC_BATCH_SIZE=20, SYNC_RETRY_ATTEMPTS=100)
    runner = run(registry, background=True)
    until(lambda: runner.status.batches >= 3)
    config.publish(SYNC_PAUSED=True)
    until(lambda: runner.status.state == "paused")
    postgresql_server.stop()
    config.publish(SYNC_PAUSED=False)
    until(lambda: "registry cannot be read" in (runner.status.error or ""))
    postgresql_server.start()
    until(lambda: runner.status.state == "done", 60)
    assert runner.status.rows_done == ROWS
    assert verify(registry, store)["equal"]


def test_a_row_deleted_while_it_is_scanned_leaves_the_graph(
    registry: Registry, run: Any, config: InMemoryClient, store: LadybugStore, until: Any
) -> None:
    """Rows before and behind the cursor vanish, and one is flagged; the same run's reconciling finds them."""
    config.publish(SYNC_BATCH_SIZE=50)
    runner = run(registry, background=True)
    until(lambda: runner.status.batches >= 3)
    config.publish(SYNC_PAUSED=True)
    until(lambda: runner.status.state == "paused")
    execute(
        registry,
        "DELETE FROM riwayat_pendidikan WHERE id IN (3, 150, 590)",
        "UPDATE riwayat_pendidikan SET deleted = true WHERE id IN (10, 580)",
    )
    config.publish(SYNC_PAUSED=False)
    until(lambda: runner.status.state == "done")
    assert verify(registry, store)["equal"]


def test_a_registry_with_names_of_its_own_is_read_by_its_mapping(
    registry: Registry, run: Any, store: LadybugStore
) -> None:
    """Tables in a schema, under other names, with other columns; a word of SQL is quoted."""
    execute(
        registry,
        "CREATE SCHEMA academic",
        'ALTER TABLE mahasiswa RENAME TO "user"',
        'ALTER TABLE "user" SET SCHEMA academic',
        'ALTER TABLE academic."user" RENAME nama TO "order"',
        "ALTER TABLE riwayat_pendidikan RENAME TO enrolment",
        "ALTER TABLE enrolment RENAME updated_at TO touched",
        "ALTER TABLE enrolment DROP COLUMN semester",
    )
    address = registry.engine.url.render_as_string(hide_password=False)
    names = {
        "mahasiswa": {"schema": "academic", "table": "user", "nama": "order"},
        "riwayat_pendidikan": {"table": "enrolment", "updated_at": "touched"},
    }
    mapped = Registry(address, names)
    assert run(mapped).state == "done"
    assert verify(mapped, store)["equal"]
    student = store.read("students", {"after": "", "limit": 1})[0]
    own = tables(names).mahasiswa
    with mapped.engine.connect() as connection:
        assert connection.scalar(select(own.c.nama).where(own.c.nim == student["nim"])) == student["nama"]
        assert connection.scalar(select(func.count()).select_from(own)) == ROWS // 8
    mapped.close()
