"""A pull request from its branch to its comment: what the plan shows, and what the CI of the example does with it."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden" / "pull_request.md"
FORBIDDEN = re.compile(r"\$\{\{")


def change(scratch: Any) -> None:
    """Six settings in three environments, one added, one removed, a contract; and edits that do nothing."""
    scratch.git("switch", "--quiet", "--create", "tune-sync")
    scratch.edit("base/sync.yaml", "SYNC_RETRY_ATTEMPTS: 3", "SYNC_RETRY_ATTEMPTS: 4")
    scratch.edit("dev/sync.yaml", "SYNC_BATCH_SIZE: 500", "SYNC_BATCH_SIZE: 600")
    scratch.edit("staging/sync.yaml", "SYNC_BATCH_SIZE: 2000", "SYNC_BATCH_SIZE: 2500\nSYNC_TIMEOUT: 5400")
    scratch.edit("prod/sync.yaml", "SYNC_TIMEOUT: 7200\n", "")
    scratch.edit("prod/sync.yaml", "SYNC_BATCH_SIZE: 5000", "SYNC_BATCH_SIZE: 9000 # the new cluster")
    scratch.edit("prod/neo4j.yaml", "graph.example.com", "graph-2.example.com")
    scratch.edit("staging/performance.yaml", "CACHE_TTL: 60", "CACHE_TTL: 60 # as measured")
    file = scratch.root / "contracts/sync.schema.json"
    contract = json.loads(file.read_text())
    contract["properties"]["SYNC_GRACE"] = {"type": "integer", "default": 5, "description": "Seconds | rows."}
    contract["properties"]["SYNC_TIMEOUT"]["minimum"] = 60
    contract["properties"]["SYNC_PARALLELISM"]["x-kemudi-owner"] = "@data <b>"
    file.write_text(json.dumps(contract, indent=2) + "\n")
    scratch.edit("dev/neo4j.yaml", "\nNEO4J_PASSWORD", "\n# sealed for dev\nNEO4J_PASSWORD")


def steady(markdown: str) -> str:
    """Without the names of commits."""
    return re.sub(r"`[0-9a-f]{12}`", "`000000000000`", markdown)


def test_the_plan_of_a_branch_is_the_golden_file(scratch: Any) -> None:
    """Exactly these effects, in Markdown, from a clone with a bare remote, also before anything is committed."""
    change(scratch)
    before = scratch.kemudi("plan", "--format", "md")
    assert before.returncode == 0, before.stderr
    scratch.commit("Larger batches for the new cluster")
    after = scratch.kemudi("plan", "--format", "md")
    assert (after.returncode, steady(after.stdout)) == (0, GOLDEN.read_text(encoding="utf-8"))
    assert re.sub(r"`worktree@\w+`", "`000000000000`", steady(before.stdout)) == steady(after.stdout)


def test_the_plan_is_the_same_in_json_and_says_nothing_twice(scratch: Any) -> None:
    """The JSON holds the changes that the table shows: environment, key and both sides."""
    change(scratch)
    scratch.commit("Larger batches")
    found = json.loads(scratch.kemudi("plan", "--json").stdout)
    shown = {
        (each["env"], one["key"], one["old"], one["new"])
        for each in found["environments"]
        for one in each["changes"]
    }
    assert shown == {
        ("dev", "SYNC_RETRY_ATTEMPTS", 3, 4),
        ("dev", "SYNC_BATCH_SIZE", 500, 600),
        ("dev", "SYNC_GRACE", None, 5),
        ("staging", "SYNC_RETRY_ATTEMPTS", 3, 4),
        ("staging", "SYNC_BATCH_SIZE", 2000, 2500),
        ("staging", "SYNC_TIMEOUT", 3600, 5400),
        ("staging", "SYNC_GRACE", None, 5),
        ("prod", "SYNC_TIMEOUT", 7200, 3600),
        ("prod", "SYNC_BATCH_SIZE", 5000, 9000),
        ("prod", "SYNC_GRACE", None, 5),
        ("prod", "NEO4J_URI", "neo4j+s://graph.example.com:7687", "neo4j+s://graph-2.example.com:7687"),
    }
    only = json.loads(scratch.kemudi("plan", "--json", "--env", "dev").stdout)
    assert [each["env"] for each in only["environments"]] == ["dev"]


def test_the_base_is_where_the_branch_began(scratch: Any) -> None:
    """What others merged meanwhile is not the branch's doing; on the default branch the last commit is planned."""
    change(scratch)
    scratch.commit("Larger batches")
    scratch.git("switch", "--quiet", "main")
    scratch.edit("dev/sync.yaml", "SYNC_TIMEOUT: 600", "SYNC_TIMEOUT: 700")
    scratch.commit("Something else")
    last = json.loads(scratch.kemudi("plan", "--json").stdout)
    assert [one["key"] for each in last["environments"] for one in each["changes"]] == ["SYNC_TIMEOUT"]
    scratch.git("push", "--quiet", "origin", "main")
    scratch.git("switch", "--quiet", "tune-sync")
    for arguments in ((), ("--base", "origin/main")):
        found = json.loads(scratch.kemudi("plan", "--json", *arguments).stdout)
        dev = [one["key"] for one in found["environments"][0]["changes"]]
        assert "SYNC_TIMEOUT" not in dev
        assert "SYNC_BATCH_SIZE" in dev
    assert "has gone on since" in scratch.kemudi("plan", "--base", "main").stdout
    back = json.loads(scratch.kemudi("plan", "--json", "--base", "HEAD", "--head", "HEAD~1").stdout)
    assert {"SYNC_GRACE"} <= {
        one["key"] for each in back["environments"] for one in each["changes"] if one["kind"] == "remove"
    }


