"""Import and export: settings as a file, and a document taken over as one change (console.md 6.12)."""

import secrets
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Board
from kemudi.console.catalogue import visible
from kemudi.console.importing import Form, Reading, mentions_secret, read
from kemudi.console.pages.frame import fields, language_of, page, see_other
from kemudi.console.pages.preview import shown
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError, from_error
from kemudi.console.writing import Asked, Preview, Wanted
from kemudi.repo.changes import PROPOSALS
from kemudi.repo.edits import render
from kemudi.schema.envelope import Envelope
from kemudi.schema.errors import KemudiError
from kemudi.schema.secret import Secret

FORMATS: Final = ("yaml", "json", "env")
_SAVES: Final = frozenset({"commit", "propose", "propose-again"})
_ASKED_BACK: Final = frozenset({"approval-required", "proposal-open"})


@dataclass(frozen=True, slots=True)
class Sent:
    """What the form holds.

    Attributes:
        text: The document; empty where it names a secret, so that none is put back into a page.
        form: How it is written.
        reason: Why.
        expected: The revision that the preview stood on.
        once: Names this very wish.
    """

    text: str = ""
    form: Form = "document"
    reason: str = ""
    expected: str = ""
    once: str = ""


def routes(parts: Parts) -> APIRouter:
    """The page, and the form that takes a document."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    handlers = _Handlers(parts)
    router.add_api_route("/e/{env}/transfer", handlers.show, methods=["GET"])
    router.add_api_route("/e/{env}/transfer", handlers.take, methods=["POST"])
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @needs("viewer")
    def show(self, request: Request, caller: Signed, env: str) -> HTMLResponse:
        """Both halves, with nothing in them."""
        return self._page(request, caller, self._parts.board, env, Sent())

    @needs("editor")
    async def take(self, request: Request, caller: Signed, env: str) -> Response:
        """Preview, save or propose a document."""
        form = await request.form()
        text = await _document(form)
        return await run_in_threadpool(self._answer, request, caller, env, text, fields(form))

    def _answer(
        self, request: Request, caller: Caller, env: str, text: str, said: dict[str, str]
    ) -> Response:
        board = self._parts.watch.refresh(ask=False)
        here, words = self._parts.environment(board, caller, env), language_of(request, self._parts)
        sent = Sent(
            "" if mentions_secret(here, text) else text,
            "env" if said.get("form") == "env" else "document",
            said.get("reason", ""),
            said.get("expected") or board.head or "",
            said.get("once") or secrets.token_urlsafe(12),
        )
        found = read(board, here, caller, text, sent.form, words)
        if found.flaws:
            return self._page(request, caller, board, env, sent, status=422, reading=found)
        if not sent.text:  # what is left of it can be shown
            sent = replace(sent, text=_written(found.wanted), form="document")
        action = said.get("action", "preview")
        if not found.wanted and action in _SAVES:  # pressed twice: it is done
            return see_other(f"/e/{env}/settings")
        if not found.wanted:
            return self._page(request, caller, board, env, sent, reading=found)
        asked = Asked(
            env,
            found.wanted,
            sent.reason,
            sent.expected,
            propose=action != "commit",
            operation="bulk",
            again=action == "propose-again",
        )
        try:
            if action in _SAVES:
                return self._saved(request, caller, board, asked, sent.once)
            preview = self._parts.writer.preview(caller, board, asked)
        except (KemudiError, ProblemError) as error:
            return self._refused(request, caller, env, sent, found, error)
        return self._page(request, caller, board, env, sent, reading=found, preview=preview)

    def _saved(self, request: Request, caller: Caller, board: Board, asked: Asked, once: str) -> Response:
        saved = self._parts.writer.save(caller, board, asked, once=once)
        keys = ", ".join(each.key for each in asked.changes)
        self._parts.note(request, "import", "done", env=asked.env, key=keys, detail=saved.revision[:12])
        if saved.proposed and saved.changed:
            return see_other(f"/e/{asked.env}/changes/{saved.branch.removeprefix(PROPOSALS)}")
        return see_other(f"/e/{asked.env}/settings")

    def _refused(
        self, request: Request, caller: Caller, env: str, sent: Sent, found: Reading, error: Exception
    ) -> HTMLResponse:
        known = error if isinstance(error, ProblemError) else from_error(error)  # type: ignore[arg-type]  # the two that are caught
        self._parts.note(request, "import", "refused", env=env, detail=known.name)
        words = language_of(request, self._parts)
        board = self._parts.watch.refresh(ask=False)
        detail = "" if known.name in _ASKED_BACK else f": {words.said(known.detail)}"
        fresh = replace(sent, expected=board.head or "", once=secrets.token_urlsafe(12))
        return self._page(
            request,
            caller,
            board,
            env,
            fresh,
            status=known.status,
            reading=found,
            failed=words.gettext(known.title) + detail,
            rules=known.more.get("errors", ()),
            again=known.name == "proposal-open",
        )

    def _page(
        self,
        request: Request,
        caller: Caller,
        board: Board,
        env: str,
        sent: Sent,
        *,
        status: int = 200,
        reading: Reading | None = None,
        preview: Preview | None = None,
        **said: Any,
    ) -> HTMLResponse:
        rows = visible(self._parts.environment(board, caller, env), caller)
        return page(
            request,
            self._parts,
            "transfer.html",
            env,
            "transfer",
            status=status,
            board=board,
            formats=FORMATS,
            exported=sum(row.is_set and not row.spec.sensitive for row in rows),
            withheld=sum(row.is_set and row.spec.sensitive for row in rows),
            may_import=any(caller.may("editor", env, row.category) for row in rows),
            sent=sent,
            forms=get_args(Form),
            reading=reading or Reading(),
            preview=shown(self._parts, board, preview) if preview is not None else None,
            direct=preview.direct if preview is not None else True,
            reason_required=preview.needs.reason_required if preview is not None else False,
            **{"failed": "", "rules": (), "again": False, **said},
        )


async def _document(form: FormData) -> str:
    """The uploaded file if there is one, else what was pasted."""
    file = form.get("file")
    if isinstance(file, UploadFile) and file.filename:
        return (await file.read()).decode("utf-8-sig", "replace")
    text = form.get("text", "")
    return text.replace("\r\n", "\n") if isinstance(text, str) else ""


def _written(wanted: tuple[Wanted, ...]) -> str:
    """The changes as a document of their own."""
    lines: list[str] = []
    for layer in dict.fromkeys(each.layer for each in wanted):
        values = {each.key: each.value for each in wanted if each.layer == layer}
        plain = {key: value for key, value in values.items() if not isinstance(value, Secret | Envelope)}
        lines += [f"{layer}:"] if layer else []
        lines += [f"{'  ' if layer else ''}{key}: {render(value)}" for key, value in plain.items()]
    return "\n".join(lines)
