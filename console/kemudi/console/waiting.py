"""Changes that wait for approval, as people may see and decide them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastapi import Request

from kemudi.console.access.gate import Gate, current_caller
from kemudi.console.access.people import Caller
from kemudi.console.board import Board
from kemudi.console.events import Hub
from kemudi.console.problems import ProblemError, not_found
from kemudi.console.pushing import Pusher
from kemudi.console.watch import Watch
from kemudi.repo.changes import Committed
from kemudi.repo.errors import UnknownRevisionError
from kemudi.repo.evidence import ServedLog
from kemudi.repo.people import Author
from kemudi.repo.proposals import Proposal, Proposals
from kemudi.schema.errors import KemudiError
from kemudi.schema.manifest import Role

STATES: Final = ("waiting", "ready", "refused", "conflict", "invalid", "empty")


class Waiting:
    """Proposals behind the roles: who may see one may read all of it. Safe to use from several threads."""

    def __init__(
        self, root: Path, gate: Gate, watch: Watch, hub: Hub, pusher: Pusher, log: ServedLog
    ) -> None:
        self._proposals = Proposals(root, log)
        self._gate = gate
        self._watch = watch
        self._hub = hub
        self._pusher = pusher

    def shown(self, caller: Caller, board: Board) -> tuple[Proposal, ...]:
        """What somebody may see, the newest first; nothing while git cannot be read."""
        try:
            found = self._proposals.all()
        except KemudiError:
            return ()
        return tuple(each for each in found if sees(caller, board, each))

    def get(self, caller: Caller, board: Board, name: str) -> Proposal:
        """One of them. Raises ProblemError (404) also for one that is not shown to the caller."""
        try:
            found = self._proposals.get(name)
        except UnknownRevisionError:
            raise not_found() from None
        if not sees(caller, board, found):
            raise not_found()
        return found

    def of(self, places: set[tuple[str, str]]) -> Proposal | None:
        """A proposal that changes one of these settings, whoever may see it. Raises KemudiError."""
        for each in self._proposals.all():
            if each.state != "empty" and places & {(change.env, change.key) for change in each.plan.changes}:
                return each
        return None

    def approve(self, request: Request, board: Board, name: str, tip: str) -> Proposal:
        """Approve the commit `tip`. Raises ProblemError, KemudiError."""
        caller = current_caller(request)
        found = self.get(caller, board, name)
        self._require(request, board, found, "approver")
        approved = self._proposals.approve(name, tip, _person(caller))
        self._tell(board)
        return approved

    def merge(self, request: Request, board: Board, name: str, tip: str) -> Committed:
        """Put the commit `tip` into effect. Raises ProblemError, KemudiError."""
        caller = current_caller(request)
        found = self.get(caller, board, name)
        self._require(request, board, found, "editor")
        if found.tip == tip and found.state == "waiting":
            raise ProblemError(
                403, "approval-required", f"approvals are missing: {found.missing} of {found.needs.required}"
            )
        done = self._proposals.merge(name, tip, _person(caller))
        self._watch.refresh(ask=False)
        self._pusher.push(done.branch)
        self._tell(board)
        return done

    def withdraw(self, request: Request, board: Board, name: str, tip: str) -> Proposal:
        """Take a proposal away: its author may, and whoever may approve it. Raises ProblemError, KemudiError."""
        caller = current_caller(request)
        found = self.get(caller, board, name)
        role: Role = "editor" if found.is_author(_person(caller)) else "approver"
        self._require(request, board, found, role)
        self._proposals.withdraw(name, tip)
        self._tell(board)
        return found

    def may(self, caller: Caller, board: Board, found: Proposal, role: Role) -> bool:
        """Whether somebody has a role for all that a proposal changes."""
        return all(caller.may(needed, env, category) for needed, env, category in _reach(board, found, role))

    def close(self) -> None:
        """Close the handle."""
        self._proposals.close()

    def _require(self, request: Request, board: Board, found: Proposal, role: Role) -> None:
        for needed, env, category in _reach(board, found, role):
            self._gate.require(request, needed, env, category)

    def _tell(self, board: Board) -> None:
        self._hub.publish([("", "", "")], self._watch.board.head or board.head or "")


def sees(caller: Caller, board: Board, found: Proposal) -> bool:
    """Whether all of a proposal may be shown to somebody: its diff cannot be shown in part."""
    return all(caller.may("viewer", env, category) for _, env, category in _reach(board, found, "viewer"))


def is_mine(caller: Caller, found: Proposal) -> bool:
    """Whether somebody made it."""
    return found.is_author(_person(caller))


def has_approved(caller: Caller, found: Proposal) -> bool:
    """Whether somebody has approved it as it is now."""
    return any(each.by.email.casefold() == caller.person.email.casefold() for each in found.approvals)


def touches(found: Proposal, env: str) -> bool:
    """Whether a proposal belongs on the page of an environment; what touches none by name belongs on all."""
    touched = {change.env for change in found.plan.changes}
    return not touched or env in touched


def _reach(board: Board, found: Proposal, role: Role) -> Iterator[tuple[Role, str, str | None]]:
    """Which role is needed where. What governs the rest (contracts, roles, policies) is decided by admins."""
    manifest = board.state.manifest if board.state is not None else None
    if found.only_values and found.files and manifest is not None:
        for path in found.files:
            layer, _, name = path.partition("/")
            for env in manifest.environments_of(layer):
                yield role, env, name.removesuffix(".yaml")
        return
    strict: Role = "viewer" if role == "viewer" else "admin"
    for env in board.environments:
        yield strict, env, None


def _person(caller: Caller) -> Author:
    return Author(caller.person.name, caller.person.email)
