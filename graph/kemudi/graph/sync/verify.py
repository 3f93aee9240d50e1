"""Compare the registry with the graph, pair for pair, in ranges of students."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import GraphStore

_STUDENTS_A_RANGE: Final = 1_000
_END: Final = "\U0010ffff"
_NAMED: Final = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """A pair that is `missing` in the graph, or `extra` there."""

    kind: Literal["missing", "extra"]
    nim: str
    kode: str

    @property
    def pair(self) -> tuple[str, str]:
        """Student and class."""
        return (self.nim, self.kode)


@dataclass(frozen=True, slots=True)
class Compared:
    """One range of students.

    Attributes:
        differences: In the order of pairs; empty where both are equal.
        until: The nim that ends the range; None: it was the last.
    """

    differences: tuple[Difference, ...]
    until: str | None


def compare_range(registry: Registry, store: GraphStore, after: str) -> Compared:
    """Compare some thousand students behind a nim. Raises UnavailableError, GraphRefusedError."""
    until = registry.students_until(after, _STUDENTS_A_RANGE)
    wanted = set(registry.edges(after, until))
    records = store.read("edges", {"after": after, "until": until if until is not None else _END})
    found = {(record["nim"], record["kode"]) for record in records}
    kinds: dict[tuple[str, str], Literal["missing", "extra"]] = {
        **dict.fromkeys(wanted - found, "missing"),
        **dict.fromkeys(found - wanted, "extra"),
    }
    return Compared(tuple(Difference(kinds[pair], *pair) for pair in sorted(kinds)), until)


def verify(registry: Registry, store: GraphStore) -> dict[str, Any]:
    """Whether the graph equals the registry: counts, and at most a hundred differences by name.

    Raises UnavailableError, GraphRefusedError.
    """
    differences: list[Difference] = []
    after: str | None = ""
    while after is not None:
        compared = compare_range(registry, store, after)
        differences += compared.differences
        after = compared.until
    pairs, edges = registry.count_pairs(), store.read("counts", {})[0]["edges"]
    return {
        "equal": not differences and pairs == edges,  # the counts part when a pair is there twice
        "pairs_in_registry": pairs,
        "edges_in_graph": edges,
        "differences": len(differences),
        "named": [{"kind": each.kind, "nim": each.nim, "kode": each.kode} for each in differences[:_NAMED]],
    }
