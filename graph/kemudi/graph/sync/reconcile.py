"""What no page of rows shows: rows that vanished, and rows that changed behind the cursor."""

from dataclasses import dataclass
from typing import Final

from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import GraphStore

Pair = tuple[str, str]
"""Student and class."""

_STUDENTS: Final = 1_000
_END: Final = "\U0010ffff"


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


def unequal(registry: Registry, store: GraphStore, after: str) -> Unequal:
    """Compare some thousand students behind a nim. Raises UnavailableError, GraphRefusedError."""
    until = registry.students_until(after, _STUDENTS)
    wanted = frozenset(registry.edges(after, until))
    records = store.read(
        "classes_by_student", {"after": after, "until": until if until is not None else _END}
    )
    found = frozenset((record["nim"], kode) for record in records for kode in record["kodes"])
    return Unequal(wanted - found, found - wanted, until)
