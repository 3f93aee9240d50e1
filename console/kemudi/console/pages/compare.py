"""Two environments side by side; what is ticked is copied by one commit or proposal (console.md 6.8)."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Board
from kemudi.console.comparing import Pair, digest, pairs
from kemudi.console.desired import layers_of
from kemudi.console.pages.frame import language_of, page, quoted, see_other
from kemudi.console.pages.preview import is_about_reason, shown
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError, from_error, no_such_setting
from kemudi.console.writing import Asked, Preview
from kemudi.repo.changes import PROPOSALS
from kemudi.repo.errors import PolicyRefusedError, StaleSettingError
from kemudi.schema.errors import KemudiError
from kemudi.schema.sentences import sentence

SHOWN: Final = 200
_SAVES: Final = frozenset({"commit", "propose", "propose-again"})


@dataclass(frozen=True, slots=True)
class Form:
    """What was chosen.

    Attributes:
        source: The environment on the left.
        q: Words that narrow the list.
        everything: Also what is equal.
        keys: What is ticked.
        reason: Why.
        expected: The revision that was looked at.
        seen: The digest of what was previewed.
        once: Names this very wish.
    """

    source: str = ""
    q: str = ""
    everything: bool = False
    keys: tuple[str, ...] = ()
    reason: str = ""
    expected: str = ""
    seen: str = ""
    once: str = ""


def routes(parts: Parts) -> APIRouter:
    """The table, and what becomes of what is ticked in it."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    handlers = _Handlers(parts)
    router.add_api_route("/e/{env}/compare", handlers.show, methods=["GET"])
    router.add_api_route("/e/{env}/compare", handlers.sent, methods=["POST"])
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @needs("viewer")
    def show(self, request: Request, caller: Signed, env: str) -> HTMLResponse:
        """The table; settings named in the address are ticked."""
        board, asked = self._parts.board, request.query_params
        form = Form(
            asked.get("from", ""),
            asked.get("q", ""),
            asked.get("show") == "all",
            tuple(asked.getlist("key")),
            expected=board.head or "",
            once=_once(),
        )
        return self._page(request, caller, board, env, form)

    @needs("editor")
    async def sent(self, request: Request, caller: Signed, env: str) -> Response:
        """Preview, save or propose what is ticked."""
        given = await request.form()
        said = {name: value for name, value in given.items() if isinstance(value, str)}
        form = Form(
            said.get("from", ""),
            said.get("q", ""),
            said.get("show") == "all",
            tuple(dict.fromkeys(each for each in given.getlist("key") if isinstance(each, str))),
            said.get("reason", ""),
            said.get("expected", ""),
            said.get("seen", ""),
            said.get("once") or _once(),
        )
        action = said.get("action", "preview")
        return await run_in_threadpool(self._answer, request, caller, env, form, action)

    def _answer(self, request: Request, caller: Caller, env: str, form: Form, action: str) -> Response:
        board = self._parts.watch.refresh(ask=False)
        found = self._pairs(caller, board, env, self._source(caller, board, env, form.source))
        chosen = [found[key] for key in form.keys if key in found]
        if len(chosen) < len(form.keys):
            raise no_such_setting()
        words = language_of(request, self._parts)
        if not chosen:
            said = words.gettext("Tick at least one setting.")
            return self._page(request, caller, board, env, form, status=422, failed=said)
        for pair in chosen:
            self._check(request, pair)
        if action in _SAVES and all(pair.state == "equal" for pair in chosen):  # pressed twice: it is done
            return see_other(f"/e/{env}/compare?from={quoted(form.source)}")
        # Only what was looked at is saved: other ticks, or values that have changed since, are shown first.
        moved = action in _SAVES and form.seen != digest(chosen)
        asked = Asked(
            env,
            tuple(pair.wanted() for pair in chosen),
            form.reason,
            board.head if moved or action not in _SAVES else form.expected or board.head,
            propose=action in _SAVES - {"commit"},
            operation="promote",
            again=action == "propose-again",
        )
        try:
            if action in _SAVES and not moved:
                return self._saved(request, caller, board, asked, form)
            preview = self._parts.writer.preview(caller, board, asked)
        except (KemudiError, ProblemError) as error:
            return self._explained(request, caller, env, form, chosen, asked, error)
        return self._page(request, caller, board, env, form, preview=preview, chosen=chosen, moved=moved)

    def _check(self, request: Request, pair: Pair) -> None:
        """Raise ProblemError for what cannot be copied, whatever the form says."""
        self._parts.gate.require(request, "editor", pair.right.env, pair.right.category)
        if pair.hindrance == "secret":
            detail = sentence("a secret cannot be copied: nobody here can read it; replace it instead")
            raise ProblemError(409, "secret-not-readable", detail)
        if pair.hindrance == "layer":
            raise ProblemError(
                422,
                "validation",
                sentence("%(key)s is set in a layer that other environments share", key=pair.key),
            )

    def _saved(self, request: Request, caller: Caller, board: Board, asked: Asked, form: Form) -> Response:
        saved = self._parts.writer.save(caller, board, asked, once=form.once)
        keys = ", ".join(each.key for each in asked.changes)
        action = "propose" if asked.propose else "change"
        detail = f"copied from {form.source}: {saved.revision[:12]}"
        self._parts.note(request, action, "done", env=asked.env, key=keys, detail=detail)
        if saved.proposed and saved.changed:
            return see_other(f"/e/{asked.env}/changes/{saved.branch.removeprefix(PROPOSALS)}")
        return see_other(f"/e/{asked.env}/compare?from={quoted(form.source)}")

    def _explained(
        self,
        request: Request,
        caller: Caller,
        env: str,
        form: Form,
        chosen: list[Pair],
        asked: Asked,
        error: KemudiError | ProblemError,
    ) -> HTMLResponse:
        known = error if isinstance(error, ProblemError) else from_error(error)
        keys = ", ".join(each.key for each in asked.changes)
        self._parts.note(request, "change", "refused", env=env, key=keys, detail=known.name)
        words = language_of(request, self._parts)
        said: dict[str, Any] = {"failed": words.gettext(known.title)}
        if known.name not in {"approval-required", "proposal-open", "stale-revision"}:
            said["failed"] += f": {words.said(known.detail)}"
        if isinstance(error, StaleSettingError):
            said = {"moved": True}
        elif isinstance(error, PolicyRefusedError):
            told = "; ".join(words.said(each.message) for each in error.findings)
            said["failed"] = f"{words.gettext(known.title)}: {told}"
            said["reason_missing"] = any(is_about_reason(each) for each in error.findings)
        board = self._parts.watch.refresh(ask=False)
        return self._page(
            request,
            caller,
            board,
            env,
            form,
            status=known.status,
            preview=self._again(caller, board, asked),
            chosen=chosen,
            again=known.name == "proposal-open",
            **said,
        )

    def _again(self, caller: Caller, board: Board, asked: Asked) -> Preview | None:
        """The preview beside a refusal; none where that is what fails."""
        try:
            return self._parts.writer.preview(
                caller, board, Asked(asked.env, asked.changes, asked.reason, board.head, operation="promote")
            )
        except (KemudiError, ProblemError):
            return None

    def _page(
        self,
        request: Request,
        caller: Caller,
        board: Board,
        env: str,
        form: Form,
        *,
        status: int = 200,
        preview: Preview | None = None,
        chosen: list[Pair] | None = None,
        **said: Any,
    ) -> HTMLResponse:
        self._parts.environment(board, caller, env)
        source = self._source(caller, board, env, form.source)
        found = self._pairs(caller, board, env, source)
        listed = _listed(found, form)
        refusals = {each.key: each.message for each in preview.refused} if preview is not None else {}
        return page(
            request,
            self._parts,
            "compare.html",
            env,
            "compare",
            status=status,
            board=board,
            form=form,
            source=source,
            others=[each for each in board.environments if each != env and caller.sees(each)],
            pairs=listed[:SHOWN],
            differing=sum(pair.state != "equal" for pair in found.values()),
            left_out=max(0, len(listed) - SHOWN),
            may_copy=any(not pair.hindrance for pair in found.values()),
            refusals=refusals,
            seen=digest(chosen or []),
            head=board.head or "",
            preview=shown(self._parts, board, preview) if preview is not None else None,
            direct=preview.direct if preview is not None else True,
            reason_required=preview.needs.reason_required if preview is not None else False,
            **{"failed": "", "moved": False, "again": False, "reason_missing": False, **said},
        )

    def _source(self, caller: Caller, board: Board, env: str, named: str) -> str:
        """The environment on the left: the one that is named, else the one before this. Raises ProblemError (404)."""
        if named:
            return self._parts.environment(board, caller, named).env
        names = [each for each in board.environments if caller.sees(each)]
        if env not in names or len(names) < 2:
            return ""
        place = names.index(env)
        return names[place - 1] if place else names[1]

    def _pairs(self, caller: Caller, board: Board, env: str, source: str) -> Mapping[str, Pair]:
        if not source or source == env or board.state is None:
            return {}
        left = self._parts.environment(board, caller, source)
        right = self._parts.environment(board, caller, env)
        return pairs(left, right, caller, layers_of(board.state, env)[-1])


def _listed(found: Mapping[str, Pair], form: Form) -> list[Pair]:
    """What differs, or everything; what is ticked stays in the list."""
    words = form.q.casefold().split()
    return [
        pair
        for key, pair in found.items()
        if key in form.keys
        or (
            (form.everything or pair.state != "equal")
            and all(word in pair.left.words or word in pair.right.words for word in words)
        )
    ]


def _once() -> str:
    return secrets.token_urlsafe(12)