def test_exit_codes(scratch: Any) -> None:
    """0 planned, 1 the files are wrong, 2 no such revision, 3 the daemon is away with --live, 5 a policy refuses."""
    assert scratch.kemudi("plan").returncode == 0
    assert scratch.kemudi("plan", "--base", "no-such-branch").returncode == 2
    assert scratch.kemudi("plan", "--live", "--daemon", "http://127.0.0.1:9").returncode == 3
    away = scratch.kemudi("plan", "--daemon", "http://127.0.0.1:9")
    assert (away.returncode, "the daemon was not of help" in away.stdout) == (0, True)
    scratch.edit("prod/sync.yaml", "SYNC_BATCH_SIZE: 5000", "SYNC_BATCH_SIZE: 50000")
    assert "KEM082 warning" in scratch.kemudi("plan").stdout
    assert scratch.kemudi("plan").returncode == 0
    scratch.edit("prod/sync.yaml", "SYNC_BATCH_SIZE: 50000", "SYNC_BATCH_SIZE: many")
    assert scratch.kemudi("plan").returncode == 1
    scratch.git("restore", ".")
    scratch.edit("kemudi.yaml", "    level: warning\n", "")
    scratch.edit("prod/sync.yaml", "SYNC_BATCH_SIZE: 5000", "SYNC_BATCH_SIZE: 50000")
    # The policies of the base decide, so what loosens or tightens them holds from the next change on.
    assert scratch.kemudi("plan").returncode == 0
    scratch.git("commit", "--quiet", "--message", "Strict", "kemudi.yaml")
    scratch.git("push", "--quiet")
    assert scratch.kemudi("plan").returncode == 5
    scratch.edit("kemudi.yaml", "percent: 50", "percent: 500000")
    assert scratch.kemudi("plan").returncode == 5
    scratch.git("restore", "kemudi.yaml")
    scratch.commit("Ten times as much\n\nKemudi-Exception: change-size the new cluster")
    excused = scratch.kemudi("plan")
    assert (excused.returncode, "KEM082 was set aside: the new cluster" in excused.stdout) == (0, True)


GH = """\
#!/usr/bin/env python3
import json, os, sys
store = os.environ["COMMENTS"]
comments = json.load(open(store)) if os.path.exists(store) else []
arguments = sys.argv[1:]
if os.environ.get("REFUSE"):
    sys.exit("HTTP 403: Resource not accessible by integration")
if "--method" not in arguments:
    print("\\n".join(str(c["id"]) for c in comments if c["bot"] and c["body"].startswith(os.environ["MARK"])))
    sys.exit(0)
body = open(next(a for a in arguments if a.startswith("body=@"))[6:]).read()
if "POST" in arguments:
    comments.append({"id": 100 + len(comments), "bot": True, "body": body})
else:
    path = next(a for a in arguments if a.startswith("repos/"))
    next(c for c in comments if path.endswith(f"/{c['id']}"))["body"] = body
json.dump(comments, open(store, "w"))
"""


