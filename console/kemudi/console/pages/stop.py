"""Kill switches: another value at once, above git, with a reason and an end (console.md 6.7)."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Board, Row
from kemudi.console.operations import end_override, override
from kemudi.console.pages.frame import fields, language_of, page, see_other
from kemudi.console.parts import Parts
from kemudi.console.problems import not_found
from kemudi.console.rendering import is_production
from kemudi.repo.policy import approval, policies_of
from kemudi.schema.errors import KemudiError

MINUTES: Final = ("15", "60", "240", "1440")


def routes(parts: Parts) -> APIRouter:
    """The form of one switch, and its two answers."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @router.get("/e/{env}/settings/{key}/stop")
    @needs("approver")
    def form(request: Request, caller: Signed, env: str, key: str) -> HTMLResponse:
        return _page(request, parts, _row(request, parts, caller, env, key))

    @router.post("/e/{env}/settings/{key}/stop")
    @needs("approver")
    async def stop(request: Request, caller: Signed, env: str, key: str) -> Response:
        row, sent = _row(request, parts, caller, env, key), fields(await request.form())
        return await run_in_threadpool(_stopped, request, parts, row, sent)

    @router.post("/e/{env}/settings/{key}/go-on")
    @needs("approver")
    async def go_on(request: Request, caller: Signed, env: str, key: str) -> Response:
        row, sent = _row(request, parts, caller, env, key), fields(await request.form())
        return await run_in_threadpool(_resumed, request, parts, row, sent)

    return router


def is_stoppable(board: Board, row: Row) -> bool:
    """Whether a policy lets this switch be thrown above git."""
    if board.state is None or row.spec.sensitive or row.spec.type != "boolean":
        return False
    policies = policies_of(board.state).policies
    return approval(policies, row.env, [row.category]).is_break_glass(row.key)


def _stopped(request: Request, parts: Parts, row: Row, sent: dict[str, str]) -> Response:
    wrong = _wrong(request, parts, row, sent)
    if wrong:
        return _page(request, parts, row, sent=sent, wrong=wrong)
    until = datetime.now(UTC) + timedelta(minutes=int(sent["minutes"]))
    try:
        override(parts, request, row, not row.value, sent["reason"], until)
    except KemudiError as error:
        return _page(request, parts, row, sent=sent, wrong=error.explained)
    return see_other(f"/e/{row.env}/switches")


def _resumed(request: Request, parts: Parts, row: Row, sent: dict[str, str]) -> Response:
    try:
        end_override(parts, request, row, sent.get("reason", ""))
    except KemudiError as error:
        return _page(request, parts, row, sent=sent, wrong=error.explained)
    return see_other(f"/e/{row.env}/switches")


def _row(request: Request, parts: Parts, caller: Caller, env: str, key: str) -> Row:
    board = parts.board
    row = parts.row(board, caller, env, key)
    parts.gate.require(request, "approver", env, row.category)
    if row.state != "override" and not is_stoppable(board, row):
        raise not_found()
    return row


def _page(
    request: Request, parts: Parts, row: Row, *, sent: dict[str, str] | None = None, wrong: str = ""
) -> HTMLResponse:
    board = parts.board
    status = (board.environments[row.env].status or {}).get("overrides", ())
    return page(
        request,
        parts,
        "stop.html",
        row.env,
        "switches",
        status=422 if wrong else 200,
        board=board,
        row=row,
        override=next((each for each in status if each.get("key") == row.key), None),
        readers=parts.readers(board, row),
        sent=sent or {},
        wrong=wrong,
    )


def _wrong(request: Request, parts: Parts, row: Row, sent: dict[str, str]) -> str:
    words = language_of(request, parts)
    if not sent.get("reason", "").strip():
        return words.gettext("Say why.")
    if sent.get("minutes") not in MINUTES:
        return words.gettext("Choose when it ends.")
    if is_production(row.env) and sent.get("confirm", "").strip() != row.env:
        return words.gettext("Type %(env)s to confirm.") % {"env": row.env}
    return ""
