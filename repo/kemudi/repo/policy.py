"""Policies: may this change be made, by these people, at this hour? A plan goes in, and comes out with findings.

What is not known is not held against a change, and not taken for granted either: an unknown reason or approval is a
warning that says what will be needed. A value of which nobody can prove that it ran has not run.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from kemudi.repo import policy_exceptions
from kemudi.repo.plan_model import Change, Plan
from kemudi.repo.policy_model import (
    Approvals,
    BreakGlass,
    ChangeSize,
    Freeze,
    Owners,
    Policy,
    Promotion,
    ProposalsOnly,
    ReadPolicies,
    Reason,
    Scope,
)
from kemudi.repo.policy_reader import read_policies
from kemudi.schema import policy_rules as rules
from kemudi.schema.documents import JSON
from kemudi.schema.findings import Finding
from kemudi.schema.manifest import FILE
from kemudi.schema.sentences import Sentence, sentence
from kemudi.schema.state import ConfigState

__all__ = [
    "Approval",
    "Policy",
    "PolicyContext",
    "ReadPolicies",
    "Scope",
    "approval",
    "judge",
    "policies_of",
    "read_policies",
    "strictest",
]

LiveSince = Callable[[str, str, JSON], datetime | None]
Trailers = Mapping[str, str] | Sequence[tuple[str, str]]

# What a break-glass policy lifts: an emergency has no hours, no order and no second person at hand.
_LIFTED: Final = (Freeze, Promotion, Owners, Approvals, ProposalsOnly, ChangeSize)
_PROPOSE: Final = sentence("propose the change: --propose")


def _not_run(env: str, key: str, value: JSON) -> datetime | None:  # noqa: ARG001  # the signature is the seam
    return None


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What a change is judged by, beside itself.

    Attributes:
        now: The time, with a zone.
        author: Who makes it: an e-mail address, or `Name <address>`. None: not known.
        reason: Why. None: not known yet; empty: there is none.
        trailers: Of the commit message; a name may come several times.
        approvals: Who approved, as `author`. None: not known yet.
        live_since: Since when an environment has been serving this value of a setting without a break; None: it does
            not, or there is no evidence.
        direct: The change goes to the branch itself, not to a proposal.
    """

    now: datetime
    author: str | None = None
    reason: str | None = None
    trailers: Trailers = ()
    approvals: tuple[str, ...] | None = None
    live_since: LiveSince = field(default=_not_run)
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Approval:
    """What a change of some categories in one environment needs before it may be made.

    Attributes:
        required: How many people must approve.
        own_allowed: Whether the author counts.
        direct_commit: Whether it may go to the branch itself; else it is proposed.
        reason_required: Whether it must say why.
        reason_minimum: In characters.
        break_glass: Settings, with `*`, that may be changed directly all the same.
    """

    required: int = 0
    own_allowed: bool = True
    direct_commit: bool = True
    reason_required: bool = False
    reason_minimum: int = 0
    break_glass: tuple[str, ...] = ()

    def is_break_glass(self, key: str) -> bool:
        """Whether a setting may be changed directly, as in an emergency."""
        return bool(self.break_glass) and Scope(keys=self.break_glass).has_key(key)


def policies_of(state: ConfigState) -> ReadPolicies:
    """The policies of a config repo at one revision, with findings at their places."""
    file = state.files.get(FILE)
    if state.manifest is None:
        return ReadPolicies(())
    return read_policies(state.manifest, file.data if file is not None else None)


def approval(policies: Iterable[Policy], env: str, categories: Iterable[str]) -> Approval:
    """What a change of any of `categories` in `env` needs."""
    names = tuple(categories)
    found = [
        each
        for each in policies
        if not each.is_warning
        and each.scope.has_environment(env)
        and (not names or any(each.scope.has_category(name) for name in names))
    ]
    approvals = [each.terms for each in found if isinstance(each.terms, Approvals)]
    reasons = [each.terms.minimum for each in found if isinstance(each.terms, Reason)]
    proposals = any(isinstance(each.terms, ProposalsOnly) for each in found)
    keys = [key for each in found if isinstance(each.terms, BreakGlass) for key in each.scope.keys]  # a field
    return Approval(
        max((each.required for each in approvals), default=0),
        all(each.own for each in approvals),
        not approvals and not proposals,
        bool(reasons),
        max(reasons, default=0),
        tuple(dict.fromkeys(keys)),
    )


