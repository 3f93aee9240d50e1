"""The commands that need no server: what they print, where, and their exit codes."""

import json

import pytest

from kemudi.cli.main import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_teaches(kemudi, name):
    """`--help` exits 0, says what the command does, and names its options."""
    outcome = kemudi(name, "--help")
    assert outcome.code == 0
    assert "Usage: kemudi" in outcome.out
    assert len(outcome.out.splitlines()) > 5


def test_a_mistyped_command_is_a_usage_error_that_names_the_nearest(kemudi):
    """Exit 2 and a suggestion on stderr."""
    outcome = kemudi("statsu")
    assert outcome.code == 2
    assert "Did you mean 'status'?" in outcome.err


def test_the_example_validates(kemudi, example):
    """No finding: exit 0, nothing on stdout."""
    outcome = kemudi("validate", str(example))
    assert (outcome.code, outcome.out.strip()) == (0, "")


def test_findings_are_data_with_place_rule_and_hint(kemudi, example):
    """Exit 1; text begins with file:line:column and the rule; JSON has the pinned fields."""
    (example / "dev" / "sync.yaml").write_text("SYNC_BATCH_SIZE: lots\n")
    text = kemudi("validate", str(example))
    assert text.code == 1
    assert text.out.startswith("dev/sync.yaml:1:18: KEM")
    report = kemudi("validate", str(example), "--format", "json").json
    (finding,) = report["errors"]
    assert (finding["file"], finding["line"], finding["column"]) == ("dev/sync.yaml", 1, 18)
    assert finding["key"] == "SYNC_BATCH_SIZE"
    assert {"pointer", "rule", "message", "hint"} <= finding.keys()
    assert report["files"] > 20


def test_a_plaintext_secret_is_found_and_never_printed(kemudi, example):
    """The place is named; the value stands nowhere in the output."""
    (example / "dev" / "neo4j.yaml").write_text("NEO4J_PASSWORD: hunter2-canary\n")
    for form in ("text", "json"):
        outcome = kemudi("validate", str(example), "--format", form)
        assert outcome.code == 1
        assert "NEO4J_PASSWORD" in outcome.out
        assert "canary" not in outcome.out + outcome.err


def test_no_config_repo_is_a_usage_error(kemudi, tmp_path):
    """Exit 2, and the message says how to name or start one."""
    outcome = kemudi("validate", str(tmp_path))
    assert outcome.code == 2
    assert "kemudi init" in outcome.err


def test_get_prints_the_bare_value_and_its_source(kemudi, example):
    """Text is for a shell; JSON is the pinned form."""
    assert kemudi("get", "SYNC_BATCH_SIZE", "--env", "dev", "--repo", str(example)).out == "500\n"
    answer = kemudi("get", "SYNC_BATCH_SIZE", "--env", "dev", "--repo", str(example), "--json").json
    assert answer["value"] == 500
    assert answer["type"] == "integer"
    assert answer["category"] == "sync"
    assert answer["source"] == {"file": "dev/sync.yaml", "line": 3}
    assert answer["layer"] == "dev"
    assert answer["live"] is None
    assert answer["sensitive"] is False


def test_a_default_has_no_source(kemudi, example):
    """A setting that no layer sets has the layer `default`."""
    for layer in ("base", "dev"):
        path = example / layer / "sync.yaml"
        path.write_text(
            "\n".join(line for line in path.read_text().splitlines() if "SYNC_TIMEOUT" not in line) + "\n"
        )
    answer = kemudi("get", "SYNC_TIMEOUT", "--env", "dev", "--repo", str(example), "--json").json
    assert (answer["value"], answer["layer"], answer["source"]) == (3600, "default", None)


def test_unknown_names_are_usage_errors_that_say_what_there_is(kemudi, example):
    """Exit 2 for an unknown key, environment or category."""
    for arguments in (("get", "SYNC_BATCH_SIZ"), ("explain", "NOPE"), ("list", "--category", "sink")):
        assert kemudi(*arguments, "--env", "dev", "--repo", str(example)).code == 2
    outcome = kemudi("list", "--env", "pord", "--repo", str(example))
    assert outcome.code == 2
    assert "prod" in outcome.err


