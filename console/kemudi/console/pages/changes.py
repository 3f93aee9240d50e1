"""Changes that wait for approval, in three cuts; one of them with plan, diff and checks (console.md 6.6)."""

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Board
from kemudi.console.pages.frame import fields, language_of, page, see_other
from kemudi.console.pages.preview import diff_lines
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError, from_error
from kemudi.console.waiting import Waiting, has_approved, is_mine, touches
from kemudi.repo.plan_text import as_text
from kemudi.repo.proposal_model import Proposal
from kemudi.schema.errors import KemudiError

SHOWN: Final = ("waiting", "mine", "all")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What somebody may do with a proposal now.

    Attributes:
        approve: Approve it.
        merge: Put it into effect.
        withdraw: Take it away.
        mine: Whether they made it.
        approved: Whether they have approved it as it is.
        approver: Whether they have the role to approve.
        ask: Ask for changes.
    """

    approve: bool
    merge: bool
    withdraw: bool
    mine: bool
    approved: bool
    approver: bool
    ask: bool

    @property
    def waits(self) -> bool:
        """Whether the next step is theirs."""
        return self.approve or self.merge


def routes(parts: Parts) -> APIRouter:
    """The list, one proposal, and what can be done with it."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    handlers = _Handlers(parts)
    router.add_api_route("/e/{env}/changes", handlers.listed, methods=["GET"])
    router.add_api_route("/e/{env}/changes/{id}", handlers.one, methods=["GET"])
    router.add_api_route("/e/{env}/changes/{id}/approve", handlers.approve, methods=["POST"])
    router.add_api_route("/e/{env}/changes/{id}/request", handlers.ask_for_changes, methods=["POST"])
    router.add_api_route("/e/{env}/changes/{id}/merge", handlers.merge, methods=["POST"])
    router.add_api_route("/e/{env}/changes/{id}/withdraw", handlers.withdraw, methods=["POST"])
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @needs("viewer")
    def listed(self, request: Request, caller: Signed, env: str) -> HTMLResponse:
        """The list, in three cuts."""
        board = self._parts.board
        self._parts.environment(board, caller, env)
        wanted = request.query_params.get("show", "")
        show = wanted if wanted in SHOWN else "waiting"
        self._parts.pusher.look()
        found = [each for each in self._parts.waiting.shown(caller, board) if touches(each, env)]
        allowed = {each.id: allowed_to(caller, board, self._parts.waiting, each) for each in found}
        cuts = {
            "waiting": [each for each in found if allowed[each.id].waits],
            "mine": [each for each in found if allowed[each.id].mine],
            "all": found,
        }
        counts = {name: len(cut) for name, cut in cuts.items()}
        return page(
            request,
            self._parts,
            "changes.html",
            env,
            "changes",
            board=board,
            show=show,
            proposals=cuts[show],
            counts=counts,
            done=request.query_params.get("done", ""),
        )

    @needs("viewer")
    def one(self, request: Request, caller: Signed, env: str, id: str) -> HTMLResponse:  # noqa: A002  # the name in the address
        """One proposal."""
        return self._page(request, caller, env, id)

    @needs("approver")
    async def approve(self, request: Request, caller: Signed, env: str, id: str) -> Response:  # noqa: A002  # see above
        """Approve it."""
        sent = fields(await request.form())
        return await run_in_threadpool(self._done, request, caller, env, id, "approve", sent)

    @needs("approver")
    async def ask_for_changes(self, request: Request, caller: Signed, env: str, id: str) -> Response:  # noqa: A002  # see above
        """Ask for changes, with a comment."""
        sent = fields(await request.form())
        return await run_in_threadpool(self._done, request, caller, env, id, "ask-for-changes", sent)

    @needs("editor")
    async def merge(self, request: Request, caller: Signed, env: str, id: str) -> Response:  # noqa: A002  # see above
        """Put it into effect."""
        sent = fields(await request.form())
        return await run_in_threadpool(self._done, request, caller, env, id, "merge", sent)

    @needs("editor")
    async def withdraw(self, request: Request, caller: Signed, env: str, id: str) -> Response:  # noqa: A002  # see above
        """Take it away."""
        sent = fields(await request.form())
        return await run_in_threadpool(self._done, request, caller, env, id, "withdraw", sent)

    def _done(
        self, request: Request, caller: Caller, env: str, name: str, action: str, sent: dict[str, str]
    ) -> Response:
        waiting, board, tip = self._parts.waiting, self._parts.board, sent.get("revision", "")
        comment = sent.get("comment", "").replace("\r\n", "\n")
        try:
            if action == "ask-for-changes":
                waiting.ask_for_changes(request, board, name, tip, comment)
            else:
                steps = {"approve": waiting.approve, "merge": waiting.merge, "withdraw": waiting.withdraw}
                steps[action](request, board, name, tip)
        except (KemudiError, ProblemError) as error:
            known = error if isinstance(error, ProblemError) else from_error(error)
            if known.name == "not-found":
                raise
            self._parts.note(request, action, "refused", env=env, detail=f"{name[:80]}: {known.name}")
            words = language_of(request, self._parts)
            said = f"{words.gettext(known.title)}: {words.said(known.detail)}"
            return self._page(request, caller, env, name, status=known.status, failed=said, comment=comment)
        self._parts.note(request, action, "done", env=env, detail=f"{name} at {tip[:12]}")
        stays = action in {"approve", "ask-for-changes"}
        return see_other(f"/e/{env}/changes/{name}" if stays else f"/e/{env}/changes?show=all&done={action}")

    def _page(
        self,
        request: Request,
        caller: Caller,
        env: str,
        name: str,
        *,
        status: int = 200,
        failed: str = "",
        comment: str = "",
    ) -> HTMLResponse:
        board = self._parts.board
        self._parts.pusher.look()
        self._parts.environment(board, caller, env)
        found = self._parts.waiting.get(caller, board, name)
        changes = tuple(found.plan.changes)
        return page(
            request,
            self._parts,
            "proposal.html",
            env,
            "changes",
            status=status,
            board=board,
            proposal=found,
            changes=changes,
            lines=diff_lines(found.diff),
            text=as_text(found.plan),
            allowed=allowed_to(caller, board, self._parts.waiting, found),
            restart=sorted({each.key for each in changes if each.requires_restart}),
            failed=failed,
            comment=comment,
        )


def allowed_to(caller: Caller, board: Board, waiting: Waiting, found: Proposal) -> Allowed:
    """What somebody may do with a proposal now."""
    mine, approved = is_mine(caller, found), has_approved(caller, found)
    editor, approver = (waiting.may(caller, board, found, role) for role in ("editor", "approver"))
    other = not mine or found.needs.own_allowed
    return Allowed(
        approve=approver and other and not approved and found.state in {"waiting", "changes"},
        merge=editor and found.state == "ready",
        withdraw=(mine and editor) or approver,
        mine=mine,
        approved=approved,
        approver=approver,
        ask=approver and other and found.state in {"waiting", "ready", "changes", "refused"},
    )