def strictest(policies: Iterable[Policy], plan: Plan) -> Approval:
    """What a plan needs over all the environments that it touches."""
    known, found = tuple(policies), Approval()
    for each in plan.environments:
        if each.changes:
            here = approval(known, each.env, sorted({change.category for change in each.changes}))
            found = Approval(
                max(found.required, here.required),
                found.own_allowed and here.own_allowed,
                found.direct_commit and here.direct_commit,
                found.reason_required or here.reason_required,
                max(found.reason_minimum, here.reason_minimum),
                found.break_glass + here.break_glass,
            )
    return found


def judge(plan: Plan, policies: Iterable[Policy], context: PolicyContext) -> Plan:
    """The plan with what the policies say of it; exceptions by trailer are applied, and recorded."""
    known = tuple(policies)
    lifted = [each.scope for each in known if isinstance(each.terms, BreakGlass)]
    environments = tuple(
        replace(each, changes=tuple(_judged(change, known, lifted, context) for change in each.changes))
        for each in plan.environments
    )
    found = [*plan.findings, *_of_the_whole(plan, known, lifted, context)]
    judged = replace(plan, environments=environments, findings=tuple(dict.fromkeys(found)))
    return policy_exceptions.apply(judged, known, context.trailers)


def _judged(
    change: Change, policies: tuple[Policy, ...], lifted: list[Scope], context: PolicyContext
) -> Change:
    found = [
        finding
        for policy in _about(change, policies, lifted)
        if (finding := _finding(policy, change, context)) is not None
    ]
    return replace(change, findings=(*change.findings, *found)) if found else change


def _about(change: Change, policies: tuple[Policy, ...], lifted: list[Scope]) -> Iterator[Policy]:
    at = (change.env, change.category, change.key)
    emergency = any(scope.covers(*at) for scope in lifted)
    for policy in policies:
        if policy.scope.covers(*at) and not (emergency and isinstance(policy.terms, _LIFTED)):
            yield policy


def _finding(policy: Policy, change: Change, context: PolicyContext) -> Finding | None:
    """What one policy says of one change."""
    match policy.terms:
        case ChangeSize(percent):
            said = _too_large(change, percent)
        case Freeze(calendar):
            until = calendar.frozen_until(context.now)
            said = _frozen(change.env, until) if until else None
        case Promotion(source, hours):
            said = _not_promoted(change, source, hours, context)
        case Owners(members):
            return _owner_missing(policy, change, members, context)
        case _:
            return None  # about the change as a whole
    return None if said is None else _note(policy, said, key=change.key, change=change)


def _frozen(env: str, until: datetime) -> Sentence:
    return sentence("%(env)s is frozen until %(moment)s", env=env, moment=until)


def _too_large(change: Change, percent: float) -> Sentence | None:
    old, new = _number(change.old), _number(change.new)
    if old is None or new is None or old == new:
        return None
    size = (new - old) / abs(old) * 100 if old else math.inf
    if abs(size) <= percent:
        return None
    where = {"key": change.key, "env": change.env, "most": percent}
    if not old:
        return sentence("%(key)s changes from 0 in %(env)s; at most %(most)s %% is allowed", **where)
    return sentence(
        "%(key)s changes by %(sign)s%(size)s %% in %(env)s; at most %(most)s %% is allowed",
        sign="-" if size < 0 else "+",
        size=round(abs(size)),
        **where,
    )


def _number(value: JSON) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _not_promoted(change: Change, source: str, hours: float, context: PolicyContext) -> Sentence | None:
    if change.sensitive or change.kind == "remove" or change.env == source:
        return None
    since = context.live_since(source, change.key, change.new)
    if since is None:
        return sentence(
            "%(source)s does not run this value of %(key)s, as far as the daemon's log says",
            source=source,
            key=change.key,
        )
    ran = context.now - since
    if ran >= timedelta(hours=hours):
        return None
    return sentence(
        "%(source)s has run this value of %(key)s for %(ran)s; %(hours)s h are needed",
        source=source,
        key=change.key,
        ran=_spoken(ran),
        hours=hours,
    )


