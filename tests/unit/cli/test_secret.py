"""`kemudi secret`: what each command prints, writes and refuses. No value stands in an argument or in what is said."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kemudi.cli.commands.secret import COMMANDS
from kemudi.cli.sealing import reseal, write_recipients
from kemudi.repo.secrets import load_identities, public_key

KEY = "NEO4J_PASSWORD"
CANARY = "canary-plaintext"


@pytest.fixture
def identity(kemudi, tmp_path) -> Path:
    """The identity of the only recipient, as `keygen` made it."""
    path = tmp_path / "me.txt"
    assert kemudi("secret", "keygen", "--identity", str(path)).code == 0
    return path


@pytest.fixture
def repo(example, identity) -> Path:
    """The worked example with a secret that the identity opens."""
    write_recipients(example, public_key(load_identities(identity)[0]))
    reseal(example, KEY, CANARY)
    return example


@pytest.fixture
def secret(kemudi, repo):
    """Run a secret command on the repo; nothing that it says holds the value unless told to reveal it."""

    def run(*arguments: str, stdin: str | None = None):
        outcome = kemudi("secret", *arguments, "--repo", str(repo), stdin=stdin)
        if "--reveal" not in arguments:
            assert CANARY not in outcome.out + outcome.err
        return outcome

    return run


def git(folder: Path, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "KEMUDI_IDENTITY": ""}
    argv = ["git", "-c", "user.name=Author", "-c", "user.email=author@example.org", *arguments]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_teaches(kemudi, name):
    """What it does, its options, and `--json` where it has a result."""
    outcome = kemudi("secret", name, "--help")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) > 8
    assert name == "textconv" or "--json" in outcome.out


class TestKeygen:
    """Keys for a person."""

    def test_an_identity_is_private_and_never_overwritten(self, kemudi, identity):
        """Mode 0600; the public key is printed, the private one is not."""
        assert stat.S_IMODE(identity.stat().st_mode) == 0o600
        text = identity.read_text()
        again = kemudi("secret", "keygen", "--identity", str(identity))
        assert (again.code, identity.read_text()) == (2, text)
        other = kemudi("secret", "keygen", "--identity", f"{identity}.2", "--json")
        assert other.json["recipient"].startswith("age1")
        assert "AGE-SECRET" not in other.out

    def test_it_is_one_or_the_other(self, kemudi):
        """A daemon's keys or a person's."""
        assert kemudi("secret", "keygen").code == 2


class TestSet:
    """Into the file, one line."""

    def test_the_line_alone_changes_and_comments_stay(self, secret, repo):
        """From stdin, one line break dropped; the file's other lines are the same bytes."""
        path = repo / "prod/neo4j.yaml"
        path.write_text(path.read_text().replace(f"{KEY}:", f"# why\n{KEY}:") + "# end\n")
        before = path.read_text().splitlines()
        outcome = secret("set", KEY, "-l", "prod", "--from-file", "-", "--json", stdin="new value\n")
        assert outcome.json == {"key": KEY, "layer": "prod", "file": str(path), "changed": True}
        after = path.read_text().splitlines()
        assert [old == new for old, new in zip(before, after, strict=True)].count(False) == 1

    def test_the_same_value_again_changes_nothing_with_an_identity(self, secret, repo, identity):
        """Not a byte; without one the line is sealed anew."""
        path = repo / "prod/neo4j.yaml"
        before = path.read_bytes()
        argv = ("set", KEY, "-l", "prod", "--from-file", "-")
        assert secret(*argv, "--identity", str(identity), stdin=CANARY).code == 0
        assert path.read_bytes() == before
        assert secret(*argv, stdin=CANARY).code == 0
        assert path.read_bytes() != before

    def test_a_value_is_never_an_argument(self, secret):
        """A third word is a usage error; without a terminal and a file there is nobody to ask."""
        assert secret("set", KEY, "value", "-l", "prod").code == 2
        assert secret("set", KEY, "-l", "prod", stdin="x").code == 2

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("NEO4J_URI", "-l", "prod"), "not sensitive"),
            (("NEO4J_PASSWORT", "-l", "prod"), "Did you mean"),
            ((KEY, "-l", "production"), "there is no layer"),
        ],
    )
    def test_a_wrong_call_says_so(self, secret, arguments, told):
        """Exit 2, and the nearest name."""
        outcome = secret("set", *arguments, "--from-file", "-", stdin=CANARY)
        assert outcome.code == 2
        assert told.lower() in (outcome.out + outcome.err).lower()


