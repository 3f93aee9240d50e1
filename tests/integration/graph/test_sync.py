"""The sync follows the registry and its settings, the same on both stores."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph.errors import GraphContendedError, GraphUnavailableError
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify


@pytest.fixture
def runner_of(store: GraphStore, config: InMemoryClient) -> Iterator[Callable[..., SyncRunner]]:
    """A runner over a registry; its process ends with the test."""
    ending = threading.Event()
    threads: list[threading.Thread] = []

    def make(source: Any, on: Any = None, background: bool = False) -> SyncRunner:
        runner = SyncRunner(config, on or store, source.registry, ending)
        if background:
            threads.append(threading.Thread(target=runner.run))
            threads[-1].start()
        return runner

    yield make
    ending.set()
    for thread in threads:
        thread.join(20)


def idle_nodes(store: GraphStore) -> int:
    """Students without a class."""
    students = store.read("students", {"after": "", "limit": 10**6})
    with_classes = {each["nim"] for each in store.read("edges", {"after": "", "until": "~"})}
    return len({each["nim"] for each in students} - with_classes)


def test_after_a_run_the_graph_equals_the_registry(runner_of: Any, source: Any, store: GraphStore) -> None:
    """Row for row, in counts and pairs; the status says how many and when."""
    rows = source(1_500)
    status = runner_of(rows).run()
    assert (status.state, status.rows_done, status.rows_total) == ("done", 1_500, 1_500)
    assert status.batches == 15
    assert status.last_success == status.finished_at
    assert status.difference == 0
    assert verify(rows.registry, store) == {
        "equal": True,
        "pairs_in_registry": rows.registry.count_pairs(),
        "edges_in_graph": rows.registry.count_pairs(),
        "orphan_rows": 0,
        "ranges": {"compared": 2, "unequal": 0, "named": []},
        "differences": 0,
        "named": [],
    }


def test_changed_flagged_and_vanished_rows_are_followed(
    runner_of: Any, source: Any, store: GraphStore
) -> None:
    """A full run and one over changes alone both end equal; what no row shows is found by reconciling."""
    rows = source(800)
    runner = runner_of(rows)
    runner.run()
    assert not runner.is_behind()
    rows.change(every=9)
    assert runner.is_behind()
    status = runner.run()
    assert status.difference > 0
    assert verify(rows.registry, store)["equal"]
    rows.change(every=7, offset=3)
    status = runner.run(full=False)
    assert status.state == "done"
    assert status.rows_done < 800
    assert verify(rows.registry, store)["equal"]
    assert idle_nodes(store) == 0


def test_one_new_row_costs_one_row(runner_of: Any, source: Any, store: GraphStore) -> None:
    """Only rows changed since the last run, or shortly before, are read, and nothing is reconciled."""
    rows = source(700)
    runner = runner_of(rows)
    runner.run()
    rows.enrol("99900001", "NEW1")
    status = runner.run(full=False)
    assert (status.state, status.difference) == ("done", 0)
    assert status.rows_done <= 2 + 300  # the example's last five minutes, and the new one
    rows.enrol("99900002", "NEW1")
    assert runner.run(full=False).rows_done == 2
    assert [each["kode"] for each in store.read("classes_of_student", {"nim": "99900002"})] == ["NEW1"]
    assert not runner.is_behind()


def test_a_retake_keeps_the_pair_while_one_row_lives(runner_of: Any, source: Any, store: GraphStore) -> None:
    """Two rows hold a pair: the first deletion changes nothing, the second removes it with its student and class."""
    rows = source(300)
    first, second = rows.enrol("999", "RETAKEN"), rows.enrol("999", "RETAKEN")
    runner = runner_of(rows)
    runner.run()
    rows.flag(first)
    for full in (False, True):
        runner.run(full=full)
        assert store.read("classes_of_student", {"nim": "999"}) == [
            {"kode": "RETAKEN", "nama": "Nama RETAKEN"}
        ]
    rows.flag(second)
    runner.run(full=False)
    assert store.read("student", {"nim": "999"}) == []
    assert store.read("class_sizes", {"kodes": ["RETAKEN"]}) == []
    assert verify(rows.registry, store)["equal"]


def test_a_vanished_row_is_noticed_and_leaves_the_graph(
    runner_of: Any, source: Any, store: GraphStore
) -> None:
    """Nothing but the number of rows tells of it."""
    rows = source(300)
    key = rows.enrol("999", "GONE")
    runner = runner_of(rows)
    runner.run()
    rows.remove(key)
    assert runner.is_behind()
    assert runner.run(full=False).difference == 1
    assert store.read("student", {"nim": "999"}) == []


def test_a_changed_name_arrives_with_a_full_run(runner_of: Any, source: Any, store: GraphStore) -> None:
    """Names have no time of change; every row brings its own."""
    from sqlalchemy import update

    from kemudi.graph.registry import MAHASISWA

    rows = source(200)
    runner = runner_of(rows)
    runner.run()
    nim = store.read("students", {"after": "", "limit": 1})[0]["nim"]
    with rows.registry.engine.begin() as connection:
        connection.execute(update(MAHASISWA).where(MAHASISWA.c.nim == nim).values(nama="Baru"))
    runner.run()
    assert store.read("student", {"nim": nim}) == [{"nim": nim, "nama": "Baru"}]


def test_an_empty_registry_is_no_error(runner_of: Any, source: Any, store: GraphStore) -> None:
    """The graph is empty then, too."""
    rows = source(50)
    runner = runner_of(rows)
    runner.run()
    for key in range(1, 51):
        rows.remove(key)
    for full in (True, False):
        assert runner.run(full=full).state == "done"
        assert store.read("counts", {}) == [{"edges": 0}]
    assert store.read("students", {"after": "", "limit": 5}) == []


def test_a_pause_stops_a_big_sync_within_one_batch_and_it_resumes_there(
    runner_of: Any, source: Any, store: GraphStore, config: InMemoryClient, until: Any
) -> None:
    """SYNC_PAUSED: at most one more batch is written; off: it goes on where it was, and ends equal."""
    rows = source(20_000)
    runner = runner_of(rows, background=True)
    until(lambda: runner.status.batches >= 3)
    before = runner.status.batches
    config.publish(SYNC_PAUSED=True)
    until(lambda: runner.status.state == "paused")
    paused = runner.status
    assert paused.batches <= before + 50  # it went on while this test noticed
    assert Checkpoints(store).interrupted()[0].after_id == paused.checkpoint
    seen = threading.Event()
    seen.wait(0.3)
    assert runner.status == paused
    config.publish(SYNC_PAUSED=False, SYNC_BATCH_SIZE=2_000)
    until(lambda: runner.status.state == "done", 90)
    assert runner.status.rows_done == 20_000
    assert runner.status.batch_size == 2_000
    assert runner.status.batches <= paused.batches + 10 + 8  # each of the ranges may end with a short one
    assert verify(rows.registry, store)["equal"]


class Counted:
    """A store that says when a batch is written, and fails when told to."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self.name, self.parallel_writers, self.exclusive = store.name, store.parallel_writers, store.exclusive
        self.before_write: Callable[[int], None] = lambda _number: None
        self.writes = 0

    def prepare(self) -> None:
        self._store.prepare()

    def read(self, query: str, parameters: Any, *, timeout: float | None = None) -> Any:
        return self._store.read(query, parameters, timeout=timeout)

    def write(self, steps: Any, *, fence: Any = None) -> None:
        if steps and steps[0][0] != "make_lease":  # the lease's own are not of the data
            self.writes += 1
            self.before_write(self.writes)
        self._store.write(steps, fence=fence)

    def end_writes(self, epoch: int) -> None:
        self._store.end_writes(epoch)

    def ping(self) -> None:
        self._store.ping()

    def close(self) -> None:
        """The one inside belongs to somebody else."""


