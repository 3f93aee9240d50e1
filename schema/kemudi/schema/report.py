"""Findings as text and as JSON. Plain strings: colours are the caller's."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from kemudi.schema import guard
from kemudi.schema.findings import Finding
from kemudi.schema.paths import category_of_contract
from kemudi.schema.secret import MASK
from kemudi.schema.state import ConfigState

SourceLine = Callable[[Finding], str | None]
"""Gives the line that a finding points at, or None where it may not be shown."""

_LONGEST_LINE: Final = 160
_KEY_LINE: Final = re.compile(r"(\"?'?)([A-Za-z_][A-Za-z0-9_.-]*)\1[ \t]*:(?=[ \t]|$)", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?=[\"']?[ \t]*:)", re.ASCII)
_LINE_BREAK: Final = re.compile(r"\r\n|\n|\r")


def as_text(findings: Sequence[Finding], source: SourceLine | None = None) -> str:
    """Every finding as `file:line:column: KEMnnn message`, its line with a caret, and its hint."""
    return "\n".join(text_of(finding, source) for finding in findings)


def text_of(finding: Finding, source: SourceLine | None = None) -> str:
    """One finding, one to four lines."""
    layer = f" [{finding.layer}]" if finding.layer is not None else ""
    warning = "warning: " if finding.severity == "warning" else ""
    place = f"{finding.file}:{finding.line}:{finding.column}"
    lines = [f"{place}: {finding.rule} {warning}{finding.message}{layer}"]
    line = source(finding) if source is not None else None
    if line is not None and line.strip():
        shown, column = _cut(line.replace("\t", " "), finding.column)
        lines += [f"    {shown}", f"    {' ' * (column - 1)}^"]
    if finding.hint is not None:
        lines.append(f"    hint: {finding.hint}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], files: int) -> dict[str, Any]:
    """The pinned form: `{files: N, errors: [...]}`; warnings stand apart."""
    return {
        "files": files,
        "errors": [each.as_json() for each in findings if each.severity == "error"],
        "warnings": [each.as_json() for each in findings if each.severity == "warning"],
    }


def source_of(state: ConfigState) -> SourceLine:
    """The lines of a state's files, without what could be a secret.

    In a category with sensitive settings a line is shown in full only if it sets a known plain key; the value behind
    any other key is masked, and lines that set no key are left out: they may continue a secret.
    """

    def line_of(finding: Finding) -> str | None:
        file = state.files.get(finding.file)
        if (
            file is None
            or file.kind != "file"
            or ((finding.line, finding.column) == (1, 1) and not finding.pointer)
        ):
            return None
        lines = _LINE_BREAK.split(file.data.decode("utf-8", "replace").removeprefix("\ufeff"))
        if finding.line > len(lines):
            return None
        return _masked(state, finding.file, lines[finding.line - 1])

    return line_of


def _masked(state: ConfigState, path: str, line: str) -> str | None:
    _, slash, name = path.partition("/")
    if not slash or category_of_contract(path) is not None:
        return None if _suspicious(state, line) else line
    contract = state.contracts.get(name.removesuffix(".yaml"))
    found = _KEY_LINE.match(line)
    shown = contract is not None and not contract.sensitive and not _suspicious(state, line)
    if shown or found is None:
        return line if shown else None
    known = contract.settings.get(found.group(2)) if contract is not None else None
    plain = known is not None and not known.sensitive and not _suspicious(state, line)
    return line if plain else f"{found.group()} {MASK}"


def _suspicious(state: ConfigState, line: str) -> bool:
    patterns = state.manifest.sensitive_names if state.manifest is not None else guard.DEFAULT_NAMES
    names = guard.SensitiveNames(patterns)
    if any(names.match(word) is not None for word in _WORD.findall(line)):
        return True
    return guard.looks_like(line) is not None


def _cut(line: str, column: int) -> tuple[str, int]:
    """A part of a long line around a column, and where the column is in it."""
    if len(line) <= _LONGEST_LINE:
        return line, min(column, len(line) + 1)
    start = max(0, min(column - 1 - _LONGEST_LINE // 2, len(line) - _LONGEST_LINE))
    return line[start : start + _LONGEST_LINE], column - start
