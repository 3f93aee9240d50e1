"""A plan as text and as Markdown: the same words for the terminal, the pull request, the console and the API."""

from collections.abc import Iterator
from typing import Final

from kemudi.repo import plan_words as words
from kemudi.repo.plan_markdown import as_markdown
from kemudi.repo.plan_model import Change, ContractChange, Drift, EnvironmentPlan, NoEffect, Plan
from kemudi.schema.findings import Finding

__all__ = ["as_markdown", "as_text"]

_SIGNS: Final = {"add": "+", "change": "~", "remove": "-"}


def as_text(plan: Plan) -> str:
    """The plan for a terminal, without colours; one newline at the end."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{words.short(plan.base)} → {words.short(plan.head)}: {words.title(plan)}"
    for environment in plan.environments:
        yield ""
        yield from _environment(environment)
    for name, lines in _sections(plan):
        if lines:
            yield ""
            yield f"{name}:"
            yield from (f"  {line}" for line in lines)


def _sections(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    yield "contracts", [line for each in plan.contracts for line in _contract(each)]
    yield (
        "rules of the repository",
        [f"{each.file}: {words.visible(each.message)}" for each in plan.repository],
    )
    yield "without effect", [quiet(each) for each in plan.quiet]
    yield "findings", [line for each in plan.findings for line in finding_lines(each)]
    yield (
        "exceptions",
        [
            f"{each.rule} was set aside: {words.visible(each.why)} ({words.counted(each.findings, 'finding')})"
            for each in plan.exceptions
        ],
    )
    yield "note", [words.visible(note) for note in plan.notes]


def _environment(environment: EnvironmentPlan) -> Iterator[str]:
    since = f" (compared with what Redis serves: {words.short(environment.base)})" if environment.base else ""
    yield f"{environment.env}: {words.headline(environment)}{since}"
    width = max((len(change.key) for change in environment.changes), default=0)
    for change in environment.changes:
        yield f"  {_SIGNS[change.kind]} {change.key:<{width}}  {_facts(change)}"
        yield from (f"      {line}" for each in change.findings for line in finding_lines(each))
    if environment.drift is not None:
        yield from (f"  ! drift: {drift(item)}" for item in environment.drift)


def _facts(change: Change) -> str:
    before, after = words.sides(change)
    unit = f" {words.visible(change.unit)}" if change.unit else ""
    facts = [f"{before} → {after}{unit}", words.effect(change), words.layers(change)]
    if change.owner:
        facts.append(f"owner {words.visible(change.owner)}")
    if change.readers is not None:
        facts.append(f"read by {', '.join(change.readers)}" if change.readers else "read by nobody now")
    return "  ".join(facts)


def _contract(change: ContractChange) -> Iterator[str]:
    name = change.key or change.category
    yield f"{change.place}: {name}: {words.visible(change.message)}"
    yield from (f"  breaks: {words.visible(each)}" for each in change.breaks)
    if change.breaks and change.readers:
        yield f"  read by {', '.join(change.readers)}"


def quiet(edit: NoEffect) -> str:
    """An edit without effect, on one line."""
    return f"{edit.file}: no effect in {', '.join(edit.environments)}: {words.visible(edit.message)}"


def drift(item: Drift) -> str:
    """One difference between Redis and git, on one line."""
    return " ".join(part for part in (item.key or item.category or "the environment", item.kind) if part)


def finding_lines(finding: Finding) -> Iterator[str]:
    """A finding and its hint."""
    warning = "warning: " if finding.severity == "warning" else ""
    place = f"{finding.file}:{finding.line}:{finding.column}: " if finding.file else ""
    yield f"{place}{finding.rule} {warning}{words.visible(finding.message)}"
    if finding.hint is not None:
        yield f"  hint: {words.visible(finding.hint)}"
