"""Compare the registry with the graph, pair for pair, in ranges of students."""

from collections.abc import Callable, Iterator
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
    pair: tuple[str, str]


def ranges_compared(
    registry: Registry, store: GraphStore, before_each: Callable[[], object] = lambda: None
) -> Iterator[list[Difference]]:
    """The differences of one range of students after the other, in order; an empty list where there is none.

    Raises UnavailableError.
    """
    after, more = "", True
    while more:
        before_each()
        until = registry.students_until(after, _STUDENTS_A_RANGE)
        wanted = set(registry.edges(after, until))
        records = store.read("edges", {"after": after, "until": until if until is not None else _END})
        found = {(record["nim"], record["kode"]) for record in records}
        yield [
            *(Difference("missing", pair) for pair in sorted(wanted - found)),
            *(Difference("extra", pair) for pair in sorted(found - wanted)),
        ]
        after, more = until or "", until is not None


def verify(registry: Registry, store: GraphStore) -> dict[str, Any]:
    """Whether the graph equals the registry: counts, and at most a hundred differences by name.

    Raises UnavailableError.
    """
    differences = [each for found in ranges_compared(registry, store) for each in found]
    return {
        "equal": not differences,
        "edges_in_graph": store.read("counts", {})[0]["edges"],
        "differences": len(differences),
        "named": [
            {"kind": each.kind, "nim": each.pair[0], "kode": each.pair[1]} for each in differences[:_NAMED]
        ],
    }
