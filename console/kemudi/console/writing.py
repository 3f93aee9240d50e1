"""Changes by people: what they want, checked against their rights, planned, and saved as one commit or proposal."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from kemudi.console.access.gate import read_only
from kemudi.console.access.people import Caller
from kemudi.console.board import Board, Row
from kemudi.console.desired import Desired, layers_of
from kemudi.console.problems import ProblemError, findings_as_errors, no_such_setting
from kemudi.console.pushing import Pusher
from kemudi.console.values import checked
from kemudi.console.waiting import Waiting, sees
from kemudi.console.watch import Watch
from kemudi.repo.change_request import ROLLBACK
from kemudi.repo.changes import UNSET, ChangeRequest, Edit, Prepared, commit, prepare
from kemudi.repo.errors import HeadMovedError
from kemudi.repo.evidence import ServedLog, evidence_of
from kemudi.repo.people import Author
from kemudi.repo.plan_text import as_text
from kemudi.repo.policy import Approval, PolicyContext, policies_of, strictest
from kemudi.repo.verdict import refused
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope
from kemudi.schema.errors import ConflictError
from kemudi.schema.findings import Finding
from kemudi.schema.secret import Secret
from kemudi.schema.sentences import sentence
from kemudi.schema.state import ConfigState

_ATTEMPTS: Final = 20
_REMEMBERED: Final = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """One setting of a change, with its value as JSON.

    Attributes:
        key: The setting.
        value: The new value; in a `Secret` for a sensitive one, or sealed for the layer already.
        unset: Take the line out of the layer instead.
        layer: Where; empty for the environment's own layer.
    """

    key: str
    value: JSON | Secret[JSON] | Envelope = None
    unset: bool = False
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A change that somebody asks for.

    Attributes:
        env: The environment that they look at.
        changes: What they want.
        reason: Why.
        expected: The revision that they saw; None: whatever is there now.
        propose: For somebody else to approve.
        again: Propose though another proposal for the same setting waits.
        back_to: The revision whose value it is, of a rollback.
        operation: Of the commit message: `set`, `rollback`, …
    """

    env: str
    changes: tuple[Wanted, ...]
    reason: str = ""
    expected: str | None = None
    propose: bool = False
    operation: str = "set"
    again: bool = False
    back_to: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do.

    Attributes:
        prepared: The plan, the diff and the message.
        needs: What the policies ask for, over all environments that it touches.
        refused: What they hold against it.
        text: The plan as the command line prints it.
    """

    prepared: Prepared
    needs: Approval
    refused: tuple[Finding, ...]
    text: str

    @property
    def direct(self) -> bool:
        """Whether it may be saved without anybody's approval."""
        return self.needs.direct_commit

    def as_json(self) -> dict[str, Any]:
        """For the API."""
        return {
            "plan": self.prepared.plan.as_json(),
            "text": self.text,
            "diff": self.prepared.diff,
            "refused": findings_as_errors(self.refused),
            "needs": {
                "approvals": self.needs.required,
                "own_approval": self.needs.own_allowed,
                "direct_commit": self.needs.direct_commit,
                "reason": self.needs.reason_required,
            },
        }


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a change.

    Attributes:
        revision: The commit.
        branch: Where it is.
        changed: False when everything was as it should be already.
        proposed: Whether it waits for somebody.
        restart: Settings whose readers keep the old value until they are restarted.
    """

    revision: str
    branch: str
    changed: bool
    proposed: bool
    restart: tuple[str, ...]


class Writer:
    """Plans and saves. One change at a time; several people may ask at once."""

    def __init__(
        self, desired: Desired, watch: Watch, pusher: Pusher, waiting: Waiting, log: ServedLog
    ) -> None:
        self._log = log
        self._desired = desired
        self._watch = watch
        self._pusher = pusher
        self._waiting = waiting
        self._lock = threading.Lock()
        self._done: OrderedDict[str, Saved] = OrderedDict()

    def preview(self, caller: Caller, board: Board, asked: Asked) -> Preview:
        """What a change would do. Has no effect.

        Raises ProblemError for what the caller may not do, InvalidValueError, StaleSettingError, FindingsError,
        ConflictError.
        """
        prepared = self._prepare(caller, board, asked)
        needs = self._needs(board, prepared)
        return Preview(prepared, needs, refused(prepared.plan), as_text(prepared.plan))

    def save(self, caller: Caller, board: Board, asked: Asked, *, once: str = "") -> Saved:
        """Make the commit, or the proposal. `once` names this very wish: asked for twice, it is done once.

        Raises as `preview`, and PolicyRefusedError.
        """
        name = f"{caller.person.login}\0{once}" if once else ""
        with self._lock:
            if name and name in self._done:
                return self._done[name]
            saved = self._save(caller, board, asked)
            if name:
                self._done[name] = saved
                while len(self._done) > _REMEMBERED:
                    self._done.popitem(last=False)
        self._watch.refresh(ask=False)
        if saved.changed:
            self._pusher.push(saved.branch)
        return saved

    def _save(self, caller: Caller, board: Board, asked: Asked) -> Saved:
        asked = replace(asked, expected=asked.expected or board.head)
        for _ in range(_ATTEMPTS):
            prepared = self._prepare(caller, board, asked)
            if not asked.propose and not self._may_commit(caller, board, prepared):
                raise ProblemError(
                    403,
                    "approval-required",
                    sentence("this cannot be saved directly here; propose it, for somebody to approve"),
                )
            if asked.propose and not asked.again:
                self._check_only_one(caller, board, prepared)
            try:
                done = commit(prepared)
            except HeadMovedError:
                continue  # by a change of other settings; of these it would have been a StaleSettingError
            restart = tuple(sorted({each.key for each in prepared.plan.changes if each.requires_restart}))
            return Saved(done.revision, done.branch, done.changed, asked.propose, restart)
        raise ConflictError(
            sentence("the branch moves faster than the change can be made"), hint=sentence("Try again.")
        )

    def _check_only_one(self, caller: Caller, board: Board, prepared: Prepared) -> None:
        """Two open proposals for one setting are rarely what people want. Raises ProblemError for a second one."""
        other = self._waiting.of({(each.env, each.key) for each in prepared.plan.changes})
        if other is not None:
            named = other.id if sees(caller, board, other) else None
            detail = sentence("a proposal for the same setting waits already")
            raise ProblemError(409, "proposal-open", detail, proposal=named)

    def _prepare(self, caller: Caller, board: Board, asked: Asked) -> Prepared:
        state = self._state(board)
        edits = tuple(self._edit(caller, board, state, asked.env, each) for each in asked.changes)
        request = ChangeRequest(
            edits=edits,
            reason=asked.reason.strip(),
            author=Author(caller.person.name, caller.person.email),
            expected=asked.expected,
            propose=asked.propose,
            operation=asked.operation,
            trailers=((ROLLBACK, asked.back_to),) if asked.back_to else (),
        )
        with evidence_of(self._desired.root, self._log) as live_since:
            context = PolicyContext(datetime.now(UTC), live_since=live_since)
            return prepare(self._desired.root, request, context=context, states=self._desired.state)

    def _edit(self, caller: Caller, board: Board, state: ConfigState, env: str, wanted: Wanted) -> Edit:
        row = visible_row(board, caller, env, wanted.key)
        layers = layers_of(state, env)
        layer = wanted.layer or layers[-1]
        if layer not in layers:
            raise ProblemError(
                422,
                "validation",
                sentence(
                    "%(env)s has no layer of that name; it has: %(layers)s", env=env, layers=", ".join(layers)
                ),
            )
        for reached in reach_of(state, layer):
            if not caller.may("editor", reached, row.category):
                raise read_only("editor", reached, ())
        if wanted.unset:
            return Edit(layer, row.key, UNSET)
        if isinstance(wanted.value, Envelope):
            return Edit(layer, row.key, wanted.value)
        plain = wanted.value.reveal() if isinstance(wanted.value, Secret) else wanted.value
        value = checked(state.contracts[row.category], row.spec, plain)
        return Edit(layer, row.key, Secret(value) if row.spec.sensitive else value)

    def _needs(self, board: Board, prepared: Prepared) -> Approval:
        """The strictest of all environments that the change touches."""
        read = policies_of(self._state(board))
        if read.findings:
            detail = sentence("the policies in kemudi.yaml cannot be read, so nothing can be allowed by them")
            raise ProblemError(403, "refused", detail, errors=findings_as_errors(read.findings))
        return strictest(read.policies, prepared.plan)

    def _may_commit(self, caller: Caller, board: Board, prepared: Prepared) -> bool:
        """By policy, or as break-glass by somebody who may approve."""
        needs = self._needs(board, prepared)
        if needs.direct_commit:
            return True
        return all(
            needs.is_break_glass(each.key) and caller.may("approver", each.env, each.category)
            for each in prepared.plan.changes
        )

    def _state(self, board: Board) -> ConfigState:
        if board.state is None or board.git_problem:
            raise ProblemError(
                503,
                "unavailable",
                sentence("git cannot be read: %(problem)s", problem=board.git_problem or sentence("not yet")),
            )
        return board.state


def visible_row(board: Board, caller: Caller, env: str, key: str) -> Row:
    """A row, by look-up; 404 for what is not there or not shown."""
    here = board.environments.get(env)
    row = here.rows.get(key) if here is not None else None
    if row is None or caller.role(env, row.category) is None:
        raise no_such_setting()
    return row


def reach_of(state: ConfigState, layer: str) -> Sequence[str]:
    """The environments that a layer is part of."""
    return state.manifest.environments_of(layer) if state.manifest is not None else ()


def reach(state: ConfigState, env: str) -> Mapping[str, Sequence[str]]:
    """The same for every layer of an environment."""
    return {layer: reach_of(state, layer) for layer in layers_of(state, env)}
