"""The list of settings: filtered, sorted and cut into pages, the same for pages and API."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from kemudi.console.access.people import Caller
from kemudi.console.board import EnvironmentBoard, Row
from kemudi.console.problems import ProblemError
from kemudi.schema.sentences import sentence

Sort = Literal["category", "key", "state"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
_ATTENTION: Final = ("drift", "rejected", "override", "unsaved", "waiting", "paused", "unknown", "live")


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show. Empty text means: all.

    Attributes:
        q: Words; every one must be in key, description or shown value.
        category: A category.
        type: A JSON type, or `secret`.
        state: A state of `board.STATES`, `restart`, or `attention`: whatever is not simply live.
        owner: A team.
        sort: `category`, `key` or `state`.
    """

    q: str = ""
    category: str = ""
    type: str = ""
    state: str = ""
    owner: str = ""
    sort: str = "category"

    @property
    def is_set(self) -> bool:
        """Whether anything is left out."""
        return any((self.q.strip(), self.category, self.type, self.state, self.owner))


def visible(board: EnvironmentBoard, caller: Caller) -> list[Row]:
    """Every row that the caller may see."""
    seen: dict[str, bool] = {}
    rows: list[Row] = []
    for row in board.rows.values():
        if row.category not in seen:
            seen[row.category] = caller.role(board.env, row.category) is not None
        if seen[row.category]:
            rows.append(row)
    return rows


def select(rows: Iterable[Row], wanted: Filter) -> list[Row]:
    """The rows that fit, in order."""
    words = wanted.q.casefold().split()
    found = [row for row in rows if _fits(row, wanted) and all(word in row.words for word in words)]
    if wanted.sort == "key":
        found.sort(key=lambda row: row.key)
    elif wanted.sort == "state":
        found.sort(key=lambda row: (_ATTENTION.index(row.state), row.key))
    return found


def after(rows: Sequence[Row], cursor: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
    """The rows behind a cursor and the cursor of what follows them. Raises ProblemError for a foreign cursor."""
    start = 0
    if cursor is not None:
        key = _opened(cursor)
        start = next((place + 1 for place, row in enumerate(rows) if row.key == key), -1)
        if start < 0:
            raise ProblemError(
                422, "validation", sentence("the list has changed since this cursor was given; start again")
            )
    shown = rows[start : start + limit]
    more = start + limit < len(rows)
    return shown, _cursor(shown[-1].key) if more else None


def type_of(row: Row) -> str:
    """The type that is shown: `secret`, `choice`, or the JSON type of the contract."""
    if row.spec.sensitive:
        return "secret"
    return "choice" if "enum" in row.spec.schema else row.spec.type


def _fits(row: Row, wanted: Filter) -> bool:
    if wanted.category and row.category != wanted.category:
        return False
    if wanted.owner and row.spec.owner != wanted.owner:
        return False
    if wanted.type and wanted.type not in {type_of(row), "" if row.spec.sensitive else row.spec.type}:
        return False
    return not wanted.state or _in_state(row, wanted.state)


def _in_state(row: Row, state: str) -> bool:
    if state == "restart":
        return bool(row.restart)
    if state == "attention":
        return row.state not in {"live", "unknown"} or bool(row.restart)
    return row.state == state


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ProblemError(
            422, "validation", sentence("this cursor was not given by an earlier page")
        ) from None