class TestGet:
    """What an identity is for."""

    def test_the_value_is_shown_only_when_it_is_asked_for(self, secret, identity):
        """Type, place and fingerprint otherwise; with --reveal nothing but the value."""
        argv = ("get", KEY, "--env", "prod", "--identity", str(identity))
        shown = secret(*argv, "--json").json
        assert (shown["type"], shown["value"], shown["layer"]) == ("string", None, "prod")
        assert secret(*argv, "--reveal").out == CANARY
        assert secret(*argv, "--reveal", "--json").json["value"] == CANARY
        assert shown["fingerprint"] in secret(*argv).out

    def test_without_an_identity_it_is_refused(self, secret, tmp_path, kemudi):
        """Exit 2 without one, 5 with one that is no recipient's; the readers are named."""
        assert secret("get", KEY, "-l", "prod").code == 2
        stranger = tmp_path / "stranger.txt"
        kemudi("secret", "keygen", "--identity", str(stranger))
        outcome = secret("get", KEY, "-l", "prod", "--identity", str(stranger), "--reveal")
        assert outcome.code == 5
        assert "it is sealed to daemon" in outcome.err
        stranger.chmod(0o644)
        assert secret("get", KEY, "-l", "prod", "--identity", str(stranger)).code == 5

    def test_a_key_that_no_layer_sets(self, secret, identity):
        """Neither --layer nor --env, both, and one that has no line."""
        one = ("get", KEY, "--identity", str(identity))
        assert secret(*one).code == 2
        assert secret(*one, "-l", "prod", "-e", "prod").code == 2
        assert secret(*one, "-l", "base").code == 2


class TestEdit:
    """In an editor, in memory."""

    @pytest.fixture
    def editor(self, monkeypatch, tmp_path):
        """An editor that is a Python program over the text; it reports the folder that it saw."""

        def make(program: str) -> Path:
            report = tmp_path / "report.json"
            script = tmp_path / "editor.py"
            script.write_text(
                "import json, os, pathlib, sys\n"
                "path = pathlib.Path(sys.argv[-1])\n"
                f"seen = [str(path), os.stat(path.parent).st_mode, os.stat(path).st_mode, path.read_text()]\n"
                f"pathlib.Path({str(report)!r}).write_text(json.dumps(seen))\n"
                "text = path.read_text()\n"
                f"{program}\n"
                "path.write_text(text)\n"
            )
            monkeypatch.delenv("VISUAL", raising=False)
            monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
            return report

        return make

    def test_what_changed_is_sealed_and_the_text_is_gone(self, secret, repo, identity, editor):
        """The opened text stood alone in a private folder outside the repository."""
        report = editor(f"text = text.replace({CANARY!r}, 'other')")
        outcome = secret("edit", "neo4j", "-l", "prod", "--identity", str(identity), "--json")
        assert outcome.json["changed"] == [KEY]
        path, folder_mode, mode, text = json.loads(report.read_text())
        assert (stat.S_IMODE(folder_mode), stat.S_IMODE(mode)) == (0o700, 0o600)
        assert f"{KEY}: {CANARY}\n" in text
        assert not Path(path).parent.exists()
        assert not Path(path).is_relative_to(repo)
        found = secret("get", KEY, "-l", "prod", "--identity", str(identity), "--reveal")
        assert found.out == "other"

    @pytest.mark.parametrize(
        ("program", "code"),
        [
            ("pass", 0),
            ("text += 'NEO4J_URI: x\\n'", 2),
            ("text += '{'", 2),
            (f"text += '{KEY}: twice\\n'", 2),
            ("sys.exit(3)", 2),
        ],
    )
    def test_what_cannot_be_taken_changes_nothing(self, secret, repo, identity, editor, program, code):
        """No change, a key that is no secret, no YAML, a key twice, an editor that failed."""
        editor(program)
        before = (repo / "prod/neo4j.yaml").read_bytes()
        assert secret("edit", "neo4j", "-l", "prod", "--identity", str(identity), stdin="").code == code
        assert (repo / "prod/neo4j.yaml").read_bytes() == before

    def test_a_deleted_line_is_taken_out(self, secret, repo, identity, editor):
        """And its comment stays."""
        editor("text = ''")
        assert secret("edit", "neo4j", "-l", "prod", "--identity", str(identity)).code == 0
        assert KEY not in (repo / "prod/neo4j.yaml").read_text()


class TestStatus:
    """Without any key."""

    def test_stale_recipients_are_found_and_rekey_mends_them(self, secret, repo, identity, kemudi, tmp_path):
        """--check exits 1 before and 0 after; the values are the same."""
        assert secret("status", "--check").code == 0
        kemudi("secret", "keygen", "--identity", str(tmp_path / "new.txt"))
        new = public_key(load_identities(tmp_path / "new.txt")[0])
        text = (repo / "recipients.yaml").read_text()
        text = text.replace("recipients:\n", f"recipients:\n  mate: {{key: {new}, kind: human}}\n", 1)
        (repo / "recipients.yaml").write_text(text.replace("- daemon", "- daemon\n  - mate"))
        outcome = secret("status", "--check", "--json")
        assert outcome.code == 1
        assert {each["problems"][0]["rule"] for each in outcome.json["secrets"]} == {"KEM034"}
        assert kemudi("validate", str(repo)).code == 1
        assert len(secret("rekey", "--identity", str(identity), "--json").json["sealed"]) == 3
        assert secret("status", "--check").code == 0
        found = secret("get", KEY, "-l", "dev", "--identity", str(tmp_path / "new.txt"), "--reveal")
        assert found.out == CANARY

    def test_a_copied_ciphertext_is_found_by_status_and_by_validate(self, secret, repo, kemudi):
        """From staging to prod, no key at hand."""
        (repo / "prod/neo4j.yaml").write_bytes((repo / "staging/neo4j.yaml").read_bytes())
        assert secret("status", "--check").code == 1
        outcome = kemudi("validate", str(repo))
        assert outcome.code == 1
        assert "KEM033" in outcome.out


