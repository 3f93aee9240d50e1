"""The report for programs: `{files, errors, warnings}`."""

import orjson

from kemudi.cli.formats.report import Report
from kemudi.schema import report as schema_report


def content(report: Report) -> dict[str, object]:
    """What the document holds."""
    return schema_report.as_json(report.findings, files=len(report.files)) | {"base": report.base}


def render(report: Report) -> str:
    """One JSON document."""
    return orjson.dumps(content(report), option=orjson.OPT_APPEND_NEWLINE).decode()
