"""Switches, and pausing what is published (console.md 6.7)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Row, is_unserved
from kemudi.console.catalogue import visible
from kemudi.console.operations import pause, resume
from kemudi.console.pages.frame import fields, language_of, page, see_other
from kemudi.console.pages.stop import is_stoppable
from kemudi.console.parts import Parts
from kemudi.console.rendering import is_production

MINUTES: Final = ("15", "60", "240")


def routes(parts: Parts) -> APIRouter:
    """The page, and the two forms for publishing."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @router.get("/e/{env}/switches")
    @needs("viewer")
    def switches(request: Request, caller: Signed, env: str) -> HTMLResponse:
        return _page(request, parts, caller, env)

    @router.post("/e/{env}/pause")
    @needs("approver")
    async def stop(request: Request, caller: Signed, env: str) -> Response:
        parts.gate.require(request, "approver", env, None)
        sent = fields(await request.form())
        wrong = _wrong(request, parts, env, sent)
        if wrong:
            return await run_in_threadpool(_page, request, parts, caller, env, wrong=wrong, sent=sent)
        until = datetime.now(UTC) + timedelta(minutes=int(sent["minutes"]))
        await run_in_threadpool(pause, parts, request, env, sent["reason"], until)
        return see_other(f"/e/{env}/switches#publishing")

    @router.post("/e/{env}/resume")
    @needs("approver")
    def go_on(request: Request, caller: Signed, env: str) -> Response:  # noqa: ARG001  # the gate's
        parts.gate.require(request, "approver", env, None)
        resume(parts, request, env)
        return see_other(f"/e/{env}/switches#publishing")

    return router


def _page(
    request: Request,
    parts: Parts,
    caller: Caller,
    env: str,
    *,
    wrong: str = "",
    sent: Mapping[str, str] | None = None,
) -> HTMLResponse:
    board = parts.board
    rows = visible(parts.environment(board, caller, env), caller)
    shown = [row for row in rows if row.spec.type == "boolean" and not row.spec.sensitive]

    def may_stop(row: Row) -> bool:
        allowed = row.state == "override" or (is_stoppable(board, row) and not is_unserved(board, env))
        return allowed and caller.may("approver", env, row.category)

    return page(
        request,
        parts,
        "switches.html",
        env,
        "switches",
        status=422 if wrong else 200,
        board=board,
        rows=shown,
        origins=parts.origins(board, env),
        may_pause=caller.may("approver", env),
        pause_wrong=wrong,
        pause_sent={"reason": "", "minutes": "60", **(sent or {})},
        stoppable=frozenset(row.key for row in shown if may_stop(row)),
    )


def _wrong(request: Request, parts: Parts, env: str, sent: dict[str, str]) -> str:
    words = language_of(request, parts)
    if not sent.get("reason", "").strip():
        return words.gettext("Say why.")
    if sent.get("minutes") not in MINUTES:
        return words.gettext("Choose when it ends.")
    if is_production(env) and sent.get("confirm", "").strip() != env:
        return words.gettext("Type %(env)s to confirm.") % {"env": env}
    return ""
