"""The Cypher of both services, one named query a file; the same text runs on every store.

The first line of a file is a comment that says in one sentence what the query is for. Values are parameters only;
no query is put together from text.
"""

from functools import cache
from importlib.resources import files


@cache
def query(name: str) -> str:
    """The text of a query, without its comment. Raises FileNotFoundError for an unknown name."""
    lines = (files(__name__) / f"{name}.cypher").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("//")).strip().rstrip(";")


def statements(name: str) -> tuple[str, ...]:
    """The statements of a file that holds several, such as a store's DDL."""
    return tuple(text for part in query(name).split(";") if (text := part.strip()))