class TestDiff:
    """What git shows."""

    @pytest.fixture
    def history(self, repo) -> Path:
        """The repo in git, with the diff driver set up as the manual says."""
        git(repo, "init", "--quiet", "--initial-branch=main")
        git(repo, "config", "diff.kemudi.textconv", f"{sys.executable} -m kemudi.cli secret textconv")
        (repo / ".gitattributes").write_text("*.yaml diff=kemudi\n")
        git(repo, "add", "--all")
        git(repo, "commit", "--quiet", "-m", "one")
        return repo

    def test_a_diff_shows_type_and_fingerprint(self, history):
        """Through the real git, without a key: that the ciphertext changed, and nothing of it."""
        reseal(history, KEY, "other-canary")
        shown = git(history, "diff", "prod/neo4j.yaml")
        assert shown.count(f"{KEY}: <sealed, ciphertext ") == 2
        assert "ENC[" not in shown

    def test_with_an_identity_a_value_sealed_anew_is_no_difference(self, kemudi, history, identity):
        """The fingerprint is of the value, keyed; --reveal shows it."""
        path = str(history / "prod/neo4j.yaml")
        one = kemudi("secret", "textconv", path, "--identity", str(identity)).out
        reseal(history, KEY, CANARY)
        assert kemudi("secret", "textconv", path, "--identity", str(identity)).out == one
        assert f"{KEY}: <sealed string " in one
        assert (
            f"{KEY}: {CANARY}\n"
            in kemudi("secret", "textconv", path, "--identity", str(identity), "--reveal").out
        )
        assert kemudi("secret", "textconv", path, "--reveal").code == 2

    def test_it_refuses_to_be_cached(self, kemudi, history, monkeypatch):
        """git would keep opened text as objects under refs/notes/textconv."""
        monkeypatch.chdir(history)
        git(history, "config", "diff.kemudi.cachetextconv", "true")
        outcome = kemudi("secret", "textconv", "prod/neo4j.yaml")
        assert (outcome.code, outcome.out) == (5, "")
        assert "refs/notes/textconv" in outcome.err


def test_a_renamed_setting_takes_its_value_along(secret, repo, identity):
    """The contract first, then `rebind`; the line keeps its place."""
    contract = repo / "contracts/neo4j.schema.json"
    contract.write_text(contract.read_text().replace(KEY, "NEO4J_SECRET"))
    assert (
        len(secret("rebind", KEY, "NEO4J_SECRET", "--identity", str(identity), "--json").json["sealed"]) == 3
    )
    lines = (repo / "prod/neo4j.yaml").read_text().splitlines()
    assert lines[3].startswith("NEO4J_SECRET: ENC[kemudi:")
    found = secret("get", "NEO4J_SECRET", "-l", "prod", "--identity", str(identity), "--reveal")
    assert found.out == CANARY


def test_rotate_plan_and_guard_read_git(secret, repo):
    """The example in git: what the daemon could read, and nothing in the way of a commit until there is."""
    git(repo, "init", "--quiet", "--initial-branch=main")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", "one")
    plan = secret("rotate-plan", "daemon", "--json").json
    assert [(each["layer"], each["key"]) for each in plan["secrets"]] == [
        (layer, KEY) for layer in ("dev", "prod", "staging")
    ]
    assert secret("guard").code == 0
    (repo / "dev/neo4j.yaml").write_text(f"{KEY}: {CANARY}\n")
    git(repo, "add", "--all")
    assert secret("guard").code == 1
    git(repo, "commit", "--quiet", "-m", "two")
    outcome = secret("guard")
    assert outcome.code == 1
    assert "Change the secret at its source" in outcome.err
    assert [each["key"] for each in secret("guard", "--json").json["committed"]] == [KEY]


def test_a_file_of_sops_is_given_out_and_taken_over(secret, repo, identity, kemudi):
    """Round trip through both commands; the values file itself may be the SOPS file."""
    path = repo / "prod/neo4j.yaml"
    outcome = secret("export-sops", "neo4j", "-l", "prod", "--identity", str(identity))
    assert outcome.code == 0
    path.write_text(outcome.out)
    assert kemudi("validate", str(repo)).code == 0
    refused = secret("set", KEY, "-l", "prod", "--from-file", "-", stdin="x")
    assert (refused.code, "import-sops" in refused.err) == (2, True)
    taken = secret("import-sops", str(path), "-l", "prod", "--identity", str(identity), "--json")
    assert KEY in taken.json["keys"]
    assert "sops:" not in path.read_text()
    found = secret("get", KEY, "-l", "prod", "--identity", str(identity), "--reveal")
    assert found.out == CANARY
