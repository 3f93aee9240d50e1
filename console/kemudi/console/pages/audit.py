"""Who did what, when and why: filtered, in pages, and as a file (console.md 6.10)."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.auditing import FIELDS, MOST, WHAT, Account, Wanted, account, as_record
from kemudi.console.board import Board, as_text
from kemudi.console.pages.frame import page
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError
from kemudi.schema.sentences import sentence

PER_PAGE: Final = 50
FORMATS: Final = ("csv", "json")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # spreadsheets take the wide ones, too


@dataclass(frozen=True, slots=True)
class Asked:
    """The filter as it was typed, and what is wrong with it."""

    who: str
    key: str
    what: str
    where: str
    since: str
    until: str
    wrong: tuple[str, ...]

    def query(self, **more: str | int) -> str:
        """The address of the same filter."""
        names = ("who", "key", "what", "where", "since", "until")
        said = {name: getattr(self, name) for name in names} | more
        return "?" + urlencode({name: value for name, value in said.items() if value})


def routes(parts: Parts) -> APIRouter:
    """The page and its file."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    handlers = _Handlers(parts)
    router.add_api_route("/e/{env}/audit", handlers.show, methods=["GET"])
    router.add_api_route("/e/{env}/audit/export", handlers.export, methods=["GET"])
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @needs("viewer")
    def show(self, request: Request, caller: Signed, env: str) -> HTMLResponse:
        """The newest first."""
        board = self._parts.board
        asked, wanted = _asked(request, env)
        found = self._found(caller, board, env, wanted) if wanted is not None else Account(())
        pages = max(1, -(-len(found.lines) // PER_PAGE))
        number = min(_number(request.query_params.get("page", "")), pages)
        first = (number - 1) * PER_PAGE
        return page(
            request,
            self._parts,
            "audit.html",
            env,
            "audit",
            status=200 if wanted is not None else 422,
            board=board,
            asked=asked,
            whats=WHAT,
            lines=found.lines[first : first + PER_PAGE],
            total=len(found.lines),
            first=first + 1,
            number=number,
            pages=pages,
            silent=found.silent,
            cut=MOST if found.cut else 0,
            formats=FORMATS,
            several=sum(caller.sees(each) for each in board.environments) > 1,
            is_admin=caller.may("admin", env),
        )

    @needs("viewer")
    def export(self, request: Request, caller: Signed, env: str) -> Response:
        """The same lines as a file, all of them."""
        _, wanted = _asked(request, env)
        kind = request.query_params.get("format", "csv")
        if wanted is None or kind not in FORMATS:
            raise ProblemError(
                422, "validation", sentence("a date is written as 2030-01-31; a format is csv or json")
            )
        records = [as_record(line) for line in self._found(caller, self._parts.board, env, wanted).lines]
        self._parts.note(request, "export audit", "done", env=env, detail=f"{len(records)} lines, {kind}")
        if kind == "json":
            text, media = json.dumps(records, ensure_ascii=False, indent=1) + "\n", "application/json"
        else:
            text, media = as_csv(records), "text/csv"
        name = f"audit-{wanted.env or 'all'}.{kind}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(text, media_type=f"{media}; charset=utf-8", headers=headers)

    def _found(self, caller: Caller, board: Board, env: str, wanted: Wanted) -> Account:
        self._parts.environment(board, caller, env)
        return account(self._parts, board, caller, wanted)


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Every cell quoted, and none that a spreadsheet would take for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(FIELDS)
    writer.writerows([_cell(record[name]) for name in FIELDS] for record in records)
    return text.getvalue()


def _cell(value: Any) -> str:  # JSON
    listed = value if isinstance(value, list) else [] if value is None else [value]
    text = " ".join(as_text(each) for each in listed)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _asked(request: Request, env: str) -> tuple[Asked, Wanted | None]:
    """The filter of the address; None in place of what cannot be read."""
    said = request.query_params
    days: dict[str, date | None] = {}
    wrong: list[str] = []
    for name in ("since", "until"):
        try:
            days[name] = date.fromisoformat(said.get(name, "")) if said.get(name) else None
        except ValueError:
            wrong.append(name)
    what = said.get("what", "")
    asked = Asked(
        said.get("who", "")[:200],
        said.get("key", "")[:200],
        what if what in WHAT else "",
        "all" if said.get("where") == "all" else "",
        said.get("since", "")[:20],
        said.get("until", "")[:20],
        tuple(wrong),
    )
    if wrong:
        return asked, None
    where = "" if asked.where else env
    return asked, Wanted(asked.who, asked.key, asked.what, where, days["since"], days["until"])


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1
