"""Environments and settings: lists with filters, one setting with its ETag."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response

from kemudi.console.access.gate import GatedRoute, Signed, needs, signed_in
from kemudi.console.api.described import (
    ETAG,
    LINK,
    REVISION,
    Env,
    Key,
    not_modified,
    problems,
    with_headers,
)
from kemudi.console.api.shapes import (
    EnvironmentList,
    EnvironmentOut,
    SettingOut,
    SettingPage,
    setting_out,
)
from kemudi.console.catalogue import Filter, Sort, after, select, visible
from kemudi.console.chain import chain_of
from kemudi.console.parts import Parts

LARGEST_PAGE: Final = 500
REVISION_HEADER: Final = "X-Kemudi-Revision"

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Settings a page.")]
Words = Annotated[
    str,
    Query(
        max_length=200,
        description="Words that must all be in key, description or shown value.",
        examples=["batch"],
    ),
]
Category = Annotated[str, Query(description="Only this category.")]
Type = Annotated[str, Query(description="Only this JSON type, `choice` or `secret`.")]
State = Annotated[
    str,
    Query(
        description="Only this state, `restart` (waits for one), or `attention` (whatever is not simply live)."
    ),
]
Owner = Annotated[str, Query(description="Only what this team owns.")]
Order = Annotated[Sort, Query(description="The order, category first by default.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.")]
IfNoneMatch = Annotated[str, Header(alias="If-None-Match", description="ETags that the caller has.")]


def routes(parts: Parts) -> APIRouter:
    """Everything that only reads settings."""
    router = APIRouter(route_class=GatedRoute, prefix="/api/v1", tags=["settings"])
    handlers = _Handlers(parts)
    add = router.add_api_route
    listed = with_headers(REVISION | LINK) | problems(404)
    one = with_headers(ETAG | REVISION) | not_modified() | problems(404)
    add("/environments", handlers.environments, methods=["GET"], responses=with_headers(REVISION))
    add("/environments/{env}/settings", handlers.settings, methods=["GET"], responses=listed)
    key = "/environments/{env}/settings/{key}"
    add(key, handlers.setting, methods=["GET"], response_model=SettingOut, responses=one)
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @signed_in
    def environments(self, response: Response, caller: Signed) -> EnvironmentList:
        """The environments that the caller may see, in promotion order."""
        board = self._parts.board
        response.headers[REVISION_HEADER] = board.head or ""
        items = [
            EnvironmentOut(
                name=env,
                settings=len(visible(here, caller)),
                role=caller.highest(env),
                applied=here.applied,
                state=chain_of(board, here, caller).word,
                drifted=here.count("drift"),
            )
            for env, here in board.environments.items()
            if caller.sees(env)
        ]
        return EnvironmentList(items=items, revision=board.head)

    @needs("viewer")
    def settings(
        self,
        request: Request,
        response: Response,
        caller: Signed,
        env: Env,
        q: Words = "",
        category: Category = "",
        type: Type = "",  # noqa: A002  # the name in the address
        state: State = "",
        owner: Owner = "",
        sort: Order = "category",
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> SettingPage:
        """The settings of an environment; words are looked for in key, description and shown value."""
        board = self._parts.board
        rows = visible(self._parts.environment(board, caller, env), caller)
        found = select(rows, Filter(q, category, type, state, owner, sort))
        shown, following = after(found, cursor, limit)
        origins = self._parts.origins(board, env)
        response.headers[REVISION_HEADER] = board.head or ""
        if following is not None:
            response.headers["Link"] = f'<{request.url.include_query_params(cursor=following)}>; rel="next"'
        items = [setting_out(row, origins.get(row.key)) for row in shown]
        return SettingPage(items=items, next=following, revision=board.head)

    @needs("viewer")
    def setting(
        self, response: Response, caller: Signed, env: Env, key: Key, if_none_match: IfNoneMatch = ""
    ) -> SettingOut | Response:
        """One setting. Its ETag changes with what git says of it here, and with nothing else."""
        board = self._parts.board
        row = self._parts.row(board, caller, env, key)
        headers = {"ETag": quoted(row.etag), REVISION_HEADER: board.head or ""}
        if quoted(row.etag) in _listed(if_none_match):
            return Response(status_code=304, headers=headers)
        response.headers.update(headers)
        return setting_out(row, self._parts.origins(board, env).get(key))


def quoted(etag: str) -> str:
    """An entity tag as HTTP writes it."""
    return f'"{etag}"'


def _listed(header: str) -> list[str]:
    return [each.strip().removeprefix("W/") for each in header.split(",")]
