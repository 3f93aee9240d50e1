"""How far a sync is, kept in the graph itself: a checkpoint is written in the transaction of its batch.

Nodes `SyncCheckpoint`, by name: `run` (the last run: when it ended, the registry's watermark then), `range-0`, … (the
parts of a full run), `changes` (the changed rows taken over since the last run) and `data` (the data version).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from kemudi.graph.registry import Row
from kemudi.graph.stores.base import GraphStore, Step

_RUN: Final = "run"
_CHANGES: Final = "changes"
_DATA: Final = "data"


@dataclass(frozen=True, slots=True)
class Range:
    """A part of the rows with a checkpoint of its own: keys behind `after_id`, up to `until_id`."""

    name: str
    after_id: int
    until_id: int

    def step(self) -> Step:
        """Write it."""
        return _step(self.name, after_id=self.after_id, until_id=self.until_id)

    def reached(self, after_id: int) -> "Range":
        """The same, further on."""
        return replace(self, after_id=after_id)


@dataclass(frozen=True, slots=True)
class Position:
    """A row in the order of changes: when it changed, and its key."""

    changed_at: datetime
    id: int

    @classmethod
    def behind(cls, page: Sequence[tuple[datetime, Row]]) -> Self | None:
        """That of the last of these rows; None for no rows."""
        return cls(page[-1][0], page[-1][1].id) if page else None

    def step(self) -> Step:
        """Write it as how far the changed rows are."""
        return _step(_CHANGES, after_id=self.id, watermark=self.changed_at.isoformat())


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run.

    Attributes:
        ranges: How many ranges it was planned with.
        finished_at: RFC 3339; None while it is not finished.
        watermark: What the registry was like when it began.
    """

    ranges: int
    finished_at: str | None
    watermark: str


class Checkpoints:
    """Reads what the batches wrote. Every method raises what the store raises."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store

    def last_run(self) -> LastRun | None:
        """The last run, finished or not; None before the first."""
        found = self._read(_RUN)
        if found is None:
            return None
        return LastRun(found["after_id"], found["finished_at"] or None, found["watermark"] or "")

    def interrupted(self) -> list[Range]:
        """The ranges of a full run that did not finish, where they stand; none when it did."""
        run = self.last_run()
        if run is None or run.finished_at is not None:
            return []
        found = [(name, self._read(name)) for name in map(_range_name, range(run.ranges))]
        return [Range(name, each["after_id"], each["until_id"]) for name, each in found if each is not None]

    def range(self, part: Range) -> Range:
        """A planned range where it stands; as given when there is no such plan any more."""
        found = self._read(part.name)
        if found is None or found["until_id"] != part.until_id:
            return part
        return part.reached(found["after_id"])

    def changes_reached(self) -> Position | None:
        """How far an interrupted run over changed rows came; None when the last one finished."""
        found = self._read(_CHANGES)
        if found is None or not found["watermark"]:
            return None
        return Position(datetime.fromisoformat(found["watermark"]), found["after_id"])

    def data_version(self) -> int:
        """A number that rises with each batch."""
        found = self._read(_DATA)
        return int(found["version"] or 0) if found is not None else 0

    def _read(self, name: str) -> dict[str, Any] | None:
        found = self._store.read("checkpoint", {"name": name})
        return found[0] if found else None


def plan(bounds: Sequence[tuple[int, int]]) -> tuple[list[Range], list[Step]]:
    """A full run over these ranges, and the steps that write it: of one transaction, so a crash leaves all or none."""
    planned = [Range(_range_name(index), *each) for index, each in enumerate(bounds)]
    return planned, [*(part.step() for part in planned), _step(_RUN, after_id=len(planned))]


def finish(ranges: int, moment: str, watermark: str) -> list[Step]:
    """At `moment` the graph equals the registry as it was at `watermark`."""
    return [_step(_CHANGES), _step(_RUN, after_id=ranges, finished_at=moment, watermark=watermark)]


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _range_name(index: int) -> str:
    return f"range-{index}"


def _step(
    name: str, *, after_id: int = 0, until_id: int = 0, finished_at: str = "", watermark: str = ""
) -> Step:
    parameters = {
        "name": name,
        "after_id": after_id,
        "until_id": until_id,
        "finished_at": finished_at,
        "watermark": watermark,
    }
    return ("set_checkpoint", parameters)
