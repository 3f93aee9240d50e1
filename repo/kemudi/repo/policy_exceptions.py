"""`Kemudi-Exception: <rule> <why>`: a policy set aside once, by somebody who said why; it stays visible."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from kemudi.repo.plan_model import GrantedException, Plan
from kemudi.repo.policy_model import Policy
from kemudi.repo.policy_reader import NAMES
from kemudi.schema import policy_rules as rules
from kemudi.schema.findings import Finding
from kemudi.schema.manifest import FILE
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import sentence

TRAILER: Final = "Kemudi-Exception"

# Who has to agree is not for an author to set aside.
_ALLOWED: Final = frozenset({rules.CHANGE_SIZE, rules.FREEZE, rules.PROMOTION})


def apply(
    plan: Plan, policies: Iterable[Policy], trailers: Mapping[str, str] | Sequence[tuple[str, str]]
) -> Plan:
    """The plan with the exceptions that its trailers ask for: their findings become warnings that say why."""
    written = list(_written(trailers))
    if not written:
        return plan
    closed = {each.rule for each in policies if not each.exceptions}
    granted: dict[str, str] = {}
    notes: list[Finding] = []
    for text in written:
        rule, why, problem = _read(text, closed)
        if problem is None:
            granted.setdefault(rule, why)
        else:
            notes.append(problem)
    return _granted(replace(plan, findings=(*plan.findings, *notes)), granted)


def _written(trailers: Mapping[str, str] | Sequence[tuple[str, str]]) -> Iterator[str]:
    pairs = trailers.items() if isinstance(trailers, Mapping) else trailers
    return (value.strip() for name, value in pairs if name.casefold() == TRAILER.casefold())


def _read(text: str, closed: set[str | None]) -> tuple[str, str, Finding | None]:
    name, _, why = text.partition(" ")
    rule = NAMES.get(name, name.upper())
    if rule not in NAMES.values():
        hint = did_you_mean(name, [*NAMES, *NAMES.values()])
        said = sentence("%(trailer)s names no rule: %(name)s", trailer=TRAILER, name=repr(name[:60]))
        return rule, why, _problem(said, hint)
    if not why.strip():
        said = sentence("%(trailer)s: %(name)s does not say why", trailer=TRAILER, name=name)
        hint = sentence("write `%(trailer)s: %(name)s <why>`", trailer=TRAILER, name=name)
        return rule, why, _problem(said, hint)
    if rule not in _ALLOWED or rule in closed:
        return rule, why, _problem(sentence("%(name)s cannot be set aside", name=name), None)
    return rule, why.strip(), None


def _problem(message: str, hint: str | None) -> Finding:
    return Finding(FILE, 1, 1, rules.EXCEPTION, message=message, hint=hint, severity="warning")


def _granted(plan: Plan, granted: Mapping[str, str]) -> Plan:
    counts = dict.fromkeys(granted, 0)

    def lowered(finding: Finding) -> Finding:
        why = granted.get(finding.rule)
        if why is None or finding.severity != "error":
            return finding
        counts[finding.rule] += 1
        return replace(
            finding,
            severity="warning",
            message=sentence("%(finding)s (set aside: %(why)s)", finding=finding.message, why=why),
        )

    environments = tuple(
        replace(
            each,
            changes=tuple(
                replace(change, findings=tuple(lowered(finding) for finding in change.findings))
                for change in each.changes
            ),
        )
        for each in plan.environments
    )
    exceptions = tuple(GrantedException(rule, why, counts[rule]) for rule, why in granted.items())
    return replace(plan, environments=environments, exceptions=exceptions)
