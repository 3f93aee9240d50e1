"""The commands that change settings and read their history, as their user meets them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kemudi.repo.git import environment


@pytest.fixture
def repo(example: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The worked example as a git repository, and the folder that one stands in."""
    git(example, "init", "-q", "-b", "main")
    git(example, "config", "user.name", "Author")
    git(example, "config", "user.email", "author@example.org")
    git(example, "add", "--all")
    git(example, "commit", "-q", "-m", "first")
    monkeypatch.chdir(example)
    return example


def git(repo: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=repo, env=environment(), capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_set_makes_one_commit_and_says_what_comes_next(kemudi: Any, repo: Path) -> None:
    """The plan goes to stderr, the result to stdout; asked again, there is nothing to change."""
    done = kemudi("set", "SYNC_BATCH_SIZE", "4000", "--env", "prod", "-m", "the batch times out")
    assert done.code == 0
    assert "5000 → 4000" in done.err
    sha = git(repo, "rev-parse", "--short=9", "HEAD")
    assert f"committed {sha} on main: Set SYNC_BATCH_SIZE in prod" in done.out
    assert f"kemudi wait {sha} --env prod" in done.out
    assert git(repo, "diff", "--numstat", "HEAD~1") == "1\t1\tprod/sync.yaml"
    assert "nothing to change" in kemudi("set", "SYNC_BATCH_SIZE", "4000", "-e", "prod", "-m", "again").out


def test_a_dry_run_and_a_proposal_leave_the_branch_alone(kemudi: Any, repo: Path) -> None:
    """Both as JSON: the plan in its pinned form, and where the proposal is."""
    first = git(repo, "rev-parse", "HEAD")
    tried = kemudi("set", "CACHE_TTL", "60", "--layer", "base", "--dry-run", "--json").json
    assert (tried["changed"], tried["revision"]) == (False, None)
    assert "+CACHE_TTL: 60" in tried["diff"]
    assert tried["plan"]["environments"][0]["env"] == "dev"
    made = kemudi("set", "CACHE_TTL", "60", "--layer", "base", "-m", "x", "--json", "--propose").json
    assert made["branch"] == "kemudi/set-cache-ttl-in-base"
    assert git(repo, "rev-parse", made["branch"]) == made["revision"]
    assert git(repo, "rev-parse", "HEAD") == first


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("SYNC_BATCH_SIZE", "0", "-e", "prod", "-m", "x"), 1, "at least 1"),
        (("SYNC_BATCH_SIZE", "many", "-e", "prod", "-m", "x"), 2, "a whole number of rows"),
        (("SYNC_BATCH_SIZ", "1", "-e", "prod", "-m", "x"), 2, "did you mean SYNC_BATCH_SIZE"),
        (("SYNC_BATCH_SIZE", "1", "-e", "prd", "-m", "x"), 2, "no environment 'prd'"),
        (("SYNC_BATCH_SIZE", "1", "-e", "prod"), 2, "say why with -m"),
        (("SYNC_BATCH_SIZE", "1", "-m", "x"), 2, "--env"),
        (("NEO4J_PASSWORD", "hunter2", "-e", "prod", "-m", "x"), 2, "kemudi secret set NEO4J_PASSWORD"),
    ],
)
def test_what_set_refuses(kemudi: Any, repo: Path, arguments: Any, code: int, told: str) -> None:
    """With the exit code of its kind and the way out; nothing is written, and no secret repeated."""
    refused = kemudi("set", *arguments)
    assert refused.code == code
    assert told in refused.err
    assert "hunter2" not in refused.err
    assert git(repo, "rev-list", "--count", "HEAD") == "1"


def test_rollback_of_one_key_out_of_five_changes_one_line(kemudi: Any, repo: Path) -> None:
    """And undoing the whole commit is refused while a later one stands on it."""
    values = {"SYNC_TIMEOUT": 7300, "SYNC_RETRY_ATTEMPTS": 6, "SYNC_PARALLELISM": 5, "CACHE_TTL": 1000}
    document = json.dumps({"prod": values | {"API_RATE_LIMIT": 700}})
    assert kemudi("bulk", "-", "-m", "bigger semester", stdin=document).code == 0
    five = git(repo, "rev-parse", "HEAD")
    assert git(repo, "rev-list", "--count", "HEAD") == "2"
    assert kemudi("rollback", five, "SYNC_TIMEOUT", "-m", "too long").code == 0
    assert git(repo, "diff", "--numstat", "HEAD~1") == "1\t1\tprod/sync.yaml"
    assert f"Kemudi-Rollback: {five}" in git(repo, "log", "-1", "--format=%b")
    conflict = kemudi("rollback", five, "-m", "all")
    assert conflict.code == 4
    assert "SYNC_TIMEOUT in prod was changed again" in conflict.err
    assert kemudi("rollback", "CACHE_TTL", "--env", "prod", "-m", "back").code == 0
    assert "CACHE_TTL: 900" in (repo / "prod/performance.yaml").read_text()


