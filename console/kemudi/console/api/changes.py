"""Plans and changes: a PUT on one setting, one commit for many, going back to an earlier value."""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from kemudi.console.access.gate import GatedRoute, Signed, needs, signed_in
from kemudi.console.access.people import Caller
from kemudi.console.api.described import ETAG, Env, InEnv, Key, Responses, problems
from kemudi.console.api.idempotency import Idempotency
from kemudi.console.api.settings import quoted
from kemudi.console.api.shapes import (
    ChangeIn,
    ChangeOut,
    ChangesIn,
    EntryOut,
    HistoryPage,
    PlanIn,
    PlanOut,
    RollbackIn,
    SettingIn,
    setting_out,
)
from kemudi.console.board import Board, Row
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError, from_error
from kemudi.console.values import InvalidValueError
from kemudi.console.writing import Asked, Saved, Wanted
from kemudi.repo.errors import StaleSettingError
from kemudi.schema.errors import KemudiError
from kemudi.schema.secret import Secret
from kemudi.schema.sentences import sentence

ENTRIES: Final = 500

Once = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="A name of your own for this request: sent again, it is answered as before and done once.",
        examples=["6b1c7e52"],
    ),
]
IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        max_length=200,
        description="The ETag of the setting as you read it. Without it: 428.",
        examples=['"9f2c41d0"'],
    ),
]
Before = Annotated[
    str | None, Query(pattern="^[0-9a-f]{40}$", description="Only what is older than this commit.")
]


_COMMITTED: Final[Responses] = {
    200: {"description": "Saved, or nothing was to be done.", "headers": ETAG},
    202: {"model": ChangeOut, "description": "Proposed: it waits for somebody's approval."},
}


