"""The dashboard: the chain, totals, the last ten changes, what needs attention (console.md 6.1)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Board
from kemudi.console.catalogue import Filter, select, visible
from kemudi.console.pages.changes import allowed_to
from kemudi.console.pages.frame import page
from kemudi.console.parts import Parts
from kemudi.console.waiting import touches
from kemudi.repo.history import Entry
from kemudi.schema.errors import KemudiError

LAST: Final = 10
LISTED: Final = 30
DAYS: Final = 30
_READ: Final = 400
_WIDTH: Final = 220
_HEIGHT: Final = 36


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of the list.

    Attributes:
        entries: What it did to settings that are shown here.
        is_cut: Whether it may have done more than was read.
    """

    entries: tuple[Entry, ...]
    is_cut: bool

    @property
    def first(self) -> Entry:
        """Its author, moment and reason stand in each entry."""
        return self.entries[0]

    @property
    def settings(self) -> int:
        """How many settings it changed; one may stand in several layers."""
        return len({entry.key for entry in self.entries})


@dataclass(frozen=True, slots=True)
class Spark:
    """The changes of the last days as two SVG paths: geometry in attributes, colours from the style sheet."""

    total: int
    most: int
    line: str
    area: str


def routes(parts: Parts) -> APIRouter:
    """One page."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @router.get("/e/{env}/")
    @needs("viewer")
    def dashboard(request: Request, caller: Signed, env: str) -> HTMLResponse:
        board = parts.board
        rows = visible(parts.environment(board, caller, env), caller)
        entries, cut = _entries(parts, board, caller, env)
        categories = Counter(row.category for row in rows)
        waiting = [each for each in parts.waiting.shown(caller, board) if touches(each, env)]
        return page(
            request,
            parts,
            "dashboard.html",
            env,
            "dashboard",
            board=board,
            total=len(rows),
            categories=sorted(categories.items()),
            widest=max(categories.values(), default=1),
            attention=select(rows, Filter(state="attention", sort="state")),
            changes=by_commit(entries, cut)[:LAST],
            listed=LISTED,
            open=len(waiting),
            waits=sum(allowed_to(caller, board, parts.waiting, each).waits for each in waiting),
            spark=spark(entries, datetime.now(UTC)),
        )

    return router


def _entries(parts: Parts, board: Board, caller: Caller, env: str) -> tuple[list[Entry], str]:
    """The newest changes that reach this environment and that the caller may see; none while git cannot be read.

    With them the commit that may have done more than was read; empty when all was.
    """
    state = board.state
    if state is None or state.manifest is None:
        return [], ""
    layers = state.manifest.environment(env).layers
    try:
        found = parts.provenance.latest(_READ)
    except KemudiError:
        return [], ""
    shown = [
        entry
        for entry in found
        if entry.layer in layers and caller.role(env, state.category_of.get(entry.key)) is not None
    ]
    return shown, found[-1].revision if len(found) == _READ else ""


def by_commit(entries: Sequence[Entry], cut: str = "") -> list[Commit]:
    """What belongs to one commit in one piece, in the order that it came."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.revision, []).append(entry)
    return [Commit(tuple(each), revision == cut) for revision, each in found.items()]


def spark(entries: Sequence[Entry], now: datetime) -> Spark:
    """How many commits changed something on each of the last days."""
    days = [0] * DAYS
    for _, at in {(entry.revision, entry.at) for entry in entries}:
        ago = (now - at).days
        if 0 <= ago < DAYS:
            days[DAYS - 1 - ago] += 1
    most = max(days)
    points = [
        (round(place * _WIDTH / (DAYS - 1), 1), round(_HEIGHT - 2 - count * (_HEIGHT - 4) / max(1, most), 1))
        for place, count in enumerate(days)
    ]
    line = "M" + " L".join(f"{x} {y}" for x, y in points)
    return Spark(sum(days), most, line, f"{line} L{_WIDTH} {_HEIGHT} L0 {_HEIGHT} Z")
