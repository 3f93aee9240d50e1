"""A Code Quality report of GitLab. It drops findings of equal fingerprint, and calls moved ones new by line numbers."""

import orjson

from kemudi.cli.formats.report import Report
from kemudi.schema import rules
from kemudi.schema.findings import Finding

_BLOCKERS = frozenset({rules.PLAINTEXT_SECRET, rules.LIKELY_SECRET})


def render(report: Report) -> str:
    """One JSON list, also when it is empty: GitLab compares it with the report of the target branch."""
    issues = [
        {
            "description": f"{finding.rule}: {finding.message}"
            + (f" ({finding.hint})" if finding.hint else ""),
            "check_name": finding.rule,
            "fingerprint": fingerprint,
            "severity": _severity(finding),
            "location": {"path": report.path(finding.file), "lines": {"begin": finding.line}},
        }
        for finding, fingerprint in zip(report.findings, report.fingerprints(), strict=True)
    ]
    return orjson.dumps(issues, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _severity(finding: Finding) -> str:
    if finding.severity == "warning":
        return "minor"
    return "blocker" if finding.rule in _BLOCKERS else "major"
