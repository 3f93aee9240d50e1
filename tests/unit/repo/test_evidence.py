"""What the daemon's log proves of how long a value ran, and what it does not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kemudi.repo.evidence import Evidence, Served, evidence_of, served
from kemudi.repo.repository import ConfigRepository

Opened = Callable[..., ConfigRepository]

MANIFEST = """\
format: 1
id: 0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21
environments:
  - {name: staging}
  - {name: prod}
"""
CONTRACT = """{"type": "object", "properties": {
  "SIZE": {"type": "integer", "default": 100, "description": "a"},
  "STOP": {"type": "boolean", "default": false, "description": "b"}
}}"""
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def entry(kind: str, hours: float, revision: str = "", **more: Any) -> dict[str, Any]:
    """One entry as the daemon's `/log` gives it."""
    return {"kind": kind, "revision": revision, "at": at(hours).isoformat(), "reason": "", **more}


@pytest.fixture
def commits(sandbox) -> dict[int, str]:
    """The commits that set SIZE to a value in staging."""
    sandbox.commit({"base/sync.yaml": None, "dev/sync.yaml": None})
    files = {"kemudi.yaml": MANIFEST, "contracts/sync.schema.json": CONTRACT}
    return {size: sandbox.commit({**files, "staging/sync.yaml": f"SIZE: {size}\n"}) for size in (7, 8)}


@pytest.fixture
def since(sandbox, opened: Opened) -> Callable[..., datetime | None]:
    """Since when staging serves a value, by some entries."""

    def ask(
        entries: list[dict[str, Any]], value: object, key: str = "SIZE", standing: tuple[str, ...] = ()
    ) -> datetime | None:
        found = served(entries, standing)
        return Evidence(opened(sandbox.root), lambda _: found).live_since("staging", key, value)

    return ask


def test_a_value_runs_from_the_first_application_that_has_it_without_a_break(commits, since) -> None:
    """Repairs and other revisions with the same value go on; what came between begins anew."""
    log = [
        entry("applied", 0, commits[7]),
        entry("applied", 1, commits[8]),
        entry("applied", 2, commits[7]),
        entry("repaired", 3, commits[7]),
        entry("rejected", 4, commits[8]),
    ]
    assert since(log, 7) == at(2)
    assert since(log[::-1], 7) == at(2)
    assert since(log[:2], 8) == at(1)
    assert since(log, 8) is None
    assert since(log, False, "STOP") == at(0)
    assert since([], 7) is None


def test_nothing_is_known_beyond_uncommitted_files_and_unknown_commits(commits, since) -> None:
    """A revision that cannot be read ends what is proven."""
    for unknown in ("worktree@0123456789ab", "f" * 40):
        log = [entry("applied", 0, commits[8]), entry("applied", 1, unknown), entry("applied", 2, commits[8])]
        assert since(log, 8) == at(2)
        assert since([*log, entry("applied", 3, unknown)], 8) is None


@pytest.mark.parametrize("end", ["override-ended", "override-expired", "override-merged"])
def test_a_value_does_not_run_while_an_override_stands_over_it(commits, since, end: str) -> None:
    """It begins anew at the end of the override; other settings go on."""
    log = [entry("applied", 0, commits[8]), entry("override-set", 5, commits[8], keys=["SIZE"])]
    assert since(log, 8) is None
    assert since(log, False, "STOP") == at(0)
    over = [*log, entry(end, 6, commits[8], keys=["SIZE", "OTHER"]), entry("applied", 6.1, commits[8])]
    assert since(over, 8) == at(6)
    assert since([*over, entry("applied", 9, commits[7]), entry("applied", 10, commits[8])], 8) == at(10)
    assert since(over, 8, standing=("SIZE",)) is None


def test_what_is_no_entry_is_left_out(commits, since) -> None:
    """The log is written by whoever may write to Redis."""
    odd = [{}, {"at": "yesterday"}, {"at": 7, "kind": "applied"}, {"at": "2026-11-23T12:00:00"}]
    assert since([*odd, entry("applied", 1, commits[8])], 8) == at(1)
    assert served([entry("applied", 1) | {"revision": None}], ()) == Served()


def test_the_repository_is_opened_when_it_is_first_asked(sandbox, commits, tmp_path) -> None:
    """A change that no policy asks about costs nothing."""
    found = served([entry("applied", 1, commits[8])], ())
    with evidence_of(tmp_path / "nowhere", lambda _: found):
        pass
    with evidence_of(sandbox.root, lambda _: found) as live_since:
        assert live_since("staging", "SIZE", 8) == at(1)
        assert live_since("staging", "SIZE", 7) is None
