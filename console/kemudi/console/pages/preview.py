"""What a change would do, as pages show it before anything is saved."""

from dataclasses import dataclass
from typing import Any, Final

from kemudi.console.board import Board
from kemudi.console.parts import Parts
from kemudi.console.writing import Preview
from kemudi.repo.verdict import warned
from kemudi.schema import policy_rules
from kemudi.schema.findings import Finding

_ASKED_BY_THE_FORM: Final = frozenset({policy_rules.REASON, policy_rules.APPROVALS, policy_rules.PROPOSAL})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the diff."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A preview as the template `preview.html` shows it.

    `direct` says whether it may be saved at once, else `approvals` how many have to agree to it.
    """

    diff: str
    lines: tuple[Line, ...]
    changes: tuple[Any, ...]
    environments: list[str]
    readers: list[str]
    restart: bool
    direct: bool
    approvals: int
    refused: tuple[Any, ...]
    warnings: tuple[Any, ...]
    text: str


def shown(parts: Parts, board: Board, preview: Preview) -> Shown:
    """The preview for the template."""
    changes = tuple(preview.prepared.plan.changes)
    rows = [
        board.environments[each.env].rows[each.key]
        for each in changes
        if each.env in board.environments and each.key in board.environments[each.env].rows
    ]
    return Shown(
        diff=preview.prepared.diff,
        lines=diff_lines(preview.prepared.diff),
        changes=changes,
        environments=list(dict.fromkeys(change.env for change in changes)),
        readers=sorted({name for row in rows for name in parts.readers(board, row)}),
        restart=any(change.requires_restart for change in changes),
        direct=preview.direct,
        approvals=preview.needs.required,
        # A missing reason is asked for by the form itself, and its button proposes where others have to agree.
        refused=tuple(each for each in preview.refused if each.rule not in _ASKED_BY_THE_FORM),
        warnings=(
            *preview.prepared.warnings,
            *(each for each in warned(preview.prepared.plan) if not is_about_reason(each)),
        ),
        text=preview.text,
    )


def diff_lines(diff: str) -> tuple[Line, ...]:
    """The unified diff for the eye, byte for byte; its colours come from the classes."""
    found: list[Line] = []
    for text in diff.splitlines():
        if text.startswith(("---", "+++")):
            found.append(Line("file", text))
        elif text.startswith("@@"):
            found.append(Line("place", text))
        else:
            kind = {"+": "plus", "-": "minus"}.get(text[:1], "same")
            found.append(Line(kind, text))
    return tuple(found)


def is_about_reason(finding: Finding) -> bool:
    """Whether a refusal asks for a reason only."""
    return finding.rule == policy_rules.REASON