def test_list_masks_what_is_sensitive(kemudi, example):
    """Every setting is listed; a secret's value is not."""
    rows = kemudi("list", "--env", "prod", "--repo", str(example), "--json").json["settings"]
    assert len(rows) == 20
    assert next(row for row in rows if row["key"] == "NEO4J_PASSWORD")["value"] is None


def test_explain_names_the_line_that_won_and_what_it_overrides(kemudi, example):
    """Layer, file and line of the value and of the ones below it."""
    text = kemudi("explain", "SYNC_BATCH_SIZE", "--env", "dev", "--repo", str(example)).out
    assert "dev/sync.yaml:3" in text
    assert "base/sync.yaml:2" in text


def test_init_starts_a_repo_that_validates_and_is_committed(kemudi, tmp_path):
    """A new folder becomes a git repository with one commit; a second init refuses to touch it."""
    folder = tmp_path / "settings"
    started = kemudi("init", str(folder), "--json").json
    assert started["committed"] is True
    assert kemudi("validate", str(folder)).code == 0
    assert kemudi("get", "APP_PAGE_SIZE", "--env", "dev", "--repo", str(folder)).out == "10\n"
    assert kemudi("init", str(folder)).code == 4


def test_keygen_makes_private_files_and_overwrites_nothing(kemudi, example, tmp_path):
    """Identity, signing key and one keyset per service, all 0600; again in the same folder: refused."""
    out = tmp_path / "keys"
    made = kemudi("secret", "keygen", "--out", str(out), "--repo", str(example), "--json").json
    assert made["recipient"].startswith("age1")
    modes = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert modes.pop("verify.pub") == 0o644
    assert set(modes.values()) == {0o600}
    assert {"identity.txt", "signing.key", "keyset.json", "keyset-graph.json", "keyset-sync.json"} == set(
        modes
    )
    assert kemudi("secret", "keygen", "--out", str(out), "--repo", str(example)).code == 4


def test_a_secret_is_set_in_one_line_and_validates_without_any_key(kemudi, example):
    """Only the line of the key changes; the value is nowhere; `validate` finds the new seal in its place."""
    path = example / "prod" / "neo4j.yaml"
    before = path.read_text().splitlines()
    arguments = (
        "secret",
        "set",
        "NEO4J_PASSWORD",
        "--layer",
        "prod",
        "--repo",
        str(example),
        "--from-file",
        "-",
    )
    outcome = kemudi(*arguments, stdin="hunter2-canary\n")
    assert outcome.code == 0, outcome.err
    after = path.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0].startswith("NEO4J_PASSWORD: ENC[kemudi:v1,")
    assert "canary" not in path.read_text() + outcome.out + outcome.err
    assert kemudi("validate", str(example)).code == 0


def test_a_secret_is_never_taken_from_the_command_line(kemudi, example):
    """There is no option for the value, and without a terminal or a file the command says how."""
    assert (
        kemudi("secret", "set", "NEO4J_PASSWORD", "hunter2", "--layer", "prod", "--repo", str(example)).code
        == 2
    )
    outcome = kemudi("secret", "set", "NEO4J_PASSWORD", "--layer", "prod", "--repo", str(example), stdin="")
    assert outcome.code == 2
    assert "--from-file" in outcome.err


def test_a_settings_file_gives_defaults_and_a_flag_wins(kemudi, example, tmp_path):
    """Flag over file; a table of the file holds for its own command."""
    file = tmp_path / "kemudi.toml"
    file.write_text(f'repo = "{example}"\nenv = "prod"\n\n[explain]\nenv = "staging"\n')
    assert kemudi("--config", str(file), "get", "SYNC_BATCH_SIZE", "--json").json["layer"] in {"base", "prod"}
    assert kemudi("--config", str(file), "get", "SYNC_BATCH_SIZE", "--env", "dev").out == "500\n"
    assert "in staging" in kemudi("--config", str(file), "explain", "SYNC_BATCH_SIZE").out
    file.write_text("not toml")
    assert kemudi("--config", str(file), "validate").code == 2


def test_a_variable_wins_over_the_settings_file(kemudi, example, tmp_path, monkeypatch):
    """KEMUDI_ENV over the file's `env`."""
    file = tmp_path / "kemudi.toml"
    file.write_text(f'repo = "{example}"\nenv = "prod"\n')
    monkeypatch.setenv("KEMUDI_ENV", "dev")
    assert kemudi("--config", str(file), "get", "SYNC_BATCH_SIZE").out == "500\n"


