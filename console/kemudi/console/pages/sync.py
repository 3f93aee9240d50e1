"""Sync and drift: what git says against what Redis serves, who runs which revision, what was rejected (6.9)."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Board
from kemudi.console.catalogue import visible
from kemudi.console.operations import clear_cache, compare_now, reconcile
from kemudi.console.pages.frame import page, see_other
from kemudi.console.parts import Parts
from kemudi.repo.formats import Commit
from kemudi.schema.errors import KemudiError


def routes(parts: Parts) -> APIRouter:
    """The page, and its three buttons."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @router.get("/e/{env}/sync")
    @needs("viewer")
    def sync(request: Request, caller: Signed, env: str) -> HTMLResponse:
        return _page(request, parts, caller, env)

    @router.post("/e/{env}/drift")
    @needs("editor")
    def drift(request: Request, caller: Signed, env: str) -> HTMLResponse:
        parts.gate.require(request, "editor", env, None)
        found = compare_now(parts, request, env)
        return _page(request, parts, caller, env, looked=found)

    @router.post("/e/{env}/cache")
    @needs("admin")
    def cache(request: Request, caller: Signed, env: str) -> HTMLResponse:
        parts.gate.require(request, "admin", env, None)
        parts.environment(parts.board, caller, env)
        return _page(request, parts, caller, env, reread=clear_cache(parts, request, env))

    @router.post("/e/{env}/reconcile")
    @needs("editor")
    async def reload(request: Request, caller: Signed, env: str) -> Response:  # noqa: ARG001  # the gate's
        parts.gate.require(request, "editor", env, None)
        await reconcile(parts, request, env)
        return see_other(f"/e/{env}/sync?done=reload")

    return router


def _page(
    request: Request,
    parts: Parts,
    caller: Caller,
    env: str,
    *,
    looked: int | None = None,
    reread: tuple[int, int] | None = None,
) -> HTMLResponse:
    board = parts.board
    here = parts.environment(board, caller, env)
    status = here.status or {}
    return page(
        request,
        parts,
        "sync.html",
        env,
        "sync",
        board=board,
        differences=[row for row in visible(here, caller) if row.state not in {"live", "unknown"}],
        drift_elsewhere=[item for item in status.get("drift", ()) if not item.get("key")],
        rejected=_commit(parts, board, status.get("rejected")),
        looked=looked,
        reread=reread,
        may_clear=caller.may("admin", env),
        reloaded=request.query_params.get("done") == "reload",
    )


def _commit(parts: Parts, board: Board, revision: str | None) -> Commit | None:
    if revision is None or board.git_problem:
        return None
    try:
        return parts.desired.commit(parts.desired.resolve(revision))
    except KemudiError:
        return None
