"""Annotations of GitHub Actions, and the table for the summary page of a job.

A step shows ten errors and ten warnings; what is more is dropped without a word. So the worst nine come first, and the
tenth says how many there are and where.
"""

import secrets
from collections.abc import Iterator
from typing import Final

from kemudi.cli.formats.report import Report
from kemudi.repo.markdown import code, prose
from kemudi.repo.plan_words import visible
from kemudi.schema import report as schema_report
from kemudi.schema.findings import Finding

SHOWN: Final = 10
_LONGEST_SUMMARY: Final = 900_000
"""Bytes. GitHub drops a summary of more than 1 MiB whole."""


def render(report: Report) -> str:
    """Annotations by weight, then every finding as plain text."""
    ranked = report.worst_first
    lines: list[str] = []
    for severity in ("error", "warning"):
        found = [each for each in ranked if each.severity == severity]
        shown = found if len(found) <= SHOWN else found[: SHOWN - 1]
        lines += [_annotation(report, each) for each in shown]
        if len(found) > len(shown):
            message = f"{len(found) - len(shown)} more {severity}s: see the summary of this job, or its log"
            lines.append(f"::{severity} title=kemudi validate::{_data(message)}")
    return "\n".join([*lines, *_log(ranked)]) + "\n" if ranked else ""


def summary(report: Report) -> str:
    """A Markdown table of every finding, by weight, as long as GitHub takes it."""
    lines = [f"### kemudi validate: {report.summary()}", ""]
    ranked = report.worst_first
    if ranked:
        lines += ["| place | rule | finding | hint |", "|---|---|---|---|"]
    size = 0
    for position, each in enumerate(ranked):
        row = _row(report, each)
        size += len(row.encode()) + 1
        if size > _LONGEST_SUMMARY:
            lines += ["", f"{len(ranked) - position} more findings are in the log."]
            break
        lines.append(row)
    return "\n".join(lines) + "\n\n"


def _row(report: Report, finding: Finding) -> str:
    place = code(f"{report.path(finding.file)}:{finding.line}:{finding.column}")
    mark = "" if finding.severity == "error" else " (warning)"
    return f"| {place} | {finding.rule}{mark} | {prose(finding.message)} | {prose(finding.hint or '')} |"


def _annotation(report: Report, finding: Finding) -> str:
    where = {
        "file": report.path(finding.file),
        "line": str(finding.line),
        "col": str(finding.column),
        "title": f"{finding.rule} {finding.key or ''}".strip(),
    }
    properties = ",".join(f"{name}={_property(value)}" for name, value in where.items())
    hint = f"\n{finding.hint}" if finding.hint is not None else ""
    return f"::{finding.severity} {properties}::{_data(finding.message + hint)}"


def _log(findings: tuple[Finding, ...]) -> Iterator[str]:
    """Every finding, where nothing that a file says can be read as a command of the runner."""
    token = secrets.token_hex(16)
    yield "::group::Every finding"
    yield f"::stop-commands::{token}"
    yield from (visible(line) for each in findings for line in schema_report.text_of(each).splitlines())
    yield f"::{token}::"
    yield "::endgroup::"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