def test_a_pause_during_a_batch_lets_that_batch_end_and_no_other_begin(
    runner_of: Any, source: Any, store: GraphStore, config: InMemoryClient, until: Any
) -> None:
    """Exactly: the batch under way is committed with its checkpoint, the next is not begun."""
    counted = Counted(store)

    def pause(number: int) -> None:
        if number == 4:  # the plan, two batches, and the one during which it is switched
            config.publish(SYNC_PAUSED=True)

    counted.before_write = pause
    runner = runner_of(source(2_000), on=counted, background=True)
    until(lambda: runner.status.state == "paused")
    assert runner.status.batches == 3
    assert runner.status.checkpoint == 300
    assert Checkpoints(store).interrupted()[0].after_id == 300
    config.publish(SYNC_PAUSED=False)
    until(lambda: runner.status.state == "done", 60)


def test_the_time_limit_stops_after_a_batch_and_the_next_run_goes_on(
    runner_of: Any, source: Any, store: GraphStore, config: InMemoryClient
) -> None:
    """State `stopped`, the checkpoint kept; the next run reads only the rest."""
    rows = source(1_000)
    counted = Counted(store)

    def last_long(number: int) -> None:
        # The limit is read between batches, so a slow machine does not end the run before this one.
        if number == 4:
            config.publish(SYNC_TIMEOUT=1)
            threading.Event().wait(1.1)

    counted.before_write = last_long
    status = runner_of(rows, on=counted).run()
    assert status.state == "stopped"
    assert "SYNC_TIMEOUT" in status.error
    assert status.checkpoint == 300
    config.publish(SYNC_TIMEOUT=60)
    again = runner_of(rows).run()
    assert (again.state, again.rows_done) == ("done", 700)
    assert verify(rows.registry, store)["equal"]


