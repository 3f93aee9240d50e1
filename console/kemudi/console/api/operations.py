"""What stands beside settings: state of the chain, publishing, comparison, export, audit, and the API's description."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from kemudi.console.access.gate import GatedRoute, Signed, signed_in
from kemudi.console.access.people import Caller
from kemudi.console.api.described import InEnv, Responses, problems
from kemudi.console.api.operation_shapes import (
    AuditOut,
    AuditPage,
    ChainOut,
    ClearedOut,
    CompareOut,
    DaemonOut,
    Difference,
    EnvironmentIn,
    GitOut,
    NotPushed,
    PauseIn,
    PauseOf,
    PauseOut,
    ScheduledOut,
    StatusOut,
)
from kemudi.console.catalogue import visible
from kemudi.console.chain import Chain, chain_of
from kemudi.console.comparing import differs
from kemudi.console.operations import clear_cache, pause, reconcile, resume
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError
from kemudi.repo.exporting import as_lines, as_yaml
from kemudi.schema.manifest import Role
from kemudi.schema.sentences import sentence

MOST: Final = 1000

Format = Annotated[Literal["yaml", "json", "env"], Query(description="Of the file.")]

_EXPORTED: Final[Responses] = problems(404) | {
    200: {
        "description": "The file. Sensitive settings are left out.",
        "headers": {
            "Content-Disposition": {"description": "With a file name.", "schema": {"type": "string"}}
        },
        "content": {
            "application/yaml": {"schema": {"type": "object"}},
            "application/json": {"schema": {"type": "object"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    }
}


def routes(parts: Parts) -> APIRouter:
    """The rest of the API."""
    router = APIRouter(route_class=GatedRoute, prefix="/api/v1", tags=["operations"])
    reading, asking = _Reading(parts), _Asking(parts)
    add = router.add_api_route
    add("/status", reading.status, methods=["GET"])
    add("/compare", reading.compare, methods=["GET"], responses=problems(404))
    add("/export", reading.export, methods=["GET"], response_class=Response, responses=_EXPORTED)
    add("/audit", reading.audit, methods=["GET"], responses=problems(403))
    refusals = problems(404, 409)
    add("/publishing/pause", asking.pause, methods=["PUT"], responses=refusals)
    add("/publishing/pause", asking.resume, methods=["DELETE"], responses=refusals)
    add("/reconcile", asking.reconcile, methods=["POST"], status_code=202, responses=refusals)
    add("/cache/clear", asking.clear, methods=["POST"], responses=refusals)
    return router


class _Reading:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @signed_in
    def status(self, caller: Signed) -> StatusOut:
        """The chain git, daemon, Redis, services of every environment that the caller may see."""
        board = self._parts.board
        pending = [
            NotPushed(branch=each.branch, problem=each.last.message if each.last else None)
            for each in self._parts.pusher.pending
        ]
        git = GitOut(
            branch=board.branch,
            revision=board.head,
            problem=board.git_problem,
            not_pushed=pending,
            behind=self._parts.pusher.behind or None,
        )
        seen = [
            (env, chain_of(board, here, caller))
            for env, here in board.environments.items()
            if caller.sees(env)
        ]
        return StatusOut(
            git=git,
            daemon=DaemonOut(reachable=board.reachable),
            environments=[_chain_out(env, chain) for env, chain in seen],
        )

    @signed_in
    def compare(self, caller: Signed, left: InEnv, right: InEnv) -> CompareOut:
        """Settings that two environments have differently. Secrets are `different` or not there at all."""
        board = self._parts.board
        one, other = (
            {row.key: row for row in visible(self._parts.environment(board, caller, env), caller)}
            for env in (left, right)
        )
        items = [
            Difference(
                key=key,
                category=row.category,
                sensitive=row.spec.sensitive,
                left=row.value,
                right=other[key].value,
            )
            for key, row in one.items()
            if key in other and differs(row, other[key])
        ]
        return CompareOut(left=left, right=right, items=items, revision=board.head)

    @signed_in
    def export(self, caller: Signed, env: InEnv, format: Format = "yaml") -> Response:  # noqa: A002  # the name in the address
        """The settings of an environment in one file, without its secrets."""
        return exported(self._parts, caller, env, format)

    @signed_in
    def audit(
        self, caller: Signed, limit: Annotated[int, Query(ge=1, le=MOST, description="Lines.")] = 100
    ) -> AuditPage:
        """What was done and what was refused, newest first; for who is admin somewhere, of those environments."""
        admin = [env for env in self._parts.board.environments if caller.may("admin", env)]
        if not admin:
            raise ProblemError(
                403,
                "read-only",
                sentence("this needs the role admin"),
                role="admin",
                environment="",
                holders=[],
            )
        entries = [each for each in self._parts.audit.latest(MOST) if each.env in {"", *admin}][:limit]
        return AuditPage(items=[AuditOut(**asdict(each)) for each in entries])


class _Asking:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @signed_in
    def pause(self, request: Request, caller: Signed, body: PauseIn) -> PauseOut:
        """Stop publishing to an environment until a moment, at most seven days ahead."""
        self._require(request, caller, "approver", body.env)
        try:
            until = datetime.fromisoformat(body.until)
        except ValueError:
            until = None
        if until is None or until.tzinfo is None:
            detail = sentence("`until` is a time such as 2030-01-31T12:00:00Z")
            raise ProblemError(422, "validation", detail, errors=[{"pointer": "#/until", "detail": detail}])
        pause(self._parts, request, body.env, body.reason, until)
        return PauseOut(env=body.env, paused=PauseOf(reason=body.reason, until=until.isoformat()))

    @signed_in
    def resume(self, request: Request, caller: Signed, env: InEnv) -> PauseOut:
        """Publish again."""
        self._require(request, caller, "approver", env)
        resume(self._parts, request, env)
        return PauseOut(env=env, paused=None)

    @signed_in
    async def reconcile(self, request: Request, caller: Signed, body: EnvironmentIn) -> ScheduledOut:
        """Ask the daemon to look at git and Redis now."""
        self._require(request, caller, "editor", body.env)
        await reconcile(self._parts, request, body.env)
        return ScheduledOut(env=body.env, scheduled=True)

    @signed_in
    def clear(self, request: Request, caller: Signed, body: EnvironmentIn) -> ClearedOut:
        """Forget what was read, read it anew, and say what differed."""
        self._require(request, caller, "admin", body.env)
        read, changed = clear_cache(self._parts, request, body.env)
        return ClearedOut(env=body.env, settings=read, changed=changed)

    def _require(self, request: Request, caller: Caller, role: Role, env: str) -> None:
        self._parts.environment(self._parts.board, caller, env)
        self._parts.gate.require(request, role, env, None)


def _chain_out(env: str, chain: Chain) -> ChainOut:
    return ChainOut(
        env=env,
        state=chain.word,
        applied=chain.applied,
        applied_at=chain.applied_at,
        same_revision=chain.same,
        store_ok=chain.store_ok,
        services=len(chain.processes),
        current=chain.current,
        drifted=chain.drifted,
        paused=None if chain.paused is None else PauseOf(**chain.paused),
        errors=list(chain.errors),
    )


def exported(parts: Parts, caller: Caller, env: str, kind: str) -> Response:
    """The file of an export: it can be imported again."""
    board = parts.board
    rows = [row for row in visible(parts.environment(board, caller, env), caller) if row.is_set]
    sealed = {row.key for row in rows if row.spec.sensitive}
    grouped: dict[str, dict[str, Any]] = {}
    for row in rows:
        grouped.setdefault(row.category, {})[row.key] = row.value
    plain = {
        category: {key: value for key, value in values.items() if key not in sealed}
        for category, values in grouped.items()
    }
    if kind == "json":
        values = {key: value for each in plain.values() for key, value in each.items()}
        text, media = json.dumps(values, indent=2, ensure_ascii=False) + "\n", "application/json"
    elif kind == "yaml":
        text, media = as_yaml(plain, f"{env} at {board.head or 'no commit yet'}"), "application/yaml"
    else:
        text, media = as_lines(grouped, sealed), "text/plain"
    headers = {"Content-Disposition": f'attachment; filename="{env}.{kind}"'}
    return Response(text, media_type=f"{media}; charset=utf-8", headers=headers)
