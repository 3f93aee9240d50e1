"""What no page of rows shows: rows that vanished, and rows that changed behind the cursor."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.ahead import Ahead
from kemudi.graph.sync.pairs import Pair, pairs_of, students_with_classes

_STUDENTS: Final = 1_000
"""Of the registry in a range. The graph may have as many again that the registry has not; then the range ends there."""


@dataclass(frozen=True, slots=True)
class Unequal:
    """Pairs of a range of students that only one side has.

    Attributes:
        missing: In the graph.
        extra: The graph has them alone.
        until: The nim that ends the range; None: it was the last.
    """

    missing: frozenset[Pair]
    extra: frozenset[Pair]
    until: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The pairs of a range of students that the registry has, and the nim that ends it as in `Unequal`."""

    pairs: frozenset[Pair]
    until: str | None


def wanted_from(registry: Registry) -> Ahead[str, Wanted]:
    """Reads the registry's side of a range behind a nim; of the next one while the graph is asked for this one."""
    return Ahead(partial(_read_wanted, registry), "sync-reconcile")


def _read_wanted(registry: Registry, after: str) -> Wanted:
    until = registry.students_until(after, _STUDENTS)
    return Wanted(frozenset(registry.edges(after, until)), until)


def unequal(registry: Ahead[str, Wanted], store: GraphStore, after: str) -> Unequal:
    """Compare some thousand students behind a nim. Raises UnavailableError, GraphRefusedError."""
    wanted = registry.take(after)
    if wanted.until is not None:
        registry.expect(wanted.until)
    limit = 2 * _STUDENTS
    records = students_with_classes(store, after, wanted.until, limit)
    pairs, until = wanted.pairs, wanted.until
    if len(records) == limit:
        last = records[-1]["nim"]
        pairs, until = frozenset(pair for pair in pairs if pair[0] <= last), last
    found = frozenset(pairs_of(records))
    return Unequal(pairs - found, found - pairs, until)
