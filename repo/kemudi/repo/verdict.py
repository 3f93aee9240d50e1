"""What the policies hold against a judged plan, and what they only remark."""

from collections.abc import Iterator
from typing import Final

from kemudi.repo.plan_model import Plan
from kemudi.schema import policy_rules as rules
from kemudi.schema.findings import Finding

_OF_POLICIES: Final = frozenset(rule.id for rule in rules.POLICY_RULES)
# A policy that cannot be read is an error of the files; an exception that sets nothing aside stops nothing.
_REFUSING: Final = _OF_POLICIES - {rules.POLICY, rules.EXCEPTION}


def refused(plan: Plan) -> tuple[Finding, ...]:
    """The findings of policies that stop the change."""
    return tuple(each for each in _findings(plan) if each.rule in _REFUSING and each.severity == "error")


def warned(plan: Plan) -> tuple[Finding, ...]:
    """The findings of policies that stop nothing: warnings, and what an exception has set aside."""
    return tuple(each for each in _findings(plan) if each.rule in _OF_POLICIES and each.severity == "warning")


def _findings(plan: Plan) -> Iterator[Finding]:
    """Each once: those of the changes, then those of the whole."""
    found = [finding for change in plan.changes for finding in change.findings]
    yield from dict.fromkeys([*found, *plan.findings])