@pytest.mark.parametrize("how", ["the setting", "a revision", "a commit"])
def test_rollback_goes_on_when_the_layer_got_another_name(kemudi: Any, repo: Path, how: str) -> None:
    """Its value before, its value at a revision, and what a commit did are found, and written where it stands now."""
    assert kemudi("set", "SYNC_TIMEOUT", "7300", "-e", "prod", "-m", "x").code == 0
    changed = git(repo, "rev-parse", "HEAD")
    git(repo, "mv", "prod", "production")
    manifest = repo / "kemudi.yaml"
    manifest.write_text(manifest.read_text().replace("layers: [base, prod]", "layers: [base, production]"))
    git(repo, "commit", "-q", "-am", "another name")
    before = git(repo, "rev-parse", "HEAD")
    asked = {
        "the setting": ("SYNC_TIMEOUT", "-e", "prod"),
        "a revision": ("SYNC_TIMEOUT", "-e", "prod", "--to", f"{changed}~1"),
        "a commit": (changed,),
    }
    done = kemudi("rollback", *asked[how], "-m", "back")
    assert done.code == 0, done.err
    assert git(repo, "diff", "--numstat", before, "HEAD") == "1\t1\tproduction/sync.yaml"
    assert "SYNC_TIMEOUT: 7200" in (repo / "production/sync.yaml").read_text()


def test_rollback_to_what_the_contract_forbids_today_is_refused(kemudi: Any, repo: Path) -> None:
    """With the reason, and nothing is written."""
    assert kemudi("set", "SYNC_TIMEOUT", "7300", "-e", "prod", "-m", "x").code == 0
    path = repo / "contracts/sync.schema.json"
    contract = json.loads(path.read_text())
    contract["properties"]["SYNC_TIMEOUT"]["minimum"] = 7250
    contract["properties"]["SYNC_TIMEOUT"]["default"] = 7250
    path.write_text(json.dumps(contract, indent=2))
    for layer in ("base", "dev", "staging"):
        kept = [
            line
            for line in (repo / layer / "sync.yaml").read_text().splitlines()
            if "SYNC_TIMEOUT" not in line
        ]
        (repo / layer / "sync.yaml").write_text("\n".join(kept) + "\n")
    git(repo, "commit", "-q", "-am", "stricter")
    refused = kemudi("rollback", "SYNC_TIMEOUT", "-e", "prod", "-m", "back")
    assert refused.code == 1
    assert "at least 7250" in refused.err
    assert "SYNC_TIMEOUT: 7300" in (repo / "prod/sync.yaml").read_text()


def test_promote_and_compare(kemudi: Any, repo: Path) -> None:
    """What the layers below give anyway is not written; secrets are compared without a key, and not promoted."""
    found = {each["key"]: each for each in kemudi("compare", "staging", "prod", "--json").json["differences"]}
    assert (found["SYNC_PARALLELISM"]["left"], found["SYNC_PARALLELISM"]["right"]) == (1, 4)
    assert (found["NEO4J_PASSWORD"]["state"], found["NEO4J_PASSWORD"]["left"]) == ("unknown", None)
    assert kemudi("compare", "prod", "prod").code == 0
    done = kemudi(
        "promote", "--from", "staging", "--to", "prod", "SYNC_PARALLELISM", "SYNC_BATCH_SIZE", "-m", "ran"
    )
    assert done.code == 0
    text = (repo / "prod/sync.yaml").read_text()
    assert "SYNC_PARALLELISM" not in text
    assert "SYNC_BATCH_SIZE: 2000" in text
    refused = kemudi("promote", "--from", "staging", "--to", "prod", "NEO4J_PASSWORD", "-m", "x")
    assert (refused.code, "cannot be promoted" in refused.err) == (2, True)


def test_the_history_commands_agree(kemudi: Any, repo: Path) -> None:
    """Log, blame, show, diff and explain tell of the same commit; a secret is never shown."""
    kemudi("set", "SYNC_TIMEOUT", "7300", "-e", "prod", "-m", "the semester is bigger")
    sha = git(repo, "rev-parse", "HEAD")
    newest = kemudi("log", "SYNC_TIMEOUT", "-e", "prod", "-n", "1", "--json").json["entries"][0]
    assert (newest["revision"], newest["old"], newest["new"]) == (sha, 7200, 7300)
    assert (newest["reason"], newest["live_at"]) == ("the semester is bigger", None)
    blamed = {each["key"]: each for each in kemudi("blame", "-e", "prod", "--json").json["settings"]}
    assert blamed["SYNC_TIMEOUT"]["revision"] == sha
    assert "prod  SYNC_TIMEOUT  7200 → 7300  prod/sync.yaml:3" in kemudi("show", "HEAD").out
    assert "7200 → 7300" in kemudi("diff", "HEAD~1").out
    explained = kemudi("explain", "SYNC_TIMEOUT", "-e", "prod", "--json").json
    assert (explained["value"], explained["origin"]["revision"]) == (7300, sha)
    assert kemudi("explain", "SYNC_TIMEOUT", "-e", "prod", "--at", "HEAD~1", "--json").json["value"] == 7200
    assert "ENC[" not in kemudi("log", "NEO4J_PASSWORD").out + kemudi("blame", "-e", "prod").out
