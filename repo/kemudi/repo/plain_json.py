"""JSON of somebody else's making, read as it is written."""

import json

from kemudi.schema.documents import JSON


def read_json(text: str | bytes) -> JSON:
    """The value; ValueError or RecursionError for what is no JSON, for NaN, and for a name that stands twice."""
    found: JSON = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
    return found


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON")
