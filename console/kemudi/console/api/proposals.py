"""Changes that wait for approval: list, look, approve, put into effect, withdraw."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from kemudi.console.access.gate import GatedRoute, Signed, signed_in
from kemudi.console.api.described import problems
from kemudi.console.api.shapes import (
    ApprovalOut,
    AskedOut,
    AskIn,
    ChangeOut,
    ProposalOut,
    ProposalPage,
    TipIn,
)
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError, findings_as_errors, from_error
from kemudi.console.waiting import STATES
from kemudi.repo.approvals import Statement
from kemudi.repo.plan_text import as_text
from kemudi.repo.proposal_model import Proposal
from kemudi.schema.errors import KemudiError

State = Annotated[str, Query(pattern=f"^(|{'|'.join(STATES)})$", description="Only those in this state.")]
Id = Annotated[str, Path(description="Name of a proposal.", examples=["set-sync-batch-size-in-dev"])]
Tip = Annotated[str, Query(pattern="^[0-9a-f]{40}$", description="The commit as it was read.")]


def routes(parts: Parts) -> APIRouter:
    """Everything about proposals."""
    router = APIRouter(route_class=GatedRoute, prefix="/api/v1", tags=["proposals"])
    handlers = _Handlers(parts)
    add = router.add_api_route
    refusals = problems(403, 404, 409)
    add("/changes", handlers.listed, methods=["GET"])
    add("/changes/{id}", handlers.one, methods=["GET"], responses=problems(404))
    add("/changes/{id}/approvals", handlers.approve, methods=["POST"], responses=refusals)
    add("/changes/{id}/merge", handlers.merge, methods=["POST"], responses=refusals)
    add("/changes/{id}", handlers.withdraw, methods=["DELETE"], responses=refusals)
    add("/changes/{id}/requests", handlers.ask_for_changes, methods=["POST"], responses=refusals)
    return router


class _Handlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @signed_in
    def listed(self, caller: Signed, state: State = "") -> ProposalPage:
        """The changes that wait, the newest first; those that the caller may see."""
        found = self._parts.waiting.shown(caller, self._parts.board)
        items = [proposal_out(each) for each in found if state in {"", each.state}]
        return ProposalPage(items=items, revision=self._parts.board.head)

    @signed_in
    def one(self, caller: Signed, id: Id) -> ProposalOut:  # noqa: A002  # the name in the address
        """One of them, with its plan and its diff as they are against the branch now."""
        return proposal_out(self._parts.waiting.get(caller, self._parts.board, id))

    @signed_in
    def approve(self, request: Request, caller: Signed, id: Id, body: TipIn) -> ProposalOut:  # noqa: A002, ARG002  # see above
        """Approve the commit `revision` as it was read; a change of the proposal after that needs approval again."""
        try:
            found = self._parts.waiting.approve(request, self._parts.board, id, body.revision)
        except (KemudiError, ProblemError) as error:
            raise self._refused(request, "approve", id, error) from None
        self._parts.note(request, "approve", "done", detail=f"{id} at {body.revision[:12]}")
        return proposal_out(found)

    @signed_in
    def ask_for_changes(self, request: Request, caller: Signed, id: Id, body: AskIn) -> ProposalOut:  # noqa: A002, ARG002  # see above
        """Ask for changes of the commit `revision`: no merge until it moves, or the same person approves it."""
        try:
            found = self._parts.waiting.ask_for_changes(
                request, self._parts.board, id, body.revision, body.comment
            )
        except (KemudiError, ProblemError) as error:
            raise self._refused(request, "ask-for-changes", id, error) from None
        self._parts.note(request, "ask-for-changes", "done", detail=f"{id} at {body.revision[:12]}")
        return proposal_out(found)

    @signed_in
    def merge(self, request: Request, caller: Signed, id: Id, body: TipIn) -> ChangeOut:  # noqa: A002  # see above
        """Put the commit `revision` into effect, as a merge commit that names who approved."""
        parts = self._parts
        restart = _restarts(parts.waiting.get(caller, parts.board, id))
        try:
            done = parts.waiting.merge(request, parts.board, id, body.revision)
        except (KemudiError, ProblemError) as error:
            raise self._refused(request, "merge", id, error) from None
        parts.note(request, "merge", "done", detail=f"{id} as {done.revision[:12]}")
        waits = any(each.branch == done.branch for each in parts.pusher.pending)
        pushed = None if not parts.pusher.has_remote() else not waits
        return ChangeOut(
            id=id,
            state="merged",
            revision=done.revision,
            branch=done.branch,
            pushed=pushed,
            requires_restart=restart,
        )

    @signed_in
    def withdraw(
        self,
        request: Request,
        caller: Signed,  # noqa: ARG002  # the gate's
        id: Id,  # noqa: A002  # the name in the address
        revision: Tip,
    ) -> ChangeOut:
        """Take a proposal away that is still at the commit `revision`."""
        try:
            found = self._parts.waiting.withdraw(request, self._parts.board, id, revision)
        except (KemudiError, ProblemError) as error:
            raise self._refused(request, "withdraw", id, error) from None
        self._parts.note(request, "withdraw", "done", detail=f"{id} at {revision[:12]}")
        return ChangeOut(
            id=id, state="withdrawn", revision=revision, branch=found.branch, pushed=None, requires_restart=[]
        )

    def _refused(self, request: Request, action: str, name: str, error: Exception) -> ProblemError:
        known = error if isinstance(error, ProblemError) else from_error(error)  # type: ignore[arg-type]  # the two that are caught
        if known.name != "not-found":
            self._parts.note(request, action, "refused", detail=f"{name[:80]}: {known.name}")
        return known


def proposal_out(found: Proposal) -> ProposalOut:
    """A proposal for the wire. Plan and diff hold no secret."""
    plan: dict[str, Any] = found.plan.as_json()
    return ProposalOut(
        id=found.id,
        state=found.state,
        revision=found.tip,
        branch=found.branch,
        author=found.author.name,
        subject=found.subject,
        reason=found.reason,
        at=found.at.isoformat(),
        plan=plan,
        text=as_text(found.plan),
        diff=found.diff,
        approvals=[
            ApprovalOut(by=each.by.name, at=_at(each), counts=each.counts, against=each.against)
            for each in found.approvals
        ],
        changes_asked=[AskedOut(by=each.by.name, at=_at(each), comment=each.comment) for each in found.asked],
        missing=found.missing,
        refused=findings_as_errors(found.refused),
        problem=found.problem or None,
        requires_restart=_restarts(found),
    )


def _at(said: Statement) -> str:
    return said.at.isoformat(timespec="seconds")


def _restarts(found: Proposal) -> list[str]:
    return sorted({each.key for each in found.plan.changes if each.requires_restart})
