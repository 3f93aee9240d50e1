"""The index is a cache: whatever becomes of its file, the answers are the same."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kemudi.repo import history_index
from kemudi.repo.history import Entry, History
from kemudi.repo.repository import ConfigRepository

Opened = Callable[..., ConfigRepository]


@pytest.fixture
def repository(sandbox, opened: Opened) -> ConfigRepository:
    """Four commits on one setting, of two files."""
    for number in (3, 4):
        sandbox.commit({"base/sync.yaml": f"A: {number}\n"}, f"Set A to {number}", 1_700_000_000 + number)
    sandbox.commit({"dev/sync.yaml": None}, "Drop the overlay", 1_700_000_010)
    return opened(sandbox.root)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "history.sqlite"


def asked(repository: ConfigRepository, cache: Path) -> tuple[Entry, ...]:
    """What a program that begins now answers."""
    with History(repository, cache) as history:
        return history.of_key("A")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def overwrite(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


def spoil_a_page(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    file.write_bytes(data)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def drop_a_table(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE rows")


def age(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE meta SET value = '0' WHERE name = 'version'")
        database.execute("DELETE FROM rows")


@pytest.mark.parametrize("harm", [cut, overwrite, spoil_a_page, empty, drop_a_table, age])
def test_a_harmed_index_is_made_anew(
    repository: ConfigRepository, cache: Path, harm: Callable[[Path], None]
) -> None:
    """Cut off, overwritten, emptied, without a table, or of another version: the answer is as before."""
    wanted = asked(repository, cache)
    assert [(each.layer, each.kind, each.old, each.new) for each in wanted] == [
        ("dev", "remove", 2, None),
        ("base", "change", 3, 4),
        ("base", "change", 1, 3),
        ("base", "add", None, 1),
        ("dev", "add", None, 2),
    ]
    harm(cache)
    assert asked(repository, cache) == wanted
    with closing(sqlite3.connect(cache)) as database:
        assert database.execute("SELECT count(*) FROM rows").fetchone()[0] >= len(wanted)


def test_an_index_that_another_process_is_building_is_not_waited_for_longer(
    repository: ConfigRepository, cache: Path, sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is answered from memory, and the other one's file stays as it is."""
    before = asked(repository, cache)
    sandbox.commit({"base/sync.yaml": "A: 5\n"}, "Set A to 5", 1_700_000_020)
    monkeypatch.setattr(history_index, "_BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(cache, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        entries = asked(repository, cache)
        other.execute("ROLLBACK")
        commits = other.execute("SELECT count(*) FROM commits").fetchone()[0]
    assert (entries[0].old, entries[0].new, entries[1:]) == (4, 5, before)
    assert commits == 4
    assert asked(repository, cache) == entries


def test_where_nothing_can_be_written_the_index_lives_in_memory(
    repository: ConfigRepository, cache: Path, tmp_path: Path
) -> None:
    """A place that cannot be is no error."""
    wanted = asked(repository, cache)
    (tmp_path / "file").write_text("in the way")
    assert asked(repository, tmp_path / "file" / "history.sqlite") == wanted


def test_a_history_that_was_rewritten_is_read_anew(
    repository: ConfigRepository, cache: Path, sandbox
) -> None:
    """The commit that the index ends with may be gone from git altogether."""
    asked(repository, cache)
    sandbox.git("reset", "--quiet", "--hard", "HEAD~2")
    sandbox.commit({"base/sync.yaml": "A: 7\n"}, "Set A to 7", 1_700_000_030)
    sandbox.git("reflog", "expire", "--expire=now", "--all")
    sandbox.git("gc", "--quiet", "--prune=now")
    fresh = asked(repository, cache.with_name("other.sqlite"))
    assert [each.new for each in fresh][:2] == [7, 3]
    assert asked(repository, cache) == fresh


def test_an_index_is_brought_up_to_date_after_a_copy_of_an_older_one(
    repository: ConfigRepository, cache: Path, sandbox
) -> None:
    """It knows by the commits what it lacks."""
    asked(repository, cache)
    old = shutil.copy(cache, cache.with_name("old.sqlite"))
    sandbox.commit({"base/sync.yaml": "A: 8\n"}, "Set A to 8", 1_700_000_040)
    assert asked(repository, Path(old)) == asked(repository, cache)
