"""The forms of a validation report, each read back by a parser of its own kind."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from kemudi.cli.formats import FORMS, render
from kemudi.cli.formats.github import SHOWN, summary
from kemudi.cli.formats.report import Report
from kemudi.schema.findings import Finding
from kemudi.schema.rules import RULES
from kemudi.schema.state import ConfigState

NASTY = "100% of a,b:c\r\n::error::forged | <b>&\"' \x00\x1b[0m `x` @team \ud7ff"

# What SARIF 2.1.0 says of the parts that are written here; the whole schema is not shipped with the tests.
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "semanticVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "help"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string"},
                                                "shortDescription": TEXT,
                                                "fullDescription": TEXT,
                                                "help": {
                                                    **TEXT,
                                                    "required": ["text", "markdown"],
                                                },
                                                "defaultConfiguration": {
                                                    "properties": {
                                                        "level": {
                                                            "enum": ["none", "note", "warning", "error"]
                                                        }
                                                    }
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message", "ruleId", "partialFingerprints"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "level": LEVEL,
                                "message": TEXT,
                                "partialFingerprints": {
                                    "type": "object",
                                    "minProperties": 1,
                                    "additionalProperties": {"type": "string"},
                                },
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "additionalProperties": False,
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "uri": {
                                                                "type": "string",
                                                                "pattern": "^[^ \\\\<>]+$",
                                                            },
                                                            "uriBaseId": {"type": "string"},
                                                        },
                                                    },
                                                    "region": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                        },
                                                    },
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
GITLAB = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "not": {"pattern": "^[./]"}},
                    "lines": {"type": "object", "required": ["begin"]},
                },
            },
        },
    },
}


def report(*findings: Finding, files: tuple[str, ...] = (), changed: frozenset[str] | None = None) -> Report:
    named = tuple(sorted({*files, *(each.file for each in findings)}))
    return Report(Path("/x"), "settings/", ConfigState.load(()), named, tuple(sorted(findings)), changed)


def finding(file: str = "prod/sync.yaml", line: int = 1, rule: str = "KEM024", **rest: Any) -> Finding:
    return Finding(file, line, 2, rule, **{"pointer": "/A", "key": "A", "message": "too large", **rest})


MANY = [finding(f"prod/f{n:02d}.yaml", n + 1, key=f"K{n}") for n in range(60)]
REPORTS = [
    report(),
    report(finding()),
    report(finding(message=NASTY, hint=NASTY, key=NASTY), finding("odd name|%.yaml", severity="warning")),
    report(*MANY),
    report(*[finding(rule=rule, key=rule) for rule in RULES]),
]


@pytest.mark.parametrize("made", REPORTS)
def test_sarif_is_what_its_readers_expect(made: Report) -> None:
    """Structure, unique fingerprints, a rule with help for each result, and relative, encoded paths."""
    log = json.loads(render("sarif", made))
    Draft202012Validator(SARIF).validate(log)
    (run,) = log["runs"]
    known = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert known[result["ruleIndex"]] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].startswith("settings/")
    prints = [result["partialFingerprints"]["kemudi/v1"] for result in run["results"]]
    assert len(set(prints)) == len(made.findings)


@pytest.mark.parametrize("made", REPORTS)
def test_gitlab_gets_unique_fingerprints_and_relative_paths(made: Report) -> None:
    """GitLab drops one of two equal fingerprints without a word."""
    issues = json.loads(render("gitlab", made))
    Draft202012Validator(GITLAB).validate(issues)
    assert len({each["fingerprint"] for each in issues}) == len(issues) == len(made.findings)


def test_a_fingerprint_survives_moved_lines_and_other_findings() -> None:
    """Else every finding below an inserted line would be new."""
    one = finding(line=5)
    (before,) = report(one).fingerprints()
    moved = dict(
        zip(
            ["other", "one"],
            report(finding(line=1, key="B", pointer="/B"), finding(line=9)).fingerprints(),
            strict=True,
        )
    )
    assert before == moved["one"]
    twice = list(report(one, finding(line=9, message="again")).fingerprints())
    assert len(set(twice)) == 2
    assert before in twice


@pytest.mark.parametrize("made", REPORTS)
def test_junit_has_one_test_case_for_each_file(made: Report) -> None:
    """Well-formed XML whatever a message holds; failures are files with errors."""
    root = ET.fromstring(render("junit", made).encode())
    (suite,) = root
    cases = {case.get("name"): case for case in suite}
    assert set(cases) == {f"settings/{file}" for file in made.files}
    failed = {f"settings/{each.file}" for each in made.findings if each.severity == "error"}
    assert {name for name, case in cases.items() if case.find("failure") is not None} == failed
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(failed)))


def test_junit_names_the_worst_of_a_file_first() -> None:
    """A page of test results shows the message of the failure: a secret stands there, and how many more there are."""
    secret = finding(line=90, rule="KEM030", key="PASSWORD", message="a secret in plain text")
    made = report(*[finding(line=n + 1, key=f"K{n}") for n in range(12)], secret, finding(severity="warning"))
    (failure,) = ET.fromstring(render("junit", made).encode()).iter("failure")
    assert failure.get("type") == "KEM030"
    assert failure.get("message") == "KEM030 a secret in plain text (and 12 more)"
    assert (failure.text or "").count("KEM024") == 12


def commands(text: str) -> list[str]:
    """The lines that the runner of GitHub acts on, as it reads them: trimmed, and not while commands are stopped."""
    found, stopped = [], None
    for line in text.splitlines():
        stripped = line.strip()
        if stopped is not None:
            stopped = None if stripped == f"::{stopped}::" else stopped
        elif stripped.startswith("::stop-commands::"):
            stopped = stripped.removeprefix("::stop-commands::")
        elif stripped.startswith("::"):
            found.append(stripped)
    assert stopped is None
    return found


@pytest.mark.parametrize("made", REPORTS)
def test_github_is_given_nothing_but_our_own_commands(made: Report) -> None:
    """One line each, escaped: no text of a file can end an annotation or start a command."""
    said = commands(render("github", made))
    kinds = {line.split()[0].split("::")[1] for line in said}
    assert kinds <= {"error", "warning", "group", "endgroup"}
    annotations = [line for line in said if line.startswith(("::error", "::warning"))]
    assert all(line.count("::") == 2 or "forged" in line for line in annotations)
    assert all("::error::forged" not in line.split("::", 2)[1] for line in annotations)
    errors = [line for line in annotations if line.startswith("::error")]
    assert len(errors) <= SHOWN


def test_sixty_errors_leave_the_worst_visible() -> None:
    """A secret first, then what the change touched; the tenth annotation counts the rest; the summary has them all."""
    secret = finding("zzz/last.yaml", 99, "KEM030", key="PASSWORD")
    touched = [each.file for each in MANY[40:45]]
    made = report(*MANY, secret, finding(severity="warning"), changed=frozenset([*touched, "zzz/last.yaml"]))
    errors = [line for line in commands(render("github", made)) if line.startswith("::error")]
    assert len(errors) == SHOWN
    assert "zzz/last.yaml" in errors[0]
    assert all(any(file in line for line in errors[1:6]) for file in touched)
    assert "52 more errors" in errors[-1]
    table = summary(made)
    assert all(each.file in table for each in made.findings)
    assert "61 errors, 1 warning" in table


def test_the_summary_stays_below_the_limit() -> None:
    """GitHub drops a summary of more than a mebibyte whole; this one is cut, and says so."""
    made = report(*[finding(f"f{n}.yaml", key=f"K{n}", message="x" * 1000) for n in range(2_000)])
    text = summary(made)
    assert len(text.encode()) < 1_000_000
    assert "more findings are in the log" in text


def test_every_form_is_there_and_ends_with_a_newline(kemudi: Callable[..., Any], example: Path) -> None:
    """Whatever the form, the exit code says whether there are errors."""
    for form in FORMS:
        assert kemudi("validate", str(example), "--format", form).code == 0
    (example / "prod/sync.yaml").write_text("SYNC_BATCH_SIZE: many\n")
    for form in FORMS:
        outcome = kemudi("validate", str(example), "--format", form)
        assert outcome.code == 1
        assert outcome.out.endswith("\n")
        assert "KEM023" in outcome.out


def test_the_summary_is_appended_where_github_says(
    kemudi: Callable[..., Any], example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only in the form for GitHub, and after what other steps wrote."""
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    kemudi("validate", str(example))
    assert page.read_text() == "before\n"
    kemudi("validate", str(example), "--format", "github")
    assert page.read_text().startswith("before\n### kemudi validate: 31 files, 0 errors")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Author", "-c", "user.email=author@example.org"]
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(
        ["git", *who, *arguments], cwd=folder, env=os.environ | quiet, check=True, capture_output=True
    )


