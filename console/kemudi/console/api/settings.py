"""Environments and settings: lists with filters, one setting with its ETag."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from kemudi.console.access.gate import GatedRoute, Signed, needs, signed_in
from kemudi.console.api.shapes import (
    EnvironmentList,
    EnvironmentOut,
    SettingOut,
    SettingPage,
    setting_out,
)
from kemudi.console.catalogue import SORTS, Filter, after, select, visible
from kemudi.console.chain import chain_of
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError

LARGEST_PAGE: Final = 500
REVISION: Final = "X-Kemudi-Revision"

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
Words = Annotated[str, Query(max_length=200)]


def routes(parts: Parts) -> APIRouter:
    """Everything that only reads settings."""
    router = APIRouter(route_class=GatedRoute, prefix="/api/v1", tags=["settings"])

    @router.get("/environments")
    @signed_in
    def environments(response: Response, caller: Signed) -> EnvironmentList:
        """The environments that the caller may see, in promotion order."""
        board = parts.board
        response.headers[REVISION] = board.head or ""
        items = [
            EnvironmentOut(
                name=env,
                settings=len(visible(here, caller)),
                role=caller.highest(env),
                applied=here.applied,
                state=chain_of(board, here).word,
                drifted=here.count("drift"),
            )
            for env, here in board.environments.items()
            if caller.sees(env)
        ]
        return EnvironmentList(items=items, revision=board.head)

    @router.get("/environments/{env}/settings")
    @needs("viewer")
    def settings(
        request: Request,
        response: Response,
        caller: Signed,
        env: str,
        q: Words = "",
        category: str = "",
        type: str = "",  # noqa: A002  # the name in the address
        state: str = "",
        owner: str = "",
        sort: str = "category",
        limit: Limit = 100,
        cursor: str | None = None,
    ) -> SettingPage:
        """The settings of an environment; words are looked for in key, description and shown value."""
        board = parts.board
        if sort not in SORTS:
            raise ProblemError(422, "validation", f"`sort` is one of {', '.join(SORTS)}")
        rows = visible(parts.environment(board, caller, env), caller)
        found = select(rows, Filter(q, category, type, state, owner, sort))
        shown, following = after(found, cursor, limit)
        origins = parts.origins(board, env)
        response.headers[REVISION] = board.head or ""
        if following is not None:
            response.headers["Link"] = f'<{request.url.include_query_params(cursor=following)}>; rel="next"'
        items = [setting_out(row, origins.get(row.key)) for row in shown]
        return SettingPage(items=items, next=following, revision=board.head)

    @router.get(
        "/environments/{env}/settings/{key}",
        response_model=SettingOut,
        responses={304: {"description": "Not changed"}},
    )
    @needs("viewer")
    def setting(
        request: Request, response: Response, caller: Signed, env: str, key: str
    ) -> SettingOut | Response:
        """One setting. Its ETag changes with what git says of it here, and with nothing else."""
        board = parts.board
        row = parts.row(board, caller, env, key)
        headers = {"ETag": quoted(row.etag), REVISION: board.head or ""}
        if quoted(row.etag) in _listed(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        response.headers.update(headers)
        return setting_out(row, parts.origins(board, env).get(key))

    return router


def quoted(etag: str) -> str:
    """An entity tag as HTTP writes it."""
    return f'"{etag}"'


def _listed(header: str) -> list[str]:
    return [each.strip().removeprefix("W/") for each in header.split(",")]
