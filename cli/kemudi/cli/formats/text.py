"""The report for people: `file:line:column: KEMnnn message`, the line, a caret, a hint."""

from kemudi.cli.formats.report import Report
from kemudi.schema import report as schema_report


def render(report: Report) -> str:
    """Every finding; nothing when there is none."""
    text = schema_report.as_text(report.findings, schema_report.source_of(report.state))
    return f"{text}\n" if text else ""
