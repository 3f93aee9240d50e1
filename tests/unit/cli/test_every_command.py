"""What holds for every command of the program, by a table that a new command has to enter."""

import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from kemudi.cli import completion
from kemudi.cli.main import cli
from kemudi.cli.sealing import reseal, write_recipients
from kemudi.repo.secrets import generate_identity, save_identity


def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, by its words."""
    context = click.Context(group, info_name=group.name)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        words = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from leaves(command, words)
        elif command is not None:
            yield words, command


COMMANDS = dict(leaves(cli))

# Without a server, what each is called with: it ends with 0, or with the number at the end.
RUNS: dict[str, tuple[str | int, ...]] = {
    "init": ("fresh",),
    "setup": (),
    "import constance": ("settings.py", "--repo", "fresh"),
    "import django-settings": ("settings.py", "--repo", "fresh"),
    "import dotenv": ("values.env", "--repo", "fresh"),
    "import dynamic-config": ("sqlite:///values.db", "--repo", "fresh"),
    "import env": ("--prefix", "SHOP_", "--repo", "fresh"),
    "import json": ("values.json", "--repo", "fresh"),
    "import yaml": ("values.yaml", "--repo", "fresh"),
    "validate": (),
    "plan": (),
    "explain": ("SYNC_TIMEOUT",),
    "get": ("SYNC_TIMEOUT",),
    "export": (),
    "scan": ("settings.py",),
    "unused": ("settings.py", 1),
    "list": (),
    "set": ("SYNC_TIMEOUT", "4321", "-m", "why"),
    "unset": ("SYNC_TIMEOUT", "-m", "why"),
    "bulk": ("bulk.yaml", "-m", "why"),
    "rollback": ("SYNC_TIMEOUT", "-m", "why"),
    "promote": ("--from", "dev", "--to", "staging", "SYNC_TIMEOUT", "-m", "why"),
    "compare": ("dev", "staging", 1),
    "log": (),
    "blame": (),
    "show": ("HEAD",),
    "diff": ("HEAD",),
    "secret keygen": ("--identity", "another.txt"),
    "secret set": ("NEO4J_PASSWORD", "--layer", "dev", "--from-file", "values.env"),
    "secret edit": ("neo4j", "--layer", "dev", "--identity", "identity.txt"),
    "secret get": ("NEO4J_PASSWORD", "--identity", "identity.txt"),
    "secret status": (),
    "secret rekey": ("--identity", "identity.txt"),
    "secret rebind": ("NEO4J_PASSWORD", "NEO4J_PASSWORD", "--identity", "identity.txt"),
    "secret rotate-plan": ("daemon",),
    "secret guard": (),
    "secret export-sops": ("neo4j", "--layer", "dev", "--identity", "identity.txt"),
    "secret import-sops": (
        "given.yaml",
        "--layer",
        "dev",
        "--category",
        "neo4j",
        "--identity",
        "identity.txt",
    ),
    "secret textconv": ("dev/neo4j.yaml",),
    "redis acl": ("--role", "reader", "--service", "graph"),
    "sync pause": ("-m", "why"),
    "sync resume": ("-m", "why"),
    "console login": ("--state", "state"),
    "console user add": (
        "alpha",
        "--name",
        "Alpha",
        "--email",
        "a@example.org",
        "--password-file",
        "values.json",
    ),
    "console user remove": ("nobody", 2),
    "console token add": ("pipeline", "--role", "viewer"),
    "console token remove": ("nothing", 2),
    "doctor": (),
}
ASK_A_SERVER = {
    "status": (),
    "wait": ("HEAD",),
    "drift": (),
    "pause": ("--reason", "why"),
    "resume": (),
    "override set": ("SYNC_TIMEOUT", "4321", "--until", "1h", "--reason", "why"),
    "override end": ("SYNC_TIMEOUT",),
    "override list": (),
    "reconcile": (),
    "accept-rewrite": ("--reason", "why"),
    "sync run": (),
    "sync status": (),
    "sync verify": (),
}
SERVE = {"up", "daemon", "graph serve", "console serve"}
WITH_FILES_OF_A_DAEMON = {"apply", "secret rotate-keyset"}
# They run until they are ended, or write what git wants to read.
NO_JSON = {"daemon", "graph serve", "console serve", "secret textconv"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worked example in git, one secret sealed to an identity beside it, and things to import."""
    from kemudi.cli.starter import start

    folder = tmp_path_factory.mktemp("template") / "repo"
    start(folder, example=True)
    identity, public = generate_identity()
    write_recipients(folder, public)
    reseal(folder, "NEO4J_PASSWORD", "a-planted-password-of-the-table")
    for words in (["config", "user.name", "Author"], ["config", "user.email", "author@example.org"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    subprocess.run(["git", "commit", "--quiet", "--all", "--message", "keys"], cwd=folder, check=True)
    save_identity(folder / "identity.txt", identity)
    (folder / "settings.py").write_text(
        "SHOP_LIMIT = 5\nCONSTANCE_CONFIG = {'SHOP_SIZE': (42, 'Size', int)}\n"
    )
    (folder / "values.env").write_text("SHOP_LIMIT=5\n")
    (folder / "values.json").write_text('{"SHOP_LIMIT": 5, "SHOP_NAME": "of a length"}')
    (folder / "values.yaml").write_text("SHOP_LIMIT: 5\n")
    (folder / "bulk.yaml").write_text("SYNC_TIMEOUT: 4321\n")
    with sqlite3.connect(folder / "values.db") as database:
        database.execute(
            "create table dynamic_config (key text, value text, data_type text, category text, default_value text,"
            " is_active int, is_sensitive int, requires_restart int)"
        )
        database.execute(
            "insert into dynamic_config values ('SHOP_LIMIT', '5', 'integer', 'shop', '4', 1, 0, 0)"
        )
    database.close()
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that is the working folder, with what a command needs to know in the environment."""
    copy = tmp_path / "repo"
    shutil.copytree(template, copy, symlinks=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("KEMUDI_ENV", "dev")
    monkeypatch.setenv("KEMUDI_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("KEMUDI_DAEMON_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("KEMUDI_GRAPH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setenv("SHOP_LIMIT", "5")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("NO_COLOR")  # whatever a command makes of it is undone
    return copy


def called(name: str, kemudi: Callable[..., Any]) -> tuple[list[str], int]:
    """The words of one run, and the exit code that it has to end with."""
    words = [*RUNS[name]]
    code = words.pop() if words and isinstance(words[-1], int) else 0
    if name == "secret import-sops":
        made = kemudi("secret", "export-sops", "neo4j", "--layer", "dev", "--identity", "identity.txt")
        Path("given.yaml").write_text(made.out)
    if name == "doctor":
        words += ["--daemon", "http://127.0.0.1:8422"]
    return [*name.split(), *map(str, words)], int(code)


def test_the_table_knows_every_command() -> None:
    """A new command has to be entered here, and is then held to all that follows."""
    assert {*RUNS, *ASK_A_SERVER, *SERVE, *WITH_FILES_OF_A_DAEMON} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_that_all_have(name: str) -> None:
    """An example in the help, `--no-color`, and `--json` and `--output` where there is a result."""
    command = COMMANDS[name]
    options = {option for each in command.params for option in each.opts}
    assert f"  kemudi {name}" in (command.epilog or "") or f" kemudi {name} " in (command.epilog or "")
    assert "--no-color" in options
    assert {"--json", "--output"} <= options or name in NO_JSON | {"up"}
    assert "--json" in options or name in NO_JSON


@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.startswith("import ")])
def test_what_the_config_repo_names_is_completed(name: str) -> None:
    """Environments, layers, categories and keys, wherever they are asked for. An import makes new ones."""
    wanted = {
        "env": {completion.environments},
        "environments": {completion.environments},
        "layer": {completion.layers},
        "category": {completion.categories},
        "categories": {completion.categories},
        "key": {completion.settings, completion.sensitive_settings},
        "keys": {completion.settings},
    }
    for each in COMMANDS[name].params:
        if each.name in wanted and not (name == "secret import-sops" and each.name == "category"):
            assert each._custom_shell_complete in wanted[each.name], each.name


@pytest.mark.parametrize("name", RUNS)
def test_the_result_is_data_and_nothing_else(name: str, folder: Path, kemudi: Callable[..., Any]) -> None:
    """In a pipe: the exit code, JSON that a program reads as it is, no escape sequence, no question."""
    words, code = called(name, kemudi)
    flags = [] if name in NO_JSON else ["--json"]
    outcome = kemudi(*words, *flags)
    assert outcome.code == code, outcome.err
    assert "\x1b" not in outcome.out + outcome.err
    if flags and code != 2:
        assert json.loads(outcome.out) is not None
        assert outcome.out.count("\n") == 1
    elif code == 2:
        assert outcome.out == ""
        assert outcome.err.startswith("kemudi: ")


@pytest.mark.parametrize("name", ["plan", "list", "log", "validate", "explain", "secret status"])
def test_yaml_says_what_json_says(name: str, folder: Path, kemudi: Callable[..., Any]) -> None:
    """`--output json` is `--json`; `--output yaml` is the same document."""
    words, _ = called(name, kemudi)
    plain = kemudi(*words, "--json").json
    assert kemudi("--no-color", *words, "--output", "json").json == plain
    assert YAML(typ="safe", pure=True).load(kemudi(*words, "--output", "yaml").out) == plain


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_a_usage_error(name: str, kemudi: Callable[..., Any]) -> None:
    """Exit 2, and nothing on stdout."""
    outcome = kemudi(*name.split(), "--nonsense")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--nonsense" in outcome.err


@pytest.mark.parametrize("name", ASK_A_SERVER)
def test_a_server_that_is_away_is_3(name: str, folder: Path, kemudi: Callable[..., Any]) -> None:
    """The address and the command to type, with `--json` as without."""
    for flags in ([], ["--json"]):
        outcome = kemudi(*name.split(), *ASK_A_SERVER[name], *flags)
        assert (outcome.code, outcome.out) == (3, "")
        assert "http://127.0.0.1:9" in outcome.err
        assert "kemudi up" in outcome.err


@pytest.mark.parametrize("name", ["init", "setup", "import json", "plan"])
def test_a_machine_without_git_is_3(name: str, folder: Path, kemudi: Callable[..., Any]) -> None:
    """Where git is needed, its absence is said with what to do; it is no internal error."""
    words, _ = called(name, kemudi)
    done = subprocess.run(
        [sys.executable, "-m", "kemudi.cli", *words],
        env=os.environ | {"PATH": "/nowhere"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"Install git" in done.stderr


def test_names_that_are_nothing_are_usage_errors(folder: Path, kemudi: Callable[..., Any]) -> None:
    """A mistyped key or environment is not an empty answer, and the nearest one is named."""
    for words, near in (
        (("log", "SYNC_TIMEOT"), "SYNC_TIMEOUT"),
        (("rollback", "SYNC_TIMEOT", "-m", "why"), "SYNC_TIMEOUT"),
        (("unused", "settings.py", "--env", "pord"), "prod"),
        (("list", "--env", "pord"), "prod"),
    ):
        outcome = kemudi(*words)
        assert (outcome.code, outcome.out) == (2, "")
        assert f"did you mean {near}?" in outcome.err
    assert kemudi("log", "SYNC_TIMEOUT", "--layer", "prod").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("console", "user", "add", "alpha", "--name", "Alpha", "--email", "a@example.org"),
        ("secret", "set", "NEO4J_PASSWORD", "--layer", "dev"),
        ("secret", "edit", "neo4j", "--layer", "dev", "--identity", "identity.txt"),
        ("set", "SYNC_TIMEOUT", "4321"),
    ],
)
def test_nothing_is_asked_without_a_terminal(
    words: tuple[str, ...], folder: Path, kemudi: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 and the option that gives it instead."""
    monkeypatch.delenv("EDITOR")
    outcome = kemudi(*words, stdin="")
    assert (outcome.code, outcome.out) == (2, "")
    assert "-m" in outcome.err or "-file" in outcome.err


def on_a_terminal(*words: str, **environment: str) -> str:
    """What the program writes where its stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color"} | environment
    argv = [sys.executable, "-m", "kemudi.cli", *words]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        found = b""
        with os.fdopen(ours, "rb", buffering=0) as reader:
            while True:
                try:
                    part = reader.read(65536)
                except OSError:  # how Linux says that nobody writes to it any more
                    break
                if not part:
                    break
                found += part
    assert process.returncode in {0, 1}
    return found.decode()


def test_colour_is_for_a_terminal_that_wants_it(folder: Path) -> None:
    """Drawn there; with NO_COLOR, --no-color or a dumb terminal not one escape sequence is written."""
    Path("dev/sync.yaml").write_text("SYNC_BATCH_SIZE: many\n")
    assert "\x1b[" in on_a_terminal("validate")
    plain = on_a_terminal("validate", NO_COLOR="1")
    assert "KEM023" in plain
    assert on_a_terminal("validate", "--no-color") == plain == on_a_terminal("validate", TERM="dumb")
    assert "\x1b" not in plain


@pytest.mark.parametrize("words", [("--help",), ("list",), ("list", "--json"), ("export",)])
def test_a_reader_that_leaves_is_no_finding(words: tuple[str, ...], folder: Path) -> None:
    """`kemudi list | head -1`: exit 0 and no word, however the command prints."""
    ours, theirs = os.pipe()
    os.close(ours)
    argv = [sys.executable, "-m", "kemudi.cli", *words]
    done = subprocess.run(argv, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_control_c_is_130_without_a_traceback(
    folder: Path, kemudi: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the command was doing."""

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kemudi.cli.validation.validate", interrupted)
    outcome = kemudi("validate")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "stopped")
