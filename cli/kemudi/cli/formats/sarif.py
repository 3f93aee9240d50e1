"""SARIF 2.1.0, the form that code scanning services read."""

from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import orjson

from kemudi.cli.formats.report import Report
from kemudi.schema.findings import Finding
from kemudi.schema.rules import RULES

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "%SRCROOT%"


def render(report: Report) -> str:
    """One log with one run; its rules are those that were broken, with their help."""
    broken = sorted({finding.rule for finding in report.findings})
    run = {
        "tool": {
            "driver": {
                "name": "kemudi",
                "semanticVersion": version("kemudi"),
                "rules": [_rule(name) for name in broken],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(report, finding, broken.index(finding.rule), fingerprint)
            for finding, fingerprint in zip(report.findings, report.fingerprints(), strict=True)
        ],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return orjson.dumps(log, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _rule(name: str) -> dict[str, Any]:
    rule = RULES[name]
    text = f"{rule.explanation}\n\nHow to fix it: {rule.fix}"
    return {
        "id": name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": text, "markdown": f"{rule.explanation}\n\n**How to fix it.** {rule.fix}"},
        "defaultConfiguration": {"level": "error"},
    }


def _result(report: Report, finding: Finding, index: int, fingerprint: str) -> dict[str, Any]:
    message = finding.message + (f"\n{finding.hint}" if finding.hint is not None else "")
    place = {
        "artifactLocation": {"uri": quote(report.path(finding.file)), "uriBaseId": _ROOT},
        "region": {"startLine": finding.line, "startColumn": finding.column},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"kemudi/v1": fingerprint},
    }
