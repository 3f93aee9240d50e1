"""Wire forms that survive other versions and other hands."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from kemudi.store.values import Acknowledgement, DriftItem, Lease, LogEntry, utc_text

ENTRY = LogEntry("applied", "a" * 40, "0.1.0", "t", "why", "Ada", "host", 3, ("sync",), ("b" * 40,), id="1-0")
SAID = Acknowledgement("graph", "i", "a" * 40, "0.1.0", "refused", "no", ("A",), ("B", "C"), "t", "b" * 40)


def test_round_trip() -> None:
    """Entries and acknowledgements come back whole; the store gives an entry its id."""
    assert LogEntry.decode(ENTRY.encode(), "1-0") == ENTRY
    assert Acknowledgement.decode(SAID.encode()) == SAID


def test_newer_writers() -> None:
    """Fields that this version does not know are passed over."""
    entry = orjson.dumps(orjson.loads(ENTRY.encode()) | {"later": 1})
    assert LogEntry.decode(entry, "1-0") == ENTRY
    said = orjson.dumps(orjson.loads(SAID.encode()) | {"later": [1]})
    assert Acknowledgement.decode(said) == SAID


def test_older_writers() -> None:
    """Fields that an older version did not write have their defaults."""
    bare = b'{"kind": "applied", "revision": "r", "generation": "0.1.0", "at": "t"}'
    assert LogEntry.decode(bare, "2-0") == LogEntry("applied", "r", "0.1.0", "t", id="2-0")


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"x", b'{"kind": 1}', b'"text"'])
def test_other_hands(data: bytes) -> None:
    """What is malformed is nothing, and breaks no list."""
    assert LogEntry.decode(data, "1-0") is None
    assert Acknowledgement.decode(data) is None


def test_wrong_types() -> None:
    """A field of another type makes the whole malformed, so that callers can rely on theirs."""
    entry, said = orjson.loads(ENTRY.encode()), orjson.loads(SAID.encode())
    for change in ({"kind": 1}, {"epoch": "3"}, {"changed": "sync"}, {"changed": [1]}, {"reason": None}):
        assert LogEntry.decode(orjson.dumps(entry | change), "1-0") is None
    for change in ({"service": None}, {"keys_read": {}}, {"restart_pending": [None]}, {"state": "odd"}):
        assert Acknowledgement.decode(orjson.dumps(said | change)) is None


def test_times() -> None:
    """Times are RFC 3339 in UTC, whatever zone they come from."""
    assert utc_text(datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)) == "2026-01-02T03:04:05.678Z"
    east = timezone(timedelta(hours=7))
    assert utc_text(datetime(2026, 1, 2, 3, 4, 5, 0, east)) == "2026-01-01T20:04:05.000Z"
    assert utc_text().endswith("Z")


def test_lease_shows_no_token() -> None:
    """The proof of leadership is not printed."""
    assert "hunter2" not in repr(Lease("daemon", "hunter2", 1))


def test_drift_wire_form() -> None:
    """Status shows category, key and kind."""
    assert DriftItem("sync", "A", "setting-altered").as_json() == {
        "category": "sync",
        "key": "A",
        "kind": "setting-altered",
    }
    assert replace(SAID, state="current").state == "current"