def test_the_daemon_away_is_exit_code_3(kemudi):
    """Every command that asks the daemon says so, with what to do."""
    for arguments in (
        ("status",),
        ("wait", "HEAD", "--env", "dev", "--timeout", "1"),
        ("drift",),
        ("reconcile",),
        ("pause", "--env", "dev", "--reason", "why"),
        ("resume", "--env", "dev"),
        ("accept-rewrite", "--env", "dev", "--reason", "why"),
    ):
        outcome = kemudi(*arguments, "--daemon", "http://127.0.0.1:9")
        assert outcome.code == 3, arguments
        assert "kemudi daemon" in outcome.err


def test_the_end_of_a_pause_must_be_a_time_ahead(kemudi):
    """Spans and RFC 3339 are taken; the past, a time without zone and nonsense are not."""
    base = ("pause", "--env", "dev", "--reason", "why", "--daemon", "http://127.0.0.1:9", "--until")
    assert kemudi(*base, "30min").code == 3
    assert kemudi(*base, "2999-01-01T00:00:00Z").code == 3
    for wrong in ("2001-01-01T00:00:00Z", "2999-01-01T00:00:00", "soon", "9999999d"):
        assert kemudi(*base, wrong).code == 2


def test_doctor_finds_a_key_that_others_can_read(kemudi, example, tmp_path):
    """Exit 1, and the message is the command that mends it."""
    key = tmp_path / "identity.txt"
    key.write_text("AGE-SECRET-KEY-1")
    key.chmod(0o644)
    outcome = kemudi("doctor", "--repo", str(example), "--identity", str(key), "--json")
    assert outcome.code == 1
    found = {check["name"]: check for check in outcome.json["checks"]}
    assert found["identity"]["message"].endswith(f"chmod 600 {key}")
    assert found["config repo"]["state"] == "ok"


def test_doctor_never_repeats_a_password(kemudi, example):
    """A Redis that does not answer is named without its address."""
    outcome = kemudi("doctor", "--repo", str(example), "--redis", "redis://:canary@127.0.0.1:9/0")
    assert outcome.code == 1
    assert "canary" not in outcome.out + outcome.err


def test_an_unexpected_error_is_exit_code_70_without_a_traceback(kemudi, monkeypatch, example):
    """A bug says its name and how to see more, and nothing of what it was working on."""

    def broken(*_arguments):
        raise RuntimeError("canary")

    monkeypatch.setattr("kemudi.cli.validation.validate", broken)
    outcome = kemudi("validate", str(example))
    assert outcome.code == 70
    assert "KEMUDI_DEBUG" in outcome.err
    assert "canary" not in outcome.err


def test_no_colour_where_nobody_sees_it(kemudi, example, monkeypatch):
    """NO_COLOR and a pipe give plain text."""
    monkeypatch.setenv("NO_COLOR", "1")
    (example / "dev" / "sync.yaml").write_text("SYNC_BATCH_SIZE: lots\n")
    assert "\x1b[" not in kemudi("validate", str(example)).out


def test_json_is_one_document(kemudi, example):
    """What `--json` prints can be read by a program as it is."""
    outcome = kemudi("list", "--env", "dev", "--repo", str(example), "--json")
    assert json.loads(outcome.out)["env"] == "dev"
    assert outcome.out.count("\n") == 1


def test_the_shell_completes_real_keys_and_environments(kemudi, example, monkeypatch):
    """Names come from the config repo at hand; where there is none, nothing is offered and nothing fails."""
    monkeypatch.setenv("_KEMUDI_COMPLETE", "bash_complete")
    monkeypatch.setenv("KEMUDI_REPO", str(example))
    monkeypatch.setenv("COMP_WORDS", "kemudi get SYNC_B")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert "SYNC_BATCH_SIZE" in kemudi().out
    monkeypatch.setenv("COMP_WORDS", "kemudi status --env p")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert "prod" in kemudi().out
    monkeypatch.setenv("KEMUDI_REPO", "/nowhere")
    outcome = kemudi()
    assert (outcome.code, outcome.out.strip()) == (0, "")