class Runner:
    """Runs the steps of `action.yml` as GitHub does: bash, one environment, outputs through files."""

    def __init__(self, scratch: Any, folder: Path) -> None:
        self.scratch = scratch
        self.folder = folder
        folder.mkdir()
        self.action = yaml.safe_load((ROOT / "action.yml").read_text())
        for name, text in (("gh", GH), ("kemudi", f'#!/bin/sh\nexec {sys.executable} -m kemudi.cli "$@"\n')):
            program = folder / name
            program.write_text(text)
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.variables = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(folder),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_REPOSITORY": "example/settings",
            "GITHUB_BASE_REF": "main",
            "COMMENTS": str(folder / "comments.json"),
        }

    def run(self, name: str, outputs: dict[str, str], **inputs: str) -> "subprocess.CompletedProcess[str]":
        """One step; its `env` is filled as GitHub would, and what it writes to GITHUB_OUTPUT is added to `outputs`."""
        (step,) = [each for each in self.action["runs"]["steps"] if each["name"] == name]
        known = {
            "inputs.path": ".",
            "inputs.base": "",
            "inputs.token": "t",
            "github.event.pull_request.number": "7",
            "steps.base.outputs.ref": "",
            **{f"inputs.{key}": value for key, value in inputs.items()},
            **outputs,
        }
        told = {
            key: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known[found[1]], value)
            for key, value in step["env"].items()
        }
        output = self.folder / "output"
        output.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.scratch.root,
            env={**self.environment(), **told, "GITHUB_OUTPUT": str(output)},
            capture_output=True,
            text=True,
            check=False,
        )
        for line in output.read_text().splitlines():
            key, _, value = line.partition("=")
            outputs[f"steps.{step['id']}.outputs.{key}"] = value
        return done

    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GIT_", "KEMUDI_", "GITHUB_"))
        }
        return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, **self.variables}

    def comments(self) -> list[dict[str, Any]]:
        store = Path(self.variables["COMMENTS"])
        found: list[dict[str, Any]] = json.loads(store.read_text()) if store.exists() else []
        return found


@pytest.fixture
def runner(scratch: Any, tmp_path: Path) -> Runner:
    """The steps of the action, on the scratch repository."""
    return Runner(scratch, tmp_path / "runner")


def test_the_action_validates_and_keeps_one_comment(scratch: Any, runner: Runner) -> None:
    """The first run writes the plan as a comment, the second updates it; the summary has both tables."""
    change(scratch)
    scratch.commit("Larger batches for the new cluster")
    for number in (1, 2):
        outputs: dict[str, str] = {}
        for name in ("Find the base", "Validate", "Plan", "Comment", "Result of the plan"):
            done = runner.run(name, outputs)
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        (comment,) = runner.comments()
        if number == 1:
            assert steady(comment["body"].partition("\n")[2]) == GOLDEN.read_text(encoding="utf-8")
            scratch.edit("dev/sync.yaml", "SYNC_BATCH_SIZE: 600", "SYNC_BATCH_SIZE: 650")
            scratch.commit("A little more")
    assert "650" in comment["body"]
    assert comment["body"].startswith("<!-- kemudi plan ")
    summary = (runner.folder / "summary.md").read_text()
    assert "kemudi validate: 12 files, 0 errors" in summary
    assert "## Kemudi plan" in summary


