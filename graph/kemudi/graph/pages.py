"""Pages of a list: a cursor names the place behind the last item that was given, so pages survive a changing list."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from kemudi.graph.errors import InvalidRequestError
from kemudi.graph.service import Answer
from kemudi.graph.stores.base import Record

_LONGEST_CURSOR: Final = 2_000

Place = tuple[float, str]
"""Where an item stands in a ranked list: what it is ranked by, negative, and what breaks ties."""


class Page(NamedTuple):
    """Items, the cursor of the next page or None, and why there is nothing at all."""

    items: list[Record]
    next: str | None
    reason: str | None = None


def by(rank: str, key: str) -> Callable[[Record], Place]:
    """The place of an item in a list ordered by `rank`, highest first, then by `key`."""
    return lambda item: (-item[rank], item[key])


def ranked_page(
    ask: Callable[[int | None], Answer],
    place: Callable[[Record], Place],
    limit: int | None,
    cursor: str | None,
) -> Page:
    """A page of a ranked list: at most `limit` items behind the cursor.

    Args:
        ask: Gives the beginning of the list; for None as much as its setting allows.
        place: Of an item.
        limit: Items a page; None: all that the setting allows.
        cursor: From the page before; None for the first.

    Raises:
        InvalidRequestError: The cursor is of no page.
    """
    if cursor is None:
        # One more than asked for tells whether there is another page.
        found = ask(limit if limit is None else limit + 1)
        reason = found.reason
    else:
        after = _opened_place(cursor)
        found = Answer(each for each in ask(None) if place(each) > after)
        reason = None
    if limit is None or len(found) <= limit:
        return Page(found, None, reason)
    items = found[:limit]
    return Page(items, _text(orjson.dumps(place(items[-1]))))


def students_page(ask: Callable[[str, int], Answer], limit: int, cursor: str | None) -> Page:
    """A page of the list of students, which is asked for by the nim before and a number. Raises as `ranked_page`."""
    found = ask("" if cursor is None else _opened(cursor).decode(), limit + 1)
    if len(found) <= limit:
        return Page(found, None)
    return Page(found[:limit], _text(found[limit - 1]["nim"].encode()))


def _text(what: bytes) -> str:
    return base64.urlsafe_b64encode(what).decode().rstrip("=")


def _opened(cursor: str) -> bytes:
    if len(cursor) > _LONGEST_CURSOR:
        raise _no_page()
    try:
        opened = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        opened.decode()
    except (binascii.Error, ValueError):
        raise _no_page() from None
    return opened


def _opened_place(cursor: str) -> Place:
    try:
        place: Any = orjson.loads(_opened(cursor))
    except orjson.JSONDecodeError:
        raise _no_page() from None
    match place:
        case [int() | float() as rank, str() as key]:
            return rank, key
    raise _no_page()


def _no_page() -> InvalidRequestError:
    return InvalidRequestError("this cursor was not given by an earlier page")