def test_what_may_succeed_later_is_tried_again_as_often_as_the_setting_says(
    runner_of: Any, source: Any, store: GraphStore, config: InMemoryClient
) -> None:
    """SYNC_RETRY_ATTEMPTS failures are survived, one more is not; then the checkpoint is kept."""
    rows = source(400)
    for attempts, failures, state in ((2, 2, "done"), (1, 2, "failed"), (0, 1, "failed")):
        config.publish(SYNC_RETRY_ATTEMPTS=attempts)
        counted = Counted(store)
        left = [failures]

        def fail(number: int, left: list[int] = left) -> None:
            if number >= 3 and left[0]:
                left[0] -= 1
                raise GraphContendedError("in the way")

        counted.before_write = fail
        status = runner_of(rows, on=counted).run()
        assert status.state == state
        assert (status.error is None) == (state == "done")
    assert runner_of(rows).run().state == "done"
    assert verify(rows.registry, store)["equal"]


def test_a_failure_that_no_retry_helps_is_told_at_once(
    runner_of: Any, source: Any, store: GraphStore
) -> None:
    """A refused batch ends the run; so does a programming error, named in the status."""
    from kemudi.graph.errors import GraphRefusedError

    counted = Counted(store)

    def refuse(_number: int) -> None:
        raise GraphRefusedError("no such thing")

    counted.before_write = refuse
    status = runner_of(source(100), on=counted).run()
    assert (status.state, status.error, counted.writes) == ("failed", "no such thing", 1)

    def break_down(_number: int) -> None:
        raise ZeroDivisionError

    counted.before_write = break_down
    runner = runner_of(source(100), on=counted)
    with pytest.raises(ZeroDivisionError):
        runner.run()
    assert (runner.status.state, runner.status.error) == ("failed", "unexpected ZeroDivisionError")