def test_the_action_fails_where_it_should(scratch: Any, runner: Runner) -> None:
    """Errors are annotations and exit 1; a policy is exit 5 after the comment; a shallow clone says what to do."""
    scratch.git("switch", "--quiet", "--create", "bad")
    scratch.edit("prod/sync.yaml", "SYNC_BATCH_SIZE: 5000", "SYNC_BATCH_SIZE: many")
    scratch.commit("Bad")
    outputs: dict[str, str] = {}
    assert runner.run("Find the base", outputs).returncode == 0
    validated = runner.run("Validate", outputs)
    assert validated.returncode == 1
    assert validated.stdout.startswith(
        "::error file=prod/sync.yaml,line=2,col=18,title=KEM023 SYNC_BATCH_SIZE::"
    )
    assert runner.run("Plan", outputs).returncode == 0
    refused = runner.run("Result of the plan", outputs)
    assert (refused.returncode, "do not validate" in refused.stdout) == (1, True)
    runner.variables["GITHUB_BASE_REF"] = "not-fetched"
    missing = runner.run("Find the base", {})
    assert (missing.returncode, "fetch-depth: 0" in missing.stdout) == (2, True)


def test_a_fork_without_rights_still_gets_its_plan(scratch: Any, runner: Runner) -> None:
    """The token of a fork may not write: a notice, the summary, and no failed job."""
    change(scratch)
    scratch.commit("Larger batches")
    outputs: dict[str, str] = {}
    runner.run("Find the base", outputs)
    runner.run("Plan", outputs)
    runner.variables["REFUSE"] = "1"
    done = runner.run("Comment", outputs)
    assert (done.returncode, "::notice" in done.stdout) == (0, True)
    assert runner.comments() == []


def test_no_input_is_part_of_a_script(scratch: Any, runner: Runner) -> None:
    """Expressions stand in `env` only, so a branch or a path cannot become a command."""
    for step in runner.action["runs"]["steps"]:
        assert not FORBIDDEN.search(step["run"]), step["name"]
    scratch.git("switch", "--quiet", "--create", "x")
    outputs: dict[str, str] = {}
    for path in ('."; touch canary; "', "$(touch canary)", "--help", "-x"):
        assert runner.run("Find the base", outputs, path=path).returncode == 2 or path.startswith("-")
        assert runner.run("Validate", outputs, path=path).returncode == 2
        runner.run("Plan", outputs, path=path)
    for base in ("--help", "$(touch canary)", "x; touch canary"):
        assert runner.run("Find the base", {}, base=base).returncode == 2
    assert not (scratch.root / "canary").exists()


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-actions", "action.yml"),
        ("vendor.github-workflows", "config-repo/.github/workflows/config.yml"),
        ("vendor.gitlab-ci", "ci/gitlab/kemudi.gitlab-ci.yml"),
    ],
)
def test_the_files_of_ci_satisfy_their_schemas(schema: str, file: str) -> None:
    """By the published JSON Schemas of GitHub and GitLab."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_gitlab_jobs_run(scratch: Any, runner: Runner) -> None:
    """Both scripts, in bash, with the variables of a merge request: report and plan are written."""
    jobs = yaml.safe_load((ROOT / "ci/gitlab/kemudi.gitlab-ci.yml").read_text())
    change(scratch)
    scratch.edit("dev/sync.yaml", "SYNC_BATCH_SIZE: 600", "SYNC_BATCH_SIZE: few")
    scratch.commit("Bad")
    told = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": scratch.git("rev-parse", "main"), "KEMUDI_PATH": "."}
    for job, code in (("kemudi-validate", 1), ("kemudi-plan", 1)):
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", "\n".join(jobs[job]["script"])],
            cwd=scratch.root,
            env={**runner.environment(), **told},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "KEM023" in done.stdout
    report = json.loads((scratch.root / "gl-code-quality-report.json").read_text())
    assert [each["check_name"] for each in report] == ["KEM023"]
    assert "## Kemudi plan" in (scratch.root / "kemudi-plan.md").read_text()


def test_the_hook_runs_what_is_installed(scratch: Any) -> None:
    """The entry of the pre-commit hook is a command that exists, and it sees the whole config repo."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = hook["entry"].split()
    assert (program, hook["pass_filenames"]) == ("kemudi", False)
    assert scratch.kemudi(*arguments).returncode == 0
    scratch.edit("prod/sync.yaml", "SYNC_BATCH_SIZE: 5000", "SYNC_BATCH_SIZE: many")
    assert scratch.kemudi(*arguments).returncode == 1
