"""import, export, setup, scan and unused, as a user calls them."""

import json
import subprocess

import pytest


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Work in an empty folder with a git identity of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "author")
        monkeypatch.setenv(f"{name}_EMAIL", "author@example.org")
    monkeypatch.delenv("KEMUDI_REPO", raising=False)
    return tmp_path


def lines(folder, name) -> list[str]:
    return [line for line in (folder / name).read_text().splitlines() if not line.startswith("#")]


def test_a_dotenv_file_becomes_typed_settings_with_their_comments(kemudi, in_folder):
    """Numbers, switches, quotes, comments and references are read as their author meant them."""
    (in_folder / ".env").write_text(
        "# where mail goes\nexport MAIL_HOST=smtp.example.org\nMAIL_PORT=587  # submission\n"
        "MAIL_TLS=yes\nMAIL_FOOTER=\"a\\nb # c\"\nMAIL_CODE='0815'\nMAIL_LINK=${MAIL_HOST}/x\nMAIL_NONE=\n"
    )
    done = kemudi("import", "dotenv", ".env", "--json")
    assert done.code == 0, done.err
    values = {row["key"]: row["value"] for row in done.json["settings"]}
    assert values == {
        "MAIL_HOST": "smtp.example.org",
        "MAIL_PORT": 587,
        "MAIL_TLS": True,
        "MAIL_FOOTER": "a\nb # c",
        "MAIL_CODE": "0815",
    }
    assert {left["name"] for left in done.json["left"]} == {"MAIL_LINK", "MAIL_NONE"}
    contract = json.loads((in_folder / "config-repo/contracts/mail.schema.json").read_text())["properties"]
    assert contract["MAIL_HOST"]["description"] == "where mail goes"
    assert contract["MAIL_PORT"] == {"type": "integer", "description": "submission", "default": 587}
    assert kemudi("validate", "config-repo").code == 0


