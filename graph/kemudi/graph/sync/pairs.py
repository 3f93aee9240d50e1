"""The pairs of a range of students in the graph."""

from collections.abc import Iterable
from typing import Final

from kemudi.graph.stores.base import GraphStore, Record

Pair = tuple[str, str]
"""Student and class."""

END: Final = "\U0010ffff"
"""Behind every key: where a range ends that is the last."""


def students_with_classes(store: GraphStore, after: str, until: str | None, limit: int) -> list[Record]:
    """At most `limit` students behind a nim, each with its `kodes`. Raises UnavailableError, GraphRefusedError."""
    bounds = {"after": after, "until": until if until is not None else END, "limit": limit}
    return store.read("classes_by_student", bounds)


def pairs_of(records: Iterable[Record]) -> list[Pair]:
    """What `students_with_classes` has read, pair by pair."""
    return [(record["nim"], kode) for record in records for kode in record["kodes"]]
