"""The report for programs: `{files, errors, warnings}`."""

import orjson

from kemudi.cli.formats.report import Report
from kemudi.schema import report as schema_report


def render(report: Report) -> str:
    """One JSON document."""
    content = schema_report.as_json(report.findings, files=len(report.files))
    return orjson.dumps(content | {"base": report.base}, option=orjson.OPT_APPEND_NEWLINE).decode()
