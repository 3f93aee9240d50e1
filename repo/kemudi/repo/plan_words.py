"""The words that every rendering of a plan shares: one text in the terminal, the pull request and the console."""

import json
import re
import unicodedata
from typing import Final

from kemudi.repo.plan_model import Change, EnvironmentPlan, Plan
from kemudi.schema.documents import JSON

NONE: Final = "none"
"""Where there is no value; JSON has no such word."""

_LONGEST_VALUE: Final = 120
_SHA: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def counted(number: int, noun: str) -> str:
    """`1 change`, `2 changes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(revision: str | None) -> str:
    """A revision as people name it: 12 digits of a SHA, a work tree as it is."""
    if revision is None:
        return "nothing"
    return revision[:12] if _SHA.fullmatch(revision) else visible(revision)


def title(plan: Plan) -> str:
    """`3 changes in 2 environments`."""
    changed = [each for each in plan.environments if each.changes]
    if not changed:
        return "no change in any environment"
    return f"{counted(sum(1 for _ in plan.changes), 'change')} in {counted(len(changed), 'environment')}"


def headline(environment: EnvironmentPlan) -> str:
    """What becomes of an environment, in a few words."""
    said = counted(len(environment.changes), "change") if environment.changes else "no change"
    if environment.kind != "kept":
        said = f"the environment is {environment.kind}: {said}"
    if environment.refused == ("*",):
        return "refused: it stays as it is until the errors are mended"
    if environment.refused:
        return f"{said}; refused until the errors are mended: {', '.join(environment.refused)}"
    return said


def effect(change: Change) -> str:
    """When a change takes effect."""
    return "at restart" if change.requires_restart else "at once"


def layers(change: Change) -> str:
    """Which layer sets the value, before and after."""
    before, after = change.old_layer, change.new_layer
    if before == after or before is None:
        return after or ""
    return f"{before} → {after or 'nothing'}"


def sides(change: Change) -> tuple[str, str]:
    """The value before and after, as text; `NONE` for none. A sensitive value is never shown."""
    if change.sensitive:
        return _masked(change.kind != "add", change.old_fingerprint), _masked(
            change.kind != "remove", change.fingerprint
        )
    before = NONE if change.kind == "add" else shown(change.old)
    return before, NONE if change.kind == "remove" else shown(change.new)


def shown(value: JSON) -> str:
    """A value on one line, shortened, with everything that is not seen spelled out."""
    text = visible(json.dumps(value, ensure_ascii=False))
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[: _LONGEST_VALUE - 1]}… ({len(text):,} characters)"


def visible(text: str) -> str:
    """Text without line breaks, control characters or what reorders or hides other characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(character) for character in text)


def _spelled(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _masked(is_set: bool, fingerprint: str | None) -> str:
    if not is_set:
        return NONE
    return f"sealed {fingerprint}" if fingerprint is not None else "***"
