"""What this daemon has seen served, by revision: needed to place what clients acknowledge."""

from dataclasses import dataclass
from typing import Final

from kemudi.schema.generation import Generation

_KEPT: Final = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a served revision stands: the commit below it, and its generation."""

    base: str
    generation: Generation


class PublishedHistory:
    """One environment. Written by the thread that reconciles, read by any."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}

    def add(self, revision: str, base: str, generation: Generation) -> None:
        """A revision is served; a revision served twice keeps its first place."""
        if revision not in self._places:
            self._places[revision] = Place(base, generation)
            if len(self._places) > _KEPT:
                del self._places[next(iter(self._places))]

    def place(self, revision: str) -> Place | None:
        """The place of a revision, None when this daemon has not seen it served."""
        return self._places.get(revision)
