"""A plan as GitHub-flavoured Markdown. Whatever comes from a file is shown as it is written, never read as markup.

Values stand in code spans, where nothing is interpreted but the pipe of a table; prose is escaped character by
character. A comment has a size limit, so a long plan is cut, and says what was left out.
"""

from collections.abc import Iterator
from typing import Final

from kemudi.repo import plan_words as words
from kemudi.repo.markdown import code, prose
from kemudi.repo.plan_model import Change, EnvironmentPlan, Plan
from kemudi.schema.findings import Finding

LONGEST: Final = 60_000
"""Characters. GitHub refuses a comment of more than 65,536."""

_SIGNS: Final = {"add": "new", "change": "", "remove": "gone"}


def as_markdown(plan: Plan, *, limit: int = LONGEST) -> str:
    """The plan for a pull request, at most `limit` characters."""
    lines: list[str] = []
    left = limit - 400  # for the sentence that says what was cut
    cut = False
    for block in _blocks(plan):
        size = sum(len(line) + 1 for line in block)
        if size > left:
            kept = list(_that_fit(block, left))
            lines += kept
            cut = True
            break
        left -= size
        lines += block
    if cut:
        lines += ["", f"**Cut off here: {words.title(plan)} in all.** Run `kemudi plan` to see everything."]
    return "\n".join(lines) + "\n"


def _that_fit(block: list[str], left: int) -> Iterator[str]:
    for line in block:
        left -= len(line) + 1
        if left < 0:
            return
        yield line


def _blocks(plan: Plan) -> Iterator[list[str]]:
    """The parts in the order of their weight: what is refused, then what happens, then what does not."""
    yield [f"## Kemudi plan: {words.title(plan)}", ""]
    yield [f"{code(words.short(plan.base))} → {code(words.short(plan.head))}", ""]
    errors = [each for each in plan.findings if each.severity == "error"]
    if errors:
        yield [f"### {words.counted(len(errors), 'error')}", "", *map(_finding, errors), ""]
    for environment in plan.environments:
        yield _environment(environment)
    if plan.contracts:
        yield ["### Contracts", "", *_contracts(plan), ""]
    if plan.repository:
        listed = [f"- {code(each.file)}: {prose(each.message)}" for each in plan.repository]
        yield ["### Rules of the repository", "", *listed, ""]
    if plan.quiet:
        yield ["### Without effect", "", *_quiet(plan), ""]
    warnings = [each for each in plan.findings if each.severity == "warning"]
    if warnings:
        yield ["### Warnings", "", *map(_finding, warnings), ""]
    if plan.exceptions:
        listed = [
            f"- {prose(each.rule)} was set aside: {prose(each.why)} ({words.counted(each.findings, 'finding')})"
            for each in plan.exceptions
        ]
        yield ["### Exceptions", "", *listed, ""]
    if plan.notes:
        yield [*(f"> {prose(note)}" for note in plan.notes), ""]


def _environment(environment: EnvironmentPlan) -> list[str]:
    lines = [f"### {prose(environment.env)}: {prose(words.headline(environment))}", ""]
    if environment.base is not None:
        lines += [f"Compared with what Redis serves: {code(words.short(environment.base))}", ""]
    if environment.changes:
        readers = any(change.readers is not None for change in environment.changes)
        lines += [
            "| setting | before | after | takes effect | layer | owner |" + (" read by |" if readers else "")
        ]
        lines += ["|---|---|---|---|---|---|" + ("---|" if readers else "")]
        lines += [_row(change, readers=readers) for change in environment.changes]
        lines.append("")
    findings = [(change, each) for change in environment.changes for each in change.findings]
    if findings:
        lines += [*(f"{_finding(each, change.key)}" for change, each in findings), ""]
    for item in environment.drift or ():
        name = item.key or item.category
        lines.append(f"- drift: {code(name) + ' ' if name else ''}{prose(item.kind)}")
    return [*lines, ""] if environment.drift else lines


def _row(change: Change, *, readers: bool) -> str:
    before, after = words.sides(change)
    unit = f" {prose(change.unit)}" if change.unit else ""
    sign = _SIGNS[change.kind]
    cells = [
        code(change.key) + (f" ({sign})" if sign else ""),
        words.NONE if before == words.NONE else code(before) + unit,
        words.NONE if after == words.NONE else code(after) + unit,
        f"**{words.effect(change)}**" if change.requires_restart else words.effect(change),
        prose(words.layers(change)),
        prose(change.owner or words.NONE),
    ]
    if readers:
        cells.append(prose(", ".join(change.readers or ()) or "nobody"))
    return f"| {' | '.join(cells)} |"


def _contracts(plan: Plan) -> Iterator[str]:
    for each in plan.contracts:
        mark = "**breaking** " if each.breaks else ""
        yield f"- {mark}{code(each.key or each.category)}: {prose(each.message)} ({code(str(each.place))})"
        yield from (f"  - {prose(line)}" for line in each.breaks)
        if each.breaks and each.readers:
            yield f"  - read by {prose(', '.join(each.readers))}"


def _quiet(plan: Plan) -> Iterator[str]:
    for each in plan.quiet:
        where = prose(", ".join(each.environments))
        yield f"- {code(each.file)}: no effect in {where}: {prose(each.message)}"


def _finding(finding: Finding, key: str | None = None) -> str:
    mark = "❌" if finding.severity == "error" else "⚠️"
    place = f"{code(f'{finding.file}:{finding.line}:{finding.column}')} " if finding.file else ""
    about = f"{code(key)} " if key is not None else ""
    hint = f" ({prose(finding.hint)})" if finding.hint is not None else ""
    return f"- {mark} {place}{about}{finding.rule} {prose(finding.message)}{hint}"