@pytest.mark.parametrize(
    "line",
    [
        "API_TOKEN=abcdef",
        "SECRET_KEY=abcdef",
        "DB_PASSWORD=abcdef",
        "PLAIN=ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    ],
)
def test_a_secret_is_known_by_its_name_or_by_its_form_and_is_never_shown(kemudi, in_folder, line):
    """It arrives sealed, without a default, and stands on neither stdout nor stderr."""
    (in_folder / ".env").write_text(line + "\n")
    key, _, value = line.partition("=")
    for options in (["--dry-run"], ["--keys", "keys"]):
        done = kemudi("import", "dotenv", ".env", *options)
        assert done.code == 0
        assert value not in done.out + done.err
    assert lines(in_folder, "config-repo/base/app.yaml")[0].startswith(f"{key}: ENC[kemudi:v1,")
    assert value not in (in_folder / "config-repo/contracts/app.schema.json").read_text()


def test_a_key_that_its_contract_calls_plain_is_not_taken_when_it_is_a_secret(kemudi, in_folder):
    """The contract is mended first: a plaintext in git cannot be called back."""
    (in_folder / ".env").write_text("GATE=open\n")
    kemudi("import", "dotenv", ".env")
    (in_folder / ".env").write_text("GATE=ghp_0123456789abcdefghijklmnopqrstuvwxyz\n")
    done = kemudi("import", "dotenv", ".env", "--json")
    assert done.json["commits"] == 0
    assert "mark it x-kemudi-sensitive" in done.json["left"][0]["why"]


def test_groups_of_a_yaml_file_become_categories(kemudi, in_folder):
    """A mapping under a name in lower case is a group; under a KEY it is a value."""
    (in_folder / "app.yaml").write_text(
        "search:\n  timeout: 2.5\n  hosts: [a, b]\nSEARCH_WEIGHTS: {title: 2}\n"
    )
    done = kemudi("import", "yaml", "app.yaml", "--json")
    assert {(row["key"], row["category"], row["type"]) for row in done.json["settings"]} == {
        ("SEARCH_TIMEOUT", "search", "number"),
        ("SEARCH_HOSTS", "search", "array"),
        ("SEARCH_WEIGHTS", "search", "object"),
    }


def test_the_environment_is_taken_by_prefix_only(kemudi, in_folder, monkeypatch):
    """A whole environment is refused with exit code 2."""
    monkeypatch.setenv("SHOP_LIMIT", "7")
    assert kemudi("import", "env").code == 2
    done = kemudi("import", "env", "--prefix", "SHOP_", "--json")
    assert [(row["key"], row["value"]) for row in done.json["settings"]] == [("SHOP_LIMIT", 7)]


def test_a_password_in_a_command_line_is_refused(kemudi, in_folder):
    """The address of a database with one belongs in a variable; it is not shown again either."""
    done = kemudi("import", "dynamic-config", "postgresql://user:hunter22@127.0.0.1/x")
    assert done.code == 2
    assert "KEMUDI_IMPORT_DSN" in done.err
    assert "hunter22" not in done.err


def test_constance_declarations_and_fieldsets_are_read_without_running_them(kemudi, in_folder):
    """Types, help texts and groups; what the table has wins over the default, and a pickle is left alone."""
    import sqlite3

    (in_folder / "settings.py").write_text(
        "from django.utils.translation import gettext_lazy as _\n"
        "CONSTANCE_CONFIG = {'LIMIT': (5, _('Rows on a page.'), int), 'TITLE': ('Shop', ''), 'OLD': (1, 'x')}\n"
        "CONSTANCE_CONFIG_FIELDSETS = {'Front page': ('LIMIT', 'TITLE')}\n"
    )
    with sqlite3.connect("db.sqlite3") as database:
        database.execute("CREATE TABLE constance_constance (key text, value text)")
        rows = [("LIMIT", '{"__type__": "default", "__value__": 9}'), ("OLD", "gASVBQAAAAAAAABLAi4=")]
        database.executemany("INSERT INTO constance_constance VALUES (?, ?)", rows)
    database.close()
    done = kemudi("import", "constance", "settings.py", "--database", "sqlite:///db.sqlite3", "--json")
    found = {row["key"]: row for row in done.json["settings"]}
    assert (found["LIMIT"]["value"], found["LIMIT"]["category"]) == (9, "front_page")
    assert found["OLD"]["value"] == 1
    assert "pickled" in done.json["left"][0]["why"]
    contract = json.loads((in_folder / "config-repo/contracts/front_page.schema.json").read_text())
    assert contract["properties"]["LIMIT"]["default"] == 5


@pytest.mark.parametrize("form", ["yaml", "json", "dotenv"])
def test_an_export_imported_again_changes_nothing(kemudi, in_folder, form):
    """Into the environment's own layer, from each format; secrets stay sealed, or are left out."""
    assert kemudi("init", "--example", "config-repo").code == 0
    exported = kemudi(
        "export", "--env", "prod", "--format", form.replace("dotenv", "env"), "--repo", "config-repo"
    )
    assert exported.code == 0
    (in_folder / "exported").write_text(exported.out)
    again = kemudi("import", form, "exported", "--repo", "config-repo", "--layer", "prod", "--json")
    assert again.json["commits"] == 0, again.out
    assert again.json["left"] == []


def test_an_export_for_a_shell_can_be_sourced(kemudi, in_folder):
    """A shell reads back what was exported."""
    (in_folder / "odd.json").write_text(json.dumps({"ODD_TEXT": 'a\'b "c" $d `e`', "ODD_LIST": ["x y"]}))
    kemudi("import", "json", "odd.json")
    (in_folder / "odd.env").write_text(
        kemudi("export", "-e", "prod", "--format", "env", "--repo", "config-repo").out
    )
    shown = subprocess.run(
        ["sh", "-c", '. ./odd.env; printf "%s|%s" "$ODD_TEXT" "$ODD_LIST"'], capture_output=True, check=True
    )
    assert shown.stdout.decode() == 'a\'b "c" $d `e`|["x y"]'


def test_setup_creates_the_settings_once_and_brings_back_what_is_missing(kemudi, in_folder):
    """20 created; then nothing; then only the contract entry that lost its description. Values stay."""
    kemudi("init", "config-repo")
    done = kemudi("setup", "--repo", "config-repo")
    assert done.out.strip() == "Setup complete: 20 created, 0 updated"
    assert kemudi("setup", "--repo", "config-repo").out.strip() == "Setup complete: 0 created, 0 updated"
    path = in_folder / "config-repo/contracts/sync.schema.json"
    contract = json.loads(path.read_text())
    contract["properties"]["SYNC_BATCH_SIZE"].pop("x-kemudi-unit")
    contract["properties"]["SYNC_BATCH_SIZE"]["minimum"] = 10
    path.write_text(json.dumps(contract))
    subprocess.run(["git", "-C", "config-repo", "commit", "-qam", "Narrow the batch size"], check=True)
    assert kemudi("setup", "--repo", "config-repo").out.strip() == "Setup complete: 0 created, 1 updated"
    entry = json.loads(path.read_text())["properties"]["SYNC_BATCH_SIZE"]
    assert (entry["x-kemudi-unit"], entry["minimum"]) == ("rows", 10)
    assert kemudi("validate", "config-repo").code == 0


CODE = '''
"""A service; see https://docs.vendor.io/timeouts for its limits."""
import os
import kemudi.client

QUERY_TIMEOUT = 30
NAMES = {"timeout": 3}

class Sync(BaseModel):
    SYNC_BATCH_SIZ: int

def work(options, other: dict):
    config = kemudi.client.connect("prod")
    config["SYNC_BATCH_SIZE"], config.get("NEO4J_URLL"), config.bind(Sync)
    other["NOT_OURS"], options.get("NOT_OURS_EITHER"), os.environ["PATH"]
    with config.pin() as view:
        view["CACHE_TTLX"]
    os.getenv("GRAPH_HOST")
    os.getenv("LEGACY_HOST")  # kemudi: ignore
    return fetch("https://key:secret@api.vendor.io/v1", timeout=10)
'''


def test_scan_finds_undeclared_reads_and_values_that_could_be_settings(kemudi, in_folder, example):
    """With file, line and column; a mapping that is no client, a docstring and an ignored line are no findings."""
    (in_folder / "service.py").write_text(CODE)
    done = kemudi("scan", "service.py", "--repo", str(example), "--json")
    assert done.code == 1
    undeclared = {(spot["name"], spot["line"]) for spot in done.json["undeclared"]}
    assert undeclared == {("SYNC_BATCH_SIZ", 10), ("NEO4J_URLL", 14), ("CACHE_TTLX", 17), ("GRAPH_HOST", 18)}
    candidates = [(spot["name"], spot["text"]) for spot in done.json["candidates"]]
    assert candidates == [
        ("QUERY_TIMEOUT", "30"),
        ("HTTPS_URL", "https://***@api.vendor.io/v1"),
        ("TIMEOUT", "10"),
    ]
    text = kemudi("scan", "service.py", "--repo", str(example)).out
    assert "service.py:14:43: undeclared NEO4J_URLL" in text
    assert "did you mean NEO4J_URI?" in text


def test_scan_of_code_that_reads_declared_keys_only_is_fine(kemudi, in_folder, example):
    """Exit code 0."""
    (in_folder / "service.py").write_text('def f(config):\n    return config["CACHE_TTL"]\n')
    assert kemudi("scan", "service.py", "--repo", str(example)).code == 0


def test_unused_says_what_is_known_and_what_is_not(kemudi, in_folder, example):
    """Without a daemon the side of the clients is unknown; without a path, the side of the code, too."""
    (in_folder / "service.py").write_text('def f(config):\n    return config["CACHE_TTL"]\n')
    nobody = ("--repo", str(example), "--daemon", "http://127.0.0.1:1")
    done = kemudi("unused", "service.py", *nobody, "--json")
    assert done.code == 1
    unused = {row["key"]: row for row in done.json["unused"]}
    assert len(unused) == 19
    assert "CACHE_TTL" not in unused
    assert unused["SYNC_TIMEOUT"]["read_by"] is None
    blind = kemudi("unused", *nobody)
    assert blind.code == 0
    assert "in code: unknown" in blind.err
    assert "read by clients: unknown" in blind.err
