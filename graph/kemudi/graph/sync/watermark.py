"""What a registry was like when a run began: it differs when a row came, went, was flagged or timed anew."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from kemudi.graph.registry import Registry, Row

_NEVER: Final = "-"
_PARTS: Final = 4
_LOWEST: Final = -(2**31)
"""Of a 32-bit column. Smaller keys are not counted, which only makes a run look further."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """Totals of a registry at one moment, kept with the checkpoint of a run as text.

    Attributes:
        rows: All rows, deleted ones too.
        live: Those that are not deleted.
        highest: The largest key.
        newest: When a row was last changed; None without rows.
    """

    rows: int
    live: int
    highest: int
    newest: datetime | None

    @classmethod
    def of(cls, registry: Registry) -> Self:
        """Of this moment. Raises UnavailableError, RegistryRefusedError."""
        totals = registry.totals()
        return cls(totals.rows, totals.live, totals.highest, totals.newest)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From a checkpoint; None for one that says too little."""
        parts = text.split(" ")
        if len(parts) != _PARTS:
            return None
        rows, live, highest = map(int, parts[:3])
        return cls(rows, live, highest, None if parts[3] == _NEVER else datetime.fromisoformat(parts[3]))

    def __str__(self) -> str:
        newest = self.newest.isoformat() if self.newest is not None else _NEVER
        return f"{self.rows} {self.live} {self.highest} {newest}"

    def is_replaced_by(self, page: Iterable[tuple[datetime, Row]]) -> bool:
        """Whether the row with the largest key was written since: another one may have its key, as in SQLite."""
        return any(row.id == self.highest and (self.newest is None or at > self.newest) for at, row in page)

    def explains(self, registry: Registry, now: Self, changed: int) -> bool:
        """Whether `changed` rows can be all the difference between this moment and `now`.

        Two counts instead of a comparison of all pairs. It is false when a row of this moment has vanished, or more
        flags have changed than rows; a row that vanished while one with a smaller key came is left to a full run.
        """
        old = registry.count_between(_LOWEST, self.highest)
        return old == self.rows and abs(now.live - self.live) <= changed
