"""Changes that wait for approval, as people may see and decide them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastapi import Request

from kemudi.console.access.gate import Gate, current_caller
from kemudi.console.access.people import OWNER, Caller, Person, at_least
from kemudi.console.board import Board
from kemudi.console.events import Hub
from kemudi.console.problems import ProblemError, not_found
from kemudi.console.pushing import Pusher
from kemudi.console.watch import Watch
from kemudi.repo.approvals import BY_THE_CONSOLE, Seal, Statement, same_person
from kemudi.repo.changes import Committed
from kemudi.repo.errors import UnknownRevisionError
from kemudi.repo.evidence import ServedLog
from kemudi.repo.people import Author
from kemudi.repo.proposal_model import Proposal
from kemudi.repo.proposals import Proposals
from kemudi.schema.errors import KemudiError
from kemudi.schema.manifest import Role
from kemudi.schema.sentences import sentence

STATES: Final = ("waiting", "ready", "changes", "refused", "conflict", "invalid", "empty")


class Waiting:
    """Proposals behind the roles: who may see one may read all of it. Safe to use from several threads."""

    def __init__(
        self, root: Path, seal: Seal, gate: Gate, watch: Watch, hub: Hub, pusher: Pusher, log: ServedLog
    ) -> None:
        self._proposals = Proposals(root, seal, self._may_review, log)
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
        approved = self._proposals.approve(name, tip, _person(caller), _names(caller))
        self._told(board, found)
        return approved

    def ask_for_changes(self, request: Request, board: Board, name: str, tip: str, comment: str) -> Proposal:
        """Ask for changes of the commit `tip`. Raises ProblemError, KemudiError."""
        caller = current_caller(request)
        found = self.get(caller, board, name)
        self._require(request, board, found, "approver")
        asked = self._proposals.ask_for_changes(name, tip, _person(caller), comment, _names(caller))
        self._told(board, found)
        return asked

    def merge(self, request: Request, board: Board, name: str, tip: str) -> Committed:
        """Put the commit `tip` into effect. Raises ProblemError, KemudiError."""
        caller = current_caller(request)
        found = self.get(caller, board, name)
        self._require(request, board, found, "editor")
        if found.tip == tip and found.state == "changes":
            names = ", ".join(each.by.name for each in found.asked)
            raise ProblemError(409, "changes-asked", sentence("%(names)s asked for changes", names=names))
        if found.tip == tip and found.state == "waiting":
            raise ProblemError(
                403,
                "approval-required",
                sentence(
                    "approvals are missing: %(missing)s of %(required)s",
                    missing=found.missing,
                    required=found.needs.required,
                ),
            )
        done = self._proposals.merge(name, tip, _person(caller))
        self._watch.refresh(ask=False)
        self._pusher.push(done.branch)
        self._told(board, found)
        return done

    def withdraw(self, request: Request, board: Board, name: str, tip: str) -> Proposal:
        """Take a proposal away: its author may, and whoever may approve it. Raises ProblemError, KemudiError."""
        caller = current_caller(request)
        found = self.get(caller, board, name)
        role: Role = "editor" if found.is_author(_person(caller)) else "approver"
        self._require(request, board, found, role)
        self._proposals.withdraw(name, tip)
        self._told(board, found)
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

    def _told(self, board: Board, found: Proposal) -> None:
        """Open pages look anew, of those who may see it; the remote gets it."""
        self._pusher.exchange()
        self.tell(board, found)

    def tell(self, board: Board, found: Proposal) -> None:
        """Tell open pages that a proposal is new, otherwise, or gone; those of people who may see it."""
        places = tuple((env, category or "") for _, env, category in _reach(board, found, "viewer"))
        self._hub.publish([("", "", "")], self._watch.board.head or board.head or "", places=places)

    def all(self) -> tuple[Proposal, ...]:
        """Every proposal, whoever may see it. Raises KemudiError."""
        return self._proposals.all()

    def stamp(self) -> object:
        """Something that is another one when anything about proposals has changed in git. Raises KemudiError."""
        return self._proposals.stamp()

    def _may_review(self, said: Statement, found: Proposal) -> bool:
        """Whether somebody has the role still. What the machine gave, by link or token, the seal vouches for."""
        if BY_THE_CONSOLE in said.names:
            return True
        board, names = self._watch.board, {name.casefold() for name in said.names}
        roles = board.state.roles if board.state is not None else ()
        grants = tuple(grant for grant in roles if grant.who.casefold() in names)
        reviewer = Caller(Person("", said.by.name, said.by.email), grants, "note")
        return self.may(reviewer, board, found, "approver")


def sees(caller: Caller, board: Board, found: Proposal) -> bool:
    """Whether all of a proposal may be shown to somebody: its diff cannot be shown in part."""
    return all(caller.may("viewer", env, category) for _, env, category in _reach(board, found, "viewer"))


def is_mine(caller: Caller, found: Proposal) -> bool:
    """Whether somebody made it."""
    return found.is_author(_person(caller))


def has_approved(caller: Caller, found: Proposal) -> bool:
    """Whether somebody has approved it as it is now."""
    return any(same_person(each.by, _person(caller)) for each in found.counted)


def has_asked(caller: Caller, found: Proposal) -> bool:
    """Whether somebody asks for changes of it as it is now."""
    return any(same_person(each.by, _person(caller)) for each in found.asked)


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


def _names(caller: Caller) -> tuple[str, ...]:
    """By which names of the roles file somebody may approve, so that others can look whether they still may."""
    if caller.via == "token" or caller.grants is OWNER:
        return (BY_THE_CONSOLE,)
    return tuple(dict.fromkeys(grant.who for grant in caller.grants if at_least(grant.role, "approver")))
