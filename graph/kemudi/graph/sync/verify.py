"""Compare the registry with the graph: students and their pairs range by range, then the classes.

A range is equal when its checksums are: SHA-256 over its nodes with their names, and its pairs. Otherwise what differs
is found one by one. A range ends where either side has given its number of keys, so that no range is large, whichever
side has lost much.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

import orjson

from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.pairs import Pair, pairs_of, students_with_classes

_STUDENTS_A_RANGE: Final = 1_000
_CLASSES_A_RANGE: Final = 5_000
_NAMED: Final = 100

Difference = dict[str, str]
"""Its `kind`, and the `nim` or the `kode` of a node or both of a pair."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one side has in a range.

    Attributes:
        nodes: How many students or classes.
        pairs: How many pairs of these students; 0 for classes.
        checksum: 64 hexadecimal digits, the same for the same nodes, names and pairs.
    """

    nodes: int
    pairs: int
    checksum: str

    @classmethod
    def of(cls, nodes: dict[str, str], pairs: Sequence[Pair] = ()) -> Self:
        """Of nodes, name by key, and of pairs."""
        content = orjson.dumps([sorted(nodes.items()), sorted(pairs)])
        return cls(len(nodes), len(pairs), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Compared:
    """One range of students or classes.

    Attributes:
        of: Which of the two.
        after: The key behind which it begins.
        until: The key that ends it; None: it was the last.
        registry: What the registry has.
        graph: What the graph has.
        differences: Pairs in order, then nodes in order; empty where both sides are equal.
    """

    of: Literal["students", "classes"]
    after: str
    until: str | None
    registry: Side
    graph: Side
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        """Without the differences, which are named for all ranges together."""
        sides = {"registry": asdict(self.registry), "graph": asdict(self.graph)}
        return {"of": self.of, "after": self.after, "until": self.until, **sides}


def verify(registry: Registry, store: GraphStore) -> dict[str, Any]:
    """Whether the graph equals the registry: counts, and at most a hundred unequal ranges and differences by name.

    A difference is a pair that is `missing` or `extra` in the graph, or a student or class that was `renamed` since it
    was copied, or is `idle` in the graph, without a pair. `orphan_rows` counts rows that cannot be compared, since the
    registry lacks their student or class. One range at a time is in memory. Raises UnavailableError, GraphRefusedError.
    """
    named: list[Difference] = []
    unequal: list[dict[str, Any]] = []
    differences = compared = unequal_ranges = 0
    for each in _ranges(registry, store):
        compared += 1
        if each.registry == each.graph:
            continue
        unequal_ranges += 1
        if len(unequal) < _NAMED:
            unequal.append(each.as_json())
        differences += len(each.differences)
        named += each.differences[: _NAMED - len(named)]
    in_registry, in_graph = registry.count_pairs(), store.read("counts", {})[0]["edges"]
    return {
        "equal": not unequal_ranges and in_registry == in_graph,  # the counts part when a pair is there twice
        "pairs_in_registry": in_registry,
        "edges_in_graph": in_graph,
        "orphan_rows": registry.count_orphans(),
        "ranges": {"compared": compared, "unequal": unequal_ranges, "named": unequal},
        "differences": differences,
        "named": named,
    }


def _ranges(registry: Registry, store: GraphStore) -> Iterator[Compared]:
    for compare in (compare_students, compare_classes):
        after: str | None = ""
        while after is not None:
            compared = compare(registry, store, after)
            yield compared
            after = compared.until


def compare_students(registry: Registry, store: GraphStore, after: str) -> Compared:
    """Compare at most some thousand students behind a nim, with their pairs. Raises as `verify`."""
    nodes, until = _nodes("students", "nim", registry.students_until, store, after, _STUDENTS_A_RANGE)
    names, wanted = registry.students_named(after, until), registry.edges(after, until)
    found = pairs_of(students_with_classes(store, after, until, _STUDENTS_A_RANGE))
    sides = Side.of(names, wanted), Side.of(nodes, found)
    if sides[0] == sides[1]:
        return Compared("students", after, until, *sides, ())
    missing = {*wanted} - {*found}
    pairs = (
        {"kind": "missing" if pair in missing else "extra", "nim": pair[0], "kode": pair[1]}
        for pair in sorted({*wanted} ^ {*found})
    )
    busy = {nim for nim, _ in found}
    return Compared("students", after, until, *sides, (*pairs, *_differing("nim", nodes, names, busy)))


def compare_classes(registry: Registry, store: GraphStore, after: str) -> Compared:
    """Compare at most some thousand classes behind a kode; their pairs are the students'. Raises as `verify`."""
    nodes, until = _nodes("classes", "kode", registry.classes_until, store, after, _CLASSES_A_RANGE)
    names = registry.classes_named(after, until)
    sides = Side.of(names), Side.of(nodes)
    if sides[0] == sides[1]:
        return Compared("classes", after, until, *sides, ())
    unknown = [kode for kode in nodes if kode not in names]
    sizes = store.read("class_sizes", {"kodes": unknown}) if unknown else []
    busy = {record["kode"] for record in sizes if record["size"]}
    return Compared("classes", after, until, *sides, tuple(_differing("kode", nodes, names, busy)))


def _nodes(
    query: str,
    key: str,
    until_in_registry: Callable[[str, int], str | None],
    store: GraphStore,
    after: str,
    count: int,
) -> tuple[dict[str, str], str | None]:
    """The graph's nodes of the next range, name by key, and the key that ends it on both sides."""
    page = store.read(query, {"after": after, "limit": count})
    ends = [until_in_registry(after, count), page[-1][key] if len(page) == count else None]
    until = min((end for end in ends if end is not None), default=None)
    return {node[key]: node["nama"] for node in page if until is None or node[key] <= until}, until


def _differing(
    key: str, nodes: dict[str, str], wanted: dict[str, str], busy: set[str]
) -> Iterator[Difference]:
    """Nodes that differ though their pairs do not; missing ones, and `busy` ones too many, have a pair that does."""
    for each, name in nodes.items():
        if each not in wanted and each not in busy:
            yield {"kind": "idle", key: each}
        elif wanted.get(each, name) != name:
            yield {"kind": "renamed", key: each}