def test_ranges_side_by_side_take_over_every_row_without_standing_in_each_others_way(
    runner_of: Any, source: Any, store: GraphStore, config: InMemoryClient
) -> None:
    """SYNC_PARALLELISM: no batch is refused or tried again for a deadlock; one range at a time on Ladybug."""
    rows = source(6_000)
    rows.change(every=5)
    config.publish(SYNC_PARALLELISM=4, SYNC_RETRY_ATTEMPTS=0)
    counted = Counted(store)
    status = runner_of(rows, on=counted).run()
    assert (status.state, status.error) == ("done", None)
    assert verify(rows.registry, store)["equal"]
    assert idle_nodes(store) == 0


def test_a_range_that_fails_stops_the_others_and_all_go_on_later(
    runner_of: Any, source: Any, store: GraphStore, config: InMemoryClient
) -> None:
    """The status has the cause, and not that the others stopped for it."""
    rows = source(3_000)
    config.publish(SYNC_PARALLELISM=3, SYNC_RETRY_ATTEMPTS=0)
    counted = Counted(store)

    def fail_once(number: int) -> None:
        if number == 6:
            raise GraphUnavailableError("the cause")

    counted.before_write = fail_once
    status = runner_of(rows, on=counted).run()
    assert (status.state, status.error) == ("failed", "the cause")
    assert runner_of(rows).run().state == "done"
    assert verify(rows.registry, store)["equal"]


def test_switched_off_there_is_no_sync(runner_of: Any, source: Any, store: GraphStore) -> None:
    """NEO4J_ENABLE_SYNC false: nothing is read or written, and the status says why."""
    off = InMemoryClient({"NEO4J_ENABLE_SYNC": False}, contracts=CONTRACTS)
    runner = SyncRunner(off, store, source(100).registry, threading.Event())
    status = runner.run()
    assert status.state == "disabled"
    assert "NEO4J_ENABLE_SYNC" in status.error
    assert store.read("counts", {}) == [{"edges": 0}]


def test_only_one_run_at_a_time(runner_of: Any, source: Any, config: InMemoryClient, until: Any) -> None:
    """A second call gives the status of the first."""
    config.publish(SYNC_PAUSED=True)
    runner = runner_of(source(200), background=True)
    until(lambda: runner.status.state == "paused")
    assert runner.run().state == "paused"
    assert runner.status.run == 1
    config.publish(SYNC_PAUSED=False)
    until(lambda: runner.status.state == "done")


def test_differences_are_named(runner_of: Any, source: Any, store: GraphStore) -> None:
    """`verify` says which pairs the graph lacks and which it should not have, in order."""
    rows = source(300)
    runner_of(rows).run()
    first = store.read("edges", {"after": "", "until": "~"})[0]
    store.write(
        [
            ("delete_pairs", {"pairs": [first]}),
            ("merge_students", {"rows": [{"nim": "zzz", "nama": "Nobody"}]}),
            ("merge_classes", {"rows": [{"kode": "zzz", "nama": "Nothing"}]}),
            ("merge_pairs", {"pairs": [{"nim": "zzz", "kode": "zzz"}]}),
        ]
    )
    found = verify(rows.registry, store)
    assert not found["equal"]
    assert found["named"] == [
        {"kind": "missing", **first},
        {"kind": "extra", "nim": "zzz", "kode": "zzz"},
    ]


def test_a_run_over_changes_looks_further_when_rows_do_not_add_up(
    runner_of: Any, source: Any, store: GraphStore
) -> None:
    """A row that vanished while another came is found, and so are more flags than changed rows."""
    from sqlalchemy import text

    rows = source(400)
    gone = rows.enrol("999", "GONE")
    runner = runner_of(rows)
    runner.run()
    rows.remove(gone)
    rows.enrol("998", "CAME")
    assert runner.run(full=False).difference == 1
    assert store.read("student", {"nim": "999"}) == []
    with rows.registry.engine.begin() as connection:
        connection.execute(text("UPDATE riwayat_pendidikan SET deleted = true WHERE nim < '9'"))
    runner.run(full=False)
    assert verify(rows.registry, store)["equal"]
