"""Change one setting: the form, what it would do, and saving it (console.md 6.3). The same page without the script."""

import secrets
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from kemudi.console.access.gate import GatedRoute, Signed, current_caller, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Board, Row, as_text
from kemudi.console.desired import layers_of
from kemudi.console.pages.frame import fields, language_of, page, see_other
from kemudi.console.pages.preview import is_about_reason, shown
from kemudi.console.pages.typed_secrets import TypedSecrets
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError
from kemudi.console.values import InvalidValueError, checked, from_text
from kemudi.console.wording import complaint
from kemudi.console.writing import Asked, Preview, Wanted, reach
from kemudi.repo.changes import PROPOSALS
from kemudi.repo.errors import PolicyRefusedError, StaleSettingError
from kemudi.repo.plan import Change
from kemudi.repo.proposal_model import Proposal
from kemudi.repo.sealing import seal_setting
from kemudi.schema.envelope import Envelope
from kemudi.schema.errors import ConflictError, FindingsError, KemudiError
from kemudi.schema.secret import Secret
from kemudi.schema.sentences import chained

_ASKED_BACK = frozenset({"approval-required", "proposal-open"})


@dataclass(frozen=True, slots=True)
class Form:
    """What the form holds. The value of a sensitive setting is never put back into a page.

    With `unset` the line is taken out of the layer, and no value is asked for. `kept` names a secret that was typed
    before and is sealed already; `back`, the revision whose value the form began with.
    """

    value: str
    layer: str
    reason: str
    expected: str
    once: str
    unset: bool = False
    kept: str = ""
    back: str = ""