def _spoken(time: timedelta) -> Sentence:
    minutes = max(0, int(time.total_seconds() // 60))
    if minutes < 60:
        return sentence("%(minutes)s min", minutes=minutes)
    return sentence("%(hours)s h %(minutes)s min", hours=minutes // 60, minutes=minutes % 60)


def _owner_missing(
    policy: Policy, change: Change, members: Mapping[str, tuple[str, ...]], context: PolicyContext
) -> Finding | None:
    if change.owner is None:
        hint = sentence("name one in the contract: x-kemudi-owner")
        message = sentence("%(key)s has no owner", key=change.key)
        return _note(policy, message, key=change.key, change=change, hint=hint)
    if not members:
        return None
    team = members.get(change.owner)
    if team is None:
        message = sentence(
            "%(key)s belongs to %(owner)s, and the policy names nobody there",
            key=change.key,
            owner=change.owner,
        )
        return _note(policy, message, key=change.key, change=change)
    agreed = {_address(who) for who in (context.author, *(context.approvals or ())) if who is not None}
    if agreed & {_address(who) for who in team}:
        return None
    message = sentence(
        "%(key)s belongs to %(owner)s: one of %(team)s has to approve",
        key=change.key,
        owner=change.owner,
        team=", ".join(team),
    )
    unknown = context.approvals is None
    return _note(policy, message, key=change.key, change=change, warning=unknown)


def _of_the_whole(
    plan: Plan, policies: tuple[Policy, ...], lifted: list[Scope], context: PolicyContext
) -> Iterator[Finding]:
    """Findings about reason, approvals and the way of delivery: one for each policy, not one for each setting."""
    about: dict[int, list[str]] = {}
    for change in plan.changes:
        for policy in _about(change, policies, lifted):
            about.setdefault(id(policy), []).append(change.env)
    for policy in policies:
        environments = list(dict.fromkeys(about.get(id(policy), ())))
        if not environments:
            continue
        where = ", ".join(environments)
        match policy.terms:
            case Reason(minimum):
                yield from _reason_missing(policy, where, minimum, context)
            case Approvals(required, own):
                yield from _approvals_missing(policy, where, required, own, context)
            case ProposalsOnly() if context.direct:
                yield _note(policy, sentence("%(where)s takes proposals only", where=where), hint=_PROPOSE)


def _reason_missing(policy: Policy, where: str, minimum: int, context: PolicyContext) -> Iterator[Finding]:
    given = " ".join((context.reason or "").split())
    if context.reason is not None and len(given) >= minimum:
        return
    yield _note(policy, _reason_asked(where, minimum, len(given)), warning=context.reason is None)


def _reason_asked(where: str, minimum: int, given: int) -> Sentence:
    if minimum <= 1:
        return sentence("a change of %(where)s needs a reason", where=where)
    asked = {"where": where, "minimum": minimum}
    if not given:
        return sentence("a change of %(where)s needs a reason of at least %(minimum)s characters", **asked)
    return sentence(
        "a change of %(where)s needs a reason of at least %(minimum)s characters, and this one has %(given)s",
        given=given,
        **asked,
    )


def _approvals_missing(
    policy: Policy, where: str, required: int, own: bool, context: PolicyContext
) -> Iterator[Finding]:
    if context.direct:
        message = sentence(
            "%(where)s takes proposals only: %(people)s must approve", where=where, people=_people(required)
        )
        yield replace(_note(policy, message, hint=_PROPOSE), rule=rules.PROPOSAL)
        return
    people = {_address(who) for who in context.approvals or ()}
    if not own and context.author is not None:
        people.discard(_address(context.author))
    if context.approvals is not None and len(people) >= required:
        return
    asked = {"people": _people(required), "where": where}
    if context.approvals is None:
        yield _note(policy, sentence("%(people)s must approve a change of %(where)s", **asked), warning=True)
        return
    message = sentence("%(people)s must approve a change of %(where)s, %(did)s did", did=len(people), **asked)
    yield _note(policy, message)


def _people(number: int) -> Sentence:
    return sentence("1 person") if number == 1 else sentence("%(number)s people", number=number)


def _address(who: str) -> str:
    """The address of `Name <address>`; a bare name or address as it is. Case does not count."""
    _, found, rest = who.rpartition("<")
    return (rest.rstrip("> ") if found else who).strip().casefold()


def _note(
    policy: Policy,
    message: str,
    *,
    key: str | None = None,
    change: Change | None = None,
    hint: str | None = None,
    warning: bool = False,
) -> Finding:
    """A finding of a policy: at the value that it is about, else at the policy."""
    place = change.place if change is not None and change.place is not None else policy.place
    layer = change.new_layer if change is not None else None
    return Finding(
        place.file,
        place.line,
        place.column,
        policy.rule or rules.POLICY,
        "",
        key,
        message,
        hint,
        layer,
        "warning" if warning or policy.is_warning else "error",
    )
