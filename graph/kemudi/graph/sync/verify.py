"""Compare the registry with the graph: pair for pair in ranges of students, then the nodes with their names."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import GraphStore

_STUDENTS_A_RANGE: Final = 1_000
_NODES_A_PAGE: Final = 5_000
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

    A difference is a pair that is `missing` or `extra` in the graph, or a student or class that was `renamed` since it
    was copied, or is `idle` in the graph, without a pair. `orphan_rows` counts rows that cannot be compared, since the
    registry lacks their student or class. Raises UnavailableError, GraphRefusedError.
    """
    pairs = list(_pairs(registry, store))
    extra = [each for each in pairs if each.kind == "extra"]
    differences = [{"kind": each.kind, "nim": each.nim, "kode": each.kode} for each in pairs]
    differences += _nodes("students", "nim", registry.students_named, store, {each.nim for each in extra})
    differences += _nodes("classes", "kode", registry.classes_named, store, {each.kode for each in extra})
    in_registry, in_graph = registry.count_pairs(), store.read("counts", {})[0]["edges"]
    return {
        "equal": not differences and in_registry == in_graph,  # the counts part when a pair is there twice
        "pairs_in_registry": in_registry,
        "edges_in_graph": in_graph,
        "orphan_rows": registry.count_orphans(),
        "differences": len(differences),
        "named": differences[:_NAMED],
    }


def _pairs(registry: Registry, store: GraphStore) -> Iterator[Difference]:
    after: str | None = ""
    while after is not None:
        compared = compare_range(registry, store, after)
        yield from compared.differences
        after = compared.until


def _nodes(
    query: str,
    key: str,
    names: Callable[[str, str | None], dict[str, str]],
    store: GraphStore,
    extra: Collection[str],
) -> Iterator[dict[str, str]]:
    """Nodes that differ though their pairs do not; `extra` ones were named by a pair already, as were missing ones."""
    after: str | None = ""
    while after is not None:
        page = store.read(query, {"after": after, "limit": _NODES_A_PAGE})
        until = page[-1][key] if len(page) == _NODES_A_PAGE else None
        wanted = names(after, until)
        for node in page:
            if node[key] not in wanted and node[key] not in extra:
                yield {"kind": "idle", key: node[key]}
            elif wanted.get(node[key], node["nama"]) != node["nama"]:
                yield {"kind": "renamed", key: node[key]}
        after = until