def routes(parts: Parts) -> APIRouter:
    """The form, and what becomes of it."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    handlers = _Handlers(parts)
    router.add_api_route("/e/{env}/settings/{key}/change", handlers.form, methods=["GET"])
    router.add_api_route("/e/{env}/settings/{key}/change", handlers.sent, methods=["POST"])
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._secrets = TypedSecrets()

    @needs("editor")
    def form(self, request: Request, caller: Signed, env: str, key: str) -> HTMLResponse:
        """The form; with a value in the address (a switch, an earlier or another environment's) its preview, too."""
        board = self._parts.board
        row = self._row(request, caller, board, env, key)
        text, layer = request.query_params.get("value"), self._top(board, env)
        if request.query_params.get("unset") and row.file:
            form = Form("", row.layer, "", board.head or "", _once(), unset=True)
            return self._previewed(request, caller, board, row, form)
        back, source = request.query_params.get("back", ""), request.query_params.get("from", "")
        if back:
            earlier = self._parts.earlier(row, back)
            text, layer = as_text(earlier.value), earlier.layer
        elif source:
            other = self._parts.row(board, caller, source, key)
            text = as_text(other.value) if other.is_set and not other.spec.sensitive else None
        given = as_text(row.value) if row.is_set and not row.spec.sensitive else ""
        form = Form(text if text is not None else given, layer, "", board.head or "", _once(), back=back)
        if text is None or row.spec.sensitive:
            return self._page(request, board, row, form)
        return self._previewed(request, caller, board, row, form)

    @needs("editor")
    async def sent(self, request: Request, caller: Signed, env: str, key: str) -> Response:
        """Preview, save or propose what was typed."""
        sent = fields(await request.form())
        return await run_in_threadpool(self._answer, request, caller, env, key, sent)

    def _answer(self, request: Request, caller: Caller, env: str, key: str, sent: dict[str, str]) -> Response:
        board = self._parts.board
        row = self._row(request, caller, board, env, key)
        form = Form(
            sent.get("value", ""),
            sent.get("layer") or self._top(board, env),
            sent.get("reason", ""),
            sent.get("expected") or board.head or "",
            sent.get("once") or _once(),
            unset=bool(sent.get("unset")),
            kept=sent.get("kept", ""),
            back=sent.get("back", ""),
        )
        try:
            form = self._sealed(caller, board, row, form)
        except (KemudiError, InvalidValueError) as error:
            return self._explained(request, caller, row, form, error)
        action = sent.get("action", "preview")
        if action not in {"commit", "propose", "propose-again"}:
            return self._previewed(request, caller, board, row, form)
        try:
            saved = self._parts.writer.save(
                caller, board, self._asked(caller, row, form, action), once=form.once
            )
        except (KemudiError, ProblemError, InvalidValueError) as error:
            self._parts.note(request, "change", "refused", env=env, key=key, detail=type(error).__name__)
            return self._explained(request, caller, row, form, error)
        detail = saved.revision[:12] if saved.changed else "nothing to change"
        self._parts.note(request, action, "done", env=env, key=key, detail=detail)
        if saved.proposed and saved.changed:
            return see_other(f"/e/{env}/changes/{saved.branch.removeprefix(PROPOSALS)}")
        return see_other(f"/e/{env}/settings/{key}")

    def _previewed(
        self, request: Request, caller: Caller, board: Board, row: Row, form: Form
    ) -> HTMLResponse:
        try:
            preview = self._parts.writer.preview(caller, board, self._asked(caller, row, form))
        except (KemudiError, ProblemError, InvalidValueError) as error:
            return self._explained(request, caller, row, form, error)
        return self._page(request, board, row, form, preview=preview)

    def _explained(
        self, request: Request, caller: Caller, row: Row, form: Form, error: Exception
    ) -> HTMLResponse:
        """The page again, with what was typed, and what is wrong beside it."""
        words = language_of(request, self._parts)
        board = self._parts.watch.refresh(ask=False)
        now = self._row(request, caller, board, row.env, row.key)
        if isinstance(error, InvalidValueError):
            wrong = complaint(row.spec, words, error.detail)
            if form.kept and not form.value:
                wrong = words.gettext(
                    "Type the secret again: it was sealed for another place, or too long ago."
                )
            return self._page(request, board, now, replace(form, kept=""), status=422, wrong=wrong)
        if isinstance(error, StaleSettingError):
            # What was typed stays; the next preview stands on what is there now.
            fresh = replace(form, expected=board.head or "", once=_once())
            name = (error.author or "").partition(" <")[0]
            return self._page(request, board, now, fresh, status=412, moved={"author_name": name})
        if isinstance(error, PolicyRefusedError):
            asked = next((words.said(each.message) for each in error.findings if is_about_reason(each)), "")
            others = [each for each in error.findings if not is_about_reason(each)]
            failed = "; ".join(f"{each.rule} {words.said(each.message)}" for each in others)
            return self._page(request, board, now, form, status=403, failed=failed, reason_wrong=asked)
        if isinstance(error, FindingsError):
            said = chained([finding.message for finding in error.findings])
            return self._page(request, board, now, form, status=422, failed=said)
        if isinstance(error, KemudiError):
            status = 409 if isinstance(error, ConflictError) else 422
            return self._page(request, board, now, form, status=status, failed=error.explained)
        if isinstance(error, ProblemError) and error.name in _ASKED_BACK:
            return self._page(
                request, board, now, form, status=error.status, failed=words.gettext(error.title)
            )
        raise error

    def _page(
        self,
        request: Request,
        board: Board,
        row: Row,
        form: Form,
        *,
        status: int = 200,
        preview: Preview | None = None,
        **said: Any,
    ) -> HTMLResponse:
        state = board.state
        if row.spec.sensitive:
            form = replace(form, value="")
        context: dict[str, Any] = {"wrong": "", "moved": None, "failed": "", "reason_wrong": "", **said}
        return page(
            request,
            self._parts,
            "change.html",
            row.env,
            "settings",
            status=status,
            board=board,
            row=row,
            form=form,
            preview=shown(self._parts, board, preview) if preview is not None else None,
            after=_after(row, preview) if form.unset and preview is not None else None,
            direct=preview.direct if preview is not None else True,
            reason_required=preview.needs.reason_required if preview is not None else False,
            layers=layers_of(state, row.env) if state is not None else (),
            others=self._others(request, row, board),
            reach=reach(state, row.env) if state is not None else {},
            **context,
        )

    def _sealed(self, caller: Caller, board: Board, row: Row, form: Form) -> Form:
        """A secret that was typed is sealed at once: its preview shows the very text that is saved.

        Raises InvalidValueError, UsageError, FindingsError.
        """
        if not row.spec.sensitive or form.unset or not form.value or board.state is None:
            return form
        value = checked(board.state.contracts[row.category], row.spec, from_text(row.spec, form.value))
        text = seal_setting(board.state, form.layer, row.key, Secret(value))
        kept = self._secrets.keep(caller.person.login, form.layer, row.key, Envelope.parse(text))
        return replace(form, value="", kept=kept)

    def _asked(self, caller: Caller, row: Row, form: Form, action: str = "commit") -> Asked:
        propose, again = action != "commit", action == "propose-again"
        if form.unset:
            wanted = Wanted(row.key, unset=True, layer=form.layer)
        elif row.spec.sensitive:
            sealed = self._secrets.find(caller.person.login, form.layer, row.key, form.kept)
            if sealed is None:
                raise InvalidValueError(row.key)
            wanted = Wanted(row.key, sealed, layer=form.layer)
        else:
            wanted = Wanted(row.key, from_text(row.spec, form.value), layer=form.layer)
        back_to = self._back_to(row, form)
        operation = "unset" if form.unset else "rollback" if back_to else "set"
        return Asked(
            row.env,
            (wanted,),
            form.reason,
            form.expected or None,
            propose,
            operation,
            again=again,
            back_to=back_to,
        )

    def _back_to(self, row: Row, form: Form) -> str:
        """The revision that a change goes back to; empty for another one, as when something else was typed."""
        if not form.back or form.unset:
            return ""
        earlier = self._parts.earlier(row, form.back)
        is_it = (as_text(earlier.value), earlier.layer) == (form.value, form.layer)
        return earlier.revision if is_it else ""

    def _row(self, request: Request, caller: Caller, board: Board, env: str, key: str) -> Row:
        row = self._parts.row(board, caller, env, key)
        self._parts.gate.require(request, "editor", env, row.category)
        return row

    def _others(self, request: Request, row: Row, board: Board) -> list[Proposal]:
        """Proposals that wait for this very setting."""
        place = (row.env, row.key)
        found = self._parts.waiting.shown(current_caller(request), board)
        return [each for each in found if place in {(change.env, change.key) for change in each.plan.changes}]

    def _top(self, board: Board, env: str) -> str:
        """The environment's own layer: where a change reaches nobody else."""
        return layers_of(board.state, env)[-1] if board.state is not None else ""


def _after(row: Row, preview: Preview) -> Change | None:
    """What a change does to the setting of the page; None for nothing."""
    return next((c for c in preview.prepared.plan.changes if (c.env, c.key) == (row.env, row.key)), None)


def _once() -> str:
    return secrets.token_urlsafe(12)
