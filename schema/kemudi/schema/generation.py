"""The place of a snapshot in order: `era.depth.serial`, derived from git, so no store can rewind it."""

import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """Compared as a tuple. Its text form is `era.depth.serial`.

    Attributes:
        era: Accepted rewrites of history.
        depth: `git rev-list --count REVISION`.
        serial: Local saves, overrides and key rotations so far.
    """

    era: int
    depth: int
    serial: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. Raises ValueError for anything else."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("a generation is written era.depth.serial, three whole numbers")
        return cls(*(int(part) for part in found.groups()))

    def __str__(self) -> str:
        return f"{self.era}.{self.depth}.{self.serial}"
