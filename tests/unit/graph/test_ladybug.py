"""What only the embedded store can do wrong: one file, one writer, and an end while something runs."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kemudi.graph.errors import GraphUnavailableError, QueryTimeoutError
from kemudi.graph.queries import query
from kemudi.graph.stores.ladybug import LadybugStore

SLOW = (
    "MATCH (a:MahasiswaNode), (b:MahasiswaNode), (c:MahasiswaNode), (d:MahasiswaNode) "
    "WHERE a.nama + b.nama < c.nama + d.nama RETURN count(*) AS n"
)


def opened(path: Path) -> LadybugStore:
    store = LadybugStore(path, lambda name: SLOW if name == "slow" else query(name))
    store.prepare()
    rows = [{"nim": f"{number:04}", "nama": f"Nama {number}"} for number in range(400)]
    store.write([("merge_students", {"rows": rows})])
    return store


WRITER = """
import os, sys
from pathlib import Path
from kemudi.graph.stores.ladybug import LadybugStore

store = LadybugStore(Path(sys.argv[1]))
store.prepare()
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    rows = [{"nim": f"{number:02}{each}", "nama": "N"} for each in range(10)]
    done = {"name": "run", "after_id": number, "until_id": 0, "finished_at": "", "watermark": ""}
    store.write([("merge_students", {"rows": rows}), ("set_checkpoint", done)])
os._exit(0)  # as after a kill: nothing is closed
"""


@pytest.mark.parametrize("torn", [1, 9, 40, 100, 700, 3000])
def test_a_record_torn_by_a_kill_costs_only_its_own_transaction(tmp_path: Path, torn: int) -> None:
    """It opens, with whole batches and the checkpoint of the last one; what is written then stays."""
    path = tmp_path / "graph.lbdb"

    def write(first: int, end: int) -> None:
        subprocess.run([sys.executable, "-c", WRITER, str(path), str(first), str(end)], check=True)

    def held() -> tuple[int, int]:
        store = LadybugStore(path)
        students = store.read("students", {"after": "", "limit": 1000})
        after_id = store.read("checkpoint", {"name": "run"})[0]["after_id"]
        store.close()
        return len(students), after_id

    write(0, 20)
    log = path.with_name(path.name + ".wal")
    os.truncate(log, log.stat().st_size - torn)
    students, after_id = held()
    assert students == 10 * (after_id + 1)
    assert 10 < after_id < 19
    write(after_id + 1, 25)
    assert held() == (250, 24)


def test_closing_interrupts_what_runs(tmp_path: Path) -> None:
    """Readers and the writer get an error of their own soon, and the file can be opened again."""
    store = opened(tmp_path / "graph.lbdb")
    errors: list[Exception] = []
    begun = threading.Barrier(3)

    def run(action) -> None:
        begun.wait(10)
        try:
            action()
        except GraphUnavailableError as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(lambda: store.read("slow", {}, timeout=60),)),
        threading.Thread(target=run, args=(lambda: store.write([("slow", {})]),)),
    ]
    for thread in threads:
        thread.start()
    begun.wait(10)
    began = time.monotonic()
    store.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert time.monotonic() - began < 10
    assert len(errors) == 2
    again = LadybugStore(tmp_path / "graph.lbdb")
    assert again.read("counts", {}) == [{"edges": 0}]
    again.close()


def test_a_closed_store_refuses_and_blocks_nobody(tmp_path: Path) -> None:
    """A sync that was between two batches gets an error at its next one."""
    store = opened(tmp_path / "graph.lbdb")
    store.close()
    store.close()
    for action in (
        lambda: store.write([("bump_version", {})]),
        lambda: store.read("counts", {}),
        store.ping,
        store.prepare,
    ):
        with pytest.raises(GraphUnavailableError, match="closed"):
            action()


def test_waiting_for_a_connection_counts_toward_the_time_limit(tmp_path: Path) -> None:
    """With all readers busy a query ends in its own time."""
    store = opened(tmp_path / "graph.lbdb")
    failed: list[Exception] = []

    def slow() -> None:
        try:
            store.read("slow", {}, timeout=3)
        except QueryTimeoutError as error:
            failed.append(error)

    threads = [threading.Thread(target=slow) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(failed) == 8
    assert time.monotonic() - began < 20
    assert store.read("counts", {}, timeout=10) == [{"edges": 0}]
    store.close()


def test_a_second_process_is_told_why(tmp_path: Path) -> None:
    """The file belongs to one at a time."""
    import subprocess
    import sys

    store = opened(tmp_path / "graph.lbdb")
    text = (
        "import sys; from pathlib import Path; from kemudi.graph.stores.ladybug import LadybugStore; "
        "LadybugStore(Path(sys.argv[1]))"
    )
    argv = [sys.executable, "-c", text, str(tmp_path / "graph.lbdb")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "GraphUnavailableError" in done.stderr
    store.close()


def test_readers_do_not_see_half_a_batch(tmp_path: Path) -> None:
    """A read during a batch sees what was there before it."""
    store = opened(tmp_path / "graph.lbdb")
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(len(store.read("students", {"after": "", "limit": 10_000})))

    reader = threading.Thread(target=read)
    reader.start()
    for batch in range(5):
        rows = [{"nim": f"{batch}-{number}", "nama": "Nama"} for number in range(200)]
        store.write([("merge_students", {"rows": rows[:100]}), ("merge_students", {"rows": rows[100:]})])
    done.set()
    reader.join(20)
    assert set(seen) <= {400 + 200 * batch for batch in range(6)}
    store.close()
