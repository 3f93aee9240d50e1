"""The list of settings of one environment (console.md 6.2)."""

from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.board import STATES
from kemudi.console.catalogue import SORTS, Filter, select, type_of, visible
from kemudi.console.pages.frame import page
from kemudi.console.parts import Parts

PAGE_SIZE: Final = 50


def routes(parts: Parts) -> APIRouter:
    """The list, and one row of it for the live update."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @router.get("/e/{env}/settings")
    @needs("viewer")
    def settings(request: Request, caller: Signed, env: str) -> HTMLResponse:
        board = parts.board
        here = parts.environment(board, caller, env)
        rows = visible(here, caller)
        wanted = filter_of(request)
        found = select(rows, wanted)
        pages = max(1, -(-len(found) // PAGE_SIZE))
        number = min(max(1, _number(request.query_params.get("page", "1"))), pages)
        shown = found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        return page(
            request,
            parts,
            "settings.html",
            env,
            "settings",
            board=board,
            rows=shown,
            total=len(rows),
            found=len(found),
            wanted=wanted,
            number=number,
            pages=pages,
            first=(number - 1) * PAGE_SIZE + 1 if shown else 0,
            origins=parts.origins(board, env),
            categories=sorted({row.category for row in rows}),
            types=sorted({type_of(row) for row in rows}),
            owners=sorted({row.spec.owner for row in rows if row.spec.owner}),
            states=STATES,
            sorts=SORTS,
            link=lambda **changed: _link(request, **changed),
        )

    @router.get("/e/{env}/settings/{key}/row")
    @needs("viewer")
    def row(request: Request, caller: Signed, env: str, key: str) -> HTMLResponse:
        board = parts.board
        shown = [parts.row(board, caller, env, key)]
        return page(
            request,
            parts,
            "row_fragment.html",
            env,
            "settings",
            board=board,
            rows=shown,
            origins=parts.origins(board, env),
        )

    return router


def filter_of(request: Request) -> Filter:
    """The filter that the address holds; it can be shared."""
    asked = request.query_params
    sort = asked.get("sort", "category")
    return Filter(
        q=asked.get("q", "")[:200],
        category=asked.get("category", ""),
        type=asked.get("type", ""),
        state=asked.get("state", ""),
        owner=asked.get("owner", ""),
        sort=sort if sort in SORTS else "category",
    )


def _link(request: Request, **changed: Any) -> str:
    """This address with some parameters changed; empty ones are left out."""
    asked: dict[str, Any] = {**request.query_params, **changed}
    return f"{request.url.path}?{urlencode({name: value for name, value in asked.items() if value})}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
