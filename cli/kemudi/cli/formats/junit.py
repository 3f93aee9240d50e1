"""JUnit XML: one test case for each file, a failure for each file with errors."""

import re
from collections import defaultdict
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from kemudi.cli.formats.report import Report
from kemudi.schema import report as schema_report
from kemudi.schema.findings import Finding

# What XML 1.0 cannot hold, not even escaped.
_ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """One suite. Warnings are output of their test case, not failures."""
    by_file: defaultdict[str, list[Finding]] = defaultdict(list)
    # The first is the one that a page of test results shows.
    for each in report.worst_first:
        by_file[each.file].append(each)
    files = sorted({*report.files, *by_file})
    failed = sum(1 for found in by_file.values() if any(each.severity == "error" for each in found))
    counts = f'tests="{len(files)}" failures="{failed}" errors="0"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuites name="kemudi validate" {counts}>']
    lines.append(f'  <testsuite name="kemudi validate" {counts}>')
    for file in files:
        lines += _case(report.path(file), by_file.get(file, []))
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _case(path: str, findings: list[Finding]) -> list[str]:
    head = f'    <testcase classname="kemudi.validate" name={_attribute(path)} file={_attribute(path)}'
    if not findings:
        return [f"{head}/>"]
    errors = [each for each in findings if each.severity == "error"]
    warnings = [each for each in findings if each.severity == "warning"]
    lines = [f"{head}>"]
    if errors:
        message = f"{errors[0].rule} {errors[0].message}" + (
            f" (and {len(errors) - 1} more)" if errors[1:] else ""
        )
        lines.append(
            f"      <failure type={_attribute(errors[0].rule)} message={_attribute(message)}>"
            f"{_text(errors)}</failure>"
        )
    if warnings:
        lines.append(f"      <system-out>{_text(warnings)}</system-out>")
    return [*lines, "    </testcase>"]


def _text(findings: list[Finding]) -> str:
    return escape(_ILLEGAL.sub("\ufffd", schema_report.as_text(findings)))


def _attribute(text: str) -> str:
    return quoteattr(_ILLEGAL.sub("\ufffd", text))
