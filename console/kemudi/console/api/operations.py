"""What stands beside settings: state of the chain, publishing, comparison, export, audit, and the API's description."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import yaml
from fastapi import APIRouter, Query, Request, Response

from kemudi.console.access.gate import GatedRoute, Signed, signed_in
from kemudi.console.access.people import Caller
from kemudi.console.api.shapes import EnvironmentIn, PauseIn
from kemudi.console.board import Row, as_text
from kemudi.console.catalogue import visible
from kemudi.console.chain import chain_of
from kemudi.console.operations import clear_cache, pause, reconcile, resume
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError

MOST: Final = 1000


def routes(parts: Parts) -> APIRouter:
    """The rest of the API."""
    router = APIRouter(route_class=GatedRoute, prefix="/api/v1", tags=["operations"])
    _reading_routes(router, parts)
    _publishing_routes(router, parts)
    return router


def _reading_routes(router: APIRouter, parts: Parts) -> None:
    @router.get("/status")
    @signed_in
    def status(caller: Signed) -> dict[str, Any]:
        """The chain git, daemon, Redis, services of every environment that the caller may see."""
        board = parts.board
        environments = [
            {
                "env": env,
                "state": (chain := chain_of(board, here)).word,
                "applied": chain.applied,
                "applied_at": chain.applied_at,
                "same_revision": chain.same,
                "store_ok": chain.store_ok,
                "services": len(chain.processes),
                "current": chain.current,
                "drifted": chain.drifted,
                "paused": chain.paused,
                "errors": list(chain.errors),
            }
            for env, here in board.environments.items()
            if caller.sees(env)
        ]
        pending = [
            {"branch": each.branch, "problem": each.last.message if each.last else None}
            for each in parts.pusher.pending
        ]
        git = {
            "branch": board.branch,
            "revision": board.head,
            "problem": board.git_problem,
            "not_pushed": pending,
        }
        return {"git": git, "daemon": {"reachable": board.reachable}, "environments": environments}

    @router.get("/compare")
    @signed_in
    def compare(caller: Signed, left: str, right: str) -> dict[str, Any]:
        """Settings that two environments have differently. Secrets are `different` or not there at all."""
        board = parts.board
        one = {row.key: row for row in visible(parts.environment(board, caller, left), caller)}
        other = {row.key: row for row in visible(parts.environment(board, caller, right), caller)}
        items = [
            {
                "key": key,
                "category": row.category,
                "sensitive": row.spec.sensitive,
                "left": row.value,
                "right": other[key].value,
            }
            for key, row in one.items()
            if key in other and differs(row, other[key])
        ]
        return {"left": left, "right": right, "items": items, "revision": board.head}

    @router.get("/export")
    @signed_in
    def export(caller: Signed, env: str, format: Literal["yaml", "json", "env"] = "yaml") -> Response:  # noqa: A002
        """The settings of an environment in one file, without its secrets."""
        return exported(parts, caller, env, format)

    @router.get("/audit")
    @signed_in
    def audit(caller: Signed, limit: Annotated[int, Query(ge=1, le=MOST)] = 100) -> dict[str, Any]:
        """What was done and what was refused, newest first; for who is admin somewhere, of those environments."""
        admin = [env for env in parts.board.environments if caller.may("admin", env)]
        if not admin:
            raise ProblemError(
                403, "read-only", "this needs the role admin", role="admin", environment="", holders=[]
            )
        entries = [each for each in parts.audit.latest(MOST) if each.env in {"", *admin}][:limit]
        return {"items": [{name: getattr(each, name) for name in each.__slots__} for each in entries]}


def _publishing_routes(router: APIRouter, parts: Parts) -> None:
    @router.put("/publishing/pause")
    @signed_in
    def begin(request: Request, caller: Signed, body: PauseIn) -> dict[str, Any]:
        """Stop publishing to an environment until a moment, at most seven days ahead."""
        _require(parts, request, caller, "approver", body.env)
        try:
            until = datetime.fromisoformat(body.until)
        except ValueError:
            until = None
        if until is None or until.tzinfo is None:
            detail = "`until` is a time such as 2030-01-31T12:00:00Z"
            raise ProblemError(422, "validation", detail, errors=[{"pointer": "#/until", "detail": detail}])
        pause(parts, request, body.env, body.reason, until)
        return {"env": body.env, "paused": {"reason": body.reason, "until": until.isoformat()}}

    @router.delete("/publishing/pause")
    @signed_in
    def end(request: Request, caller: Signed, env: str) -> dict[str, Any]:
        """Publish again."""
        _require(parts, request, caller, "approver", env)
        resume(parts, request, env)
        return {"env": env, "paused": None}

    @router.post("/reconcile", status_code=202)
    @signed_in
    async def look(request: Request, caller: Signed, body: EnvironmentIn) -> dict[str, Any]:
        """Ask the daemon to look at git and Redis now."""
        _require(parts, request, caller, "editor", body.env)
        await reconcile(parts, request, body.env)
        return {"env": body.env, "scheduled": True}

    @router.post("/cache/clear")
    @signed_in
    def clear(request: Request, caller: Signed, body: EnvironmentIn) -> dict[str, Any]:
        """Forget what was read, read it anew, and say what differed."""
        _require(parts, request, caller, "admin", body.env)
        read, changed = clear_cache(parts, request, body.env)
        return {"env": body.env, "settings": read, "changed": changed}


def differs(one: Row, other: Row) -> bool:
    """Whether two rows have different values; secrets by their ciphertext, which is all that is known here."""
    if one.spec.sensitive:
        return one.is_set != other.is_set or one.seal != other.seal
    return one.is_set != other.is_set or type(one.value) is not type(other.value) or one.value != other.value


def exported(parts: Parts, caller: Caller, env: str, kind: str) -> Response:
    """The file of an export."""
    rows = [row for row in visible(parts.environment(parts.board, caller, env), caller) if row.is_set]
    values = {row.key: row.value for row in rows if not row.spec.sensitive}
    if kind == "json":
        text, media = json.dumps(values, indent=2, ensure_ascii=False) + "\n", "application/json"
    elif kind == "yaml":
        text, media = yaml.safe_dump(values, sort_keys=False, allow_unicode=True), "application/yaml"
    else:
        text, media = (
            "".join(f"{key}={_shell(as_text(value))}\n" for key, value in values.items()),
            "text/plain",
        )
    headers = {"Content-Disposition": f'attachment; filename="{env}.{kind}"'}
    return Response(text, media_type=f"{media}; charset=utf-8", headers=headers)


def _shell(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _require(
    parts: Parts, request: Request, caller: Caller, role: Literal["editor", "approver", "admin"], env: str
) -> None:
    parts.environment(parts.board, caller, env)
    parts.gate.require(request, role, env, None)