@pytest.fixture
def committed(example: Path) -> Path:
    """The example, committed."""
    git(example, "init", "--quiet", "--initial-branch=main")
    git(example, "add", "--all")
    git(example, "commit", "--quiet", "--message", "first")
    return example


def checked(kemudi: Callable[..., Any], folder: Path) -> tuple[int, set[str]]:
    """How many files `--base HEAD` looks at, and where it finds something."""
    outcome = kemudi("validate", str(folder), "--base", "HEAD", "--json")
    return outcome.json["files"], {each["file"] for each in outcome.json["errors"]}


def test_with_a_base_only_what_the_change_can_have_broken_is_told(
    kemudi: Callable[..., Any], committed: Path
) -> None:
    """An edited file alone; with a contract its values; with `kemudi.yaml` everything."""
    (committed / "dev/sync.yaml").write_text("SYNC_BATCH_SIZE: many\n")
    git(committed, "commit", "--quiet", "--all", "--message", "an old error")
    assert checked(kemudi, committed) == (0, set())
    (committed / "prod/sync.yaml").write_text("SYNC_BATCH_SIZE: 7\n")
    assert checked(kemudi, committed) == (1, set())
    (committed / "prod/sync.yaml").write_text("SYNC_BATCH_SIZ: 7\nNEO4J_USER: x\n")
    assert checked(kemudi, committed) == (1, {"prod/sync.yaml"})
    whole = kemudi("validate", str(committed), "--json").json["errors"]
    part = kemudi("validate", str(committed), "--base", "HEAD", "--json").json["errors"]
    assert part == [each for each in whole if each["file"] == "prod/sync.yaml"]
    git(committed, "restore", ".")
    contract = committed / "contracts/sync.schema.json"
    contract.write_text(contract.read_text().replace('"minimum": 1', '"minimum": 700'))
    count, files = checked(kemudi, committed)
    assert {"dev/sync.yaml", "contracts/sync.schema.json"} <= files
    assert count > 4
    git(committed, "restore", ".")
    manifest = committed / "kemudi.yaml"
    manifest.write_text(manifest.read_text() + "# a note\n")
    assert checked(kemudi, committed)[1] == {"dev/sync.yaml"}


def test_a_bad_policy_is_an_error_of_the_repository(kemudi: Callable[..., Any], example: Path) -> None:
    """`validate` finds it at its line and column; the daemon would serve all the same."""
    manifest = example / "kemudi.yaml"
    manifest.write_text(manifest.read_text().replace("percent: 50", "percent: some"))
    outcome = kemudi("validate", str(example))
    assert outcome.code == 1
    assert "KEM080 policies[0].percent must be a number of at least 0" in outcome.out