def routes(parts: Parts) -> APIRouter:
    """Everything that plans or writes."""
    router = APIRouter(route_class=GatedRoute, prefix="/api/v1", tags=["changes"])
    handlers = _Handlers(parts)
    add = router.add_api_route
    committed = problems(403, 404, 409, 412) | _COMMITTED
    put = "/environments/{env}/settings/{key}"
    add(put, handlers.put, methods=["PUT"], response_model=ChangeOut, responses=committed | problems(428))
    add("/plans", handlers.plan, methods=["POST"], response_model=PlanOut, responses=problems(404, 409))
    add("/changes", handlers.change, methods=["POST"], response_model=ChangeOut, responses=committed)
    add("/settings/{key}/history", handlers.history, methods=["GET"], responses=problems(404))
    back = "/settings/{key}/rollback"
    add(back, handlers.rollback, methods=["POST"], response_model=ChangeOut, responses=committed)
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._idempotency = Idempotency()

    @needs("editor")
    def put(
        self,
        request: Request,
        caller: Signed,
        env: Env,
        key: Key,
        body: SettingIn,
        if_match: IfMatch = "",
    ) -> Response:
        """Give one setting a value. If-Match with its ETag is required; a stale one answers 412 with the value now."""
        board = self._parts.watch.refresh(ask=False)
        row = self._parts.row(board, caller, env, key)
        self._parts.gate.require(request, "editor", env, row.category)
        if not if_match:
            raise ProblemError(
                428, "precondition-required", sentence("send If-Match with the ETag of the setting")
            )
        if if_match.removeprefix("W/") != quoted(row.etag):
            raise self._stale(board, row)
        wanted = ChangeIn(key=key, value=body.value, unset=body.unset, layer=body.layer)
        asked = self._asked(caller, board, env, [wanted], body.reason, propose=body.mode == "propose")
        return self._saved(request, caller, board, asked)

    @signed_in
    def plan(self, caller: Signed, body: PlanIn) -> dict[str, Any]:
        """What a change would do: the plan, its text, the diff, what the policies say. Nothing happens."""
        board = self._parts.watch.refresh(ask=False)
        self._parts.environment(board, caller, body.env)
        asked = self._asked(caller, board, body.env, body.changes, body.reason)
        try:
            return self._parts.writer.preview(caller, board, asked).as_json()
        except InvalidValueError as error:
            raise invalid(error, asked) from None

    @signed_in
    def change(
        self, request: Request, caller: Signed, body: ChangesIn, idempotency_key: Once = ""
    ) -> Response:
        """Change settings in one commit, or propose that. An `Idempotency-Key` makes a repeated request harmless."""
        board = self._parts.watch.refresh(ask=False)
        self._parts.environment(board, caller, body.env)
        asked = self._asked(
            caller,
            board,
            body.env,
            body.changes,
            body.reason,
            propose=body.mode == "propose",
            bulk=True,
            again=body.again,
        )

        def work() -> Response:
            return self._saved(request, caller, board, asked)

        if not idempotency_key:
            return work()
        said = body.model_dump_json()
        return self._idempotency.once(f"{caller.person.login}\0{idempotency_key}", said, work)

    @signed_in
    def history(
        self,
        caller: Signed,
        key: Key,
        env: InEnv,
        limit: Annotated[int, Query(ge=1, le=ENTRIES, description="Entries.")] = 50,
        before: Before = None,
    ) -> HistoryPage:
        """What happened to a setting in an environment, newest first. Secrets are only `sensitive: true`."""
        board = self._parts.board
        self._parts.row(board, caller, env, key)
        entries = self._parts.provenance.of_key(key, env, limit=limit, before=before)
        items = [EntryOut(**entry.as_json()) for entry in entries]
        return HistoryPage(items=items, revision=board.head)

    @signed_in
    def rollback(self, request: Request, caller: Signed, key: Key, body: RollbackIn) -> Response:
        """Go back to what a commit gave a setting, by a new commit."""
        board = self._parts.watch.refresh(ask=False)
        row = self._parts.row(board, caller, body.env, key)
        self._parts.gate.require(request, "editor", body.env, row.category)
        earlier = self._parts.earlier(row, body.revision)
        wanted = Wanted(row.key, earlier.value, earlier.unset, earlier.layer)
        asked = Asked(
            body.env,
            (wanted,),
            body.reason,
            board.head,
            body.mode == "propose",
            "rollback",
            back_to=earlier.revision,
        )
        return self._saved(request, caller, board, asked)

    def _asked(
        self,
        caller: Caller,
        board: Board,
        env: str,
        changes: list[ChangeIn],
        reason: str,
        *,
        propose: bool = False,
        bulk: bool = False,
        again: bool = False,
    ) -> Asked:
        wanted: list[Wanted] = []
        for each in changes:
            row = self._parts.row(board, caller, env, each.key)
            value = Secret(each.value) if row.spec.sensitive else each.value
            wanted.append(Wanted(row.key, value, each.unset, each.layer or ""))
        operation = "bulk" if bulk and len(wanted) > 1 else "set"
        return Asked(env, tuple(wanted), reason, board.head, propose, operation, again)

    def _saved(self, request: Request, caller: Caller, board: Board, asked: Asked) -> Response:
        keys = ", ".join(each.key for each in asked.changes)
        action = "propose" if asked.propose else "change"
        try:
            saved = self._parts.writer.save(caller, board, asked)
        except InvalidValueError as error:
            raise invalid(error, asked) from None
        except StaleSettingError as error:
            now = self._parts.watch.refresh(ask=False)
            raise self._stale(now, self._parts.row(now, caller, asked.env, error.key)) from None
        except (KemudiError, ProblemError) as error:
            known = error if isinstance(error, ProblemError) else from_error(error)
            self._parts.note(request, action, "refused", env=asked.env, key=keys, detail=known.name)
            raise known from None
        self._parts.note(request, action, "done", env=asked.env, key=keys, detail=saved.revision[:12])
        return self._answer(asked, saved)

    def _answer(self, asked: Asked, saved: Saved) -> Response:
        out = ChangeOut(
            id=saved.branch.removeprefix("kemudi/") if saved.proposed else saved.revision,
            state="unchanged" if not saved.changed else "proposed" if saved.proposed else "committed",
            revision=saved.revision,
            branch=saved.branch,
            pushed=self._pushed(saved),
            requires_restart=list(saved.restart),
        )
        headers = {}
        if len(asked.changes) == 1 and not saved.proposed:
            row = self._parts.board.environments[asked.env].rows.get(asked.changes[0].key)
            headers["ETag"] = quoted(row.etag) if row is not None else ""
        status = 202 if saved.proposed else 200
        return Response(out.model_dump_json(), status, headers, media_type="application/json")

    def _pushed(self, saved: Saved) -> bool | None:
        """Whether the remote has it; None where there is no remote."""
        if not self._parts.pusher.has_remote():
            return None
        return not any(each.branch == saved.branch for each in self._parts.pusher.pending)

    def _stale(self, board: Board, row: Row) -> ProblemError:
        origin = self._parts.origins(board, row.env).get(row.key)
        current = setting_out(row, origin)
        return ProblemError(
            412,
            "stale-revision",
            sentence("the setting was changed since it was read"),
            headers={"ETag": quoted(row.etag)},
            current=json.loads(current.model_dump_json()),
        )


def invalid(error: InvalidValueError, asked: Asked) -> ProblemError:
    """Which value does not fit, at its place in the body."""
    place = next((number for number, each in enumerate(asked.changes) if each.key == error.key), 0)
    pointer = "#/value" if len(asked.changes) == 1 else f"#/changes/{place}/value"
    detail = error.detail or sentence("the value of %(key)s does not fit its contract", key=error.key)
    return ProblemError(
        422, "validation", detail, errors=[{"pointer": pointer, "detail": detail, "key": error.key}]
    )
