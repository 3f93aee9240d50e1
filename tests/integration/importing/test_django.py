"""A Django project with settings and a table of dynamic ones moves into a config repo, history and all."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kemudi.repo.importing.commits import TRAILER
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.secrets import load_identities, unseal
from kemudi.repo.worktree import WorkTree
from kemudi.schema.envelope import Context
from kemudi.schema.state import ConfigState
from kemudi.store.sealing import KeysetBundle

PLAINTEXTS = (
    b"pw-now-zebra",
    b"pw-old-otter",
    b"pw-old-heron",
    b"pw-old-lynx",
    b"pw-old-viper",
    b"correct-horse-battery",
    b"django-insecure-q2w8e4r6t1y3u5",
)


def run(*arguments, cwd=None, expected=0):
    """`kemudi …` as a user runs it; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "kemudi.cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == expected, done.stderr.decode()
    for plaintext in PLAINTEXTS:
        assert plaintext not in done.stdout + done.stderr
    return done.stdout.decode()


def git(folder, *arguments) -> bytes:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True).stdout


def state_of(folder) -> ConfigState:
    return ConfigState.load(WorkTree(folder).scan().files.values())


@pytest.fixture(scope="module")
def imported(django_project, tmp_path_factory):
    """The project, imported: its settings first, then the table and its log."""
    folder = tmp_path_factory.mktemp("imported")
    repo = folder / "config-repo"
    run(
        "import",
        "django-settings",
        django_project.folder / "settings.py",
        "--repo",
        repo,
        "--keys",
        folder / "keys",
    )
    run("import", "dynamic-config", django_project.dsn, "--repo", repo, "--keys", folder / "keys")
    return repo


def test_all_settings_and_rows_arrive_and_validate(imported):
    """20 settings of the project and 8 rows of its table are typed settings of a valid config repo."""
    run("validate", imported)
    state = state_of(imported)
    assert len(state.category_of) == 28
    prod = {
        key: item.value
        for category in state.resolve("prod").values()
        for key, item in category.settings.items()
    }
    assert prod["PAGE_SIZE_MAX"] == 1000
    assert prod["UPLOAD_MAX_MB"] == 20
    assert prod["SEARCH_WEIGHTS"] == {"title": 2.0, "body": 1.0}
    assert prod["SYNC_BATCH_SIZE"] == 1100
    assert prod["GRAPH_THRESHOLD"] == 0.75
    assert prod["LEGACY_MODE"] is False  # an inactive row: its default is served
    sync = state.contracts["sync"].settings
    assert sync["SYNC_ENABLED"].requires_restart
    assert sync["SYNC_BATCH_SIZE"].description == "Rows in one transaction."
    assert state.contracts["page"].settings["PAGE_SIZE"].description == "Rows on one page of a list."
    assert state.category_of["GRAPH_WEIGHTS"] == "graph_queries"


def test_each_row_of_the_log_is_a_commit_with_its_author_date_and_reason(imported):
    """`git log` tells the 40 changes as the table did, in order."""
    fields = git(
        imported,
        "log",
        "--reverse",
        f"--format=%an%x00%ae%x00%aI%x00%b%x00%(trailers:key={TRAILER},valueonly)%x01",
    )
    commits = [each.strip("\n").split("\0") for each in fields.decode().split("\1") if each.strip()]
    logged = [each for each in commits if each[4].startswith("config_change_log/")]
    assert len(logged) == 40
    assert logged[0][:2] == ["analyst", "analyst@example.org"]
    assert logged[1][:2] == ["Duty Operator", "duty@example.org"]
    assert logged[0][2].startswith("2024-01-15T08:30:00")
    assert [each[2] for each in logged] == sorted(each[2] for each in logged)
    assert logged[7][3].startswith("Load test 7 of the new cluster")
    assert logged[-1][3].startswith("Rotation: *** instead of ***")


def test_kemudi_log_shows_the_changes_with_authors_dates_and_reasons(imported):
    """The 36 changes of one setting and the 4 of a secret, whose values are not shown."""
    for key, count in (("SYNC_BATCH_SIZE", 36), ("NEO4J_PASSWORD", 4)):
        entries = json.loads(run("log", key, "--repo", imported, "--json"))["entries"]
        origins = [next(each["value"] for each in entry["trailers"]) for entry in entries]
        logged = [
            entry
            for entry, origin in zip(entries, origins, strict=True)
            if origin.startswith("config_change_log/")
        ]
        assert len(logged) == count
        assert all(entry["author"]["email"].endswith("@example.org") for entry in logged)
        assert all(entry["at"].startswith("2024-") for entry in logged)
        assert all(entry["reason"].startswith(("Load test", "Rotation")) for entry in logged)


def test_the_how_to_can_be_followed_word_by_word(django_project, tmp_path):
    """Every line that the page shows, in its order, in the folder of the project."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "migrate-from-django.md"
    folder = tmp_path / "project"
    shutil.copytree(django_project.folder, folder)
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    assert len(lines) == 8
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line], cwd=folder, env=environment | {"PATH": path}, capture_output=True, check=False
        )
        # Nothing reads these settings yet, and no daemon runs: that is what the last line says.
        assert done.returncode == (1 if line.startswith("kemudi unused") else 0), (line, done.stderr)
        assert not any(plaintext in done.stdout + done.stderr for plaintext in PLAINTEXTS)


def test_the_value_of_a_key_can_be_followed_through_its_log(imported):
    """Each commit holds the value that the row says."""
    listed = git(imported, "log", "--reverse", "--format=%H", "--", "base/sync.yaml").decode().split()
    values = []
    for sha in listed:
        text = git(imported, "show", f"{sha}:base/sync.yaml").decode()
        values += [line.split(": ")[1] for line in text.splitlines() if line.startswith("SYNC_BATCH_SIZE")]
    assert values[0] == "100"
    assert values[1:3] == ["200", "225"]
    assert values[-1] == "1100"


def test_no_object_of_git_holds_a_secret_in_the_clear(imported):
    """Current and old values of sensitive rows, and of settings that are secret by name, are ciphertext everywhere."""
    everything = git(imported, "cat-file", "--batch-all-objects", "--batch")
    for plaintext in PLAINTEXTS:
        assert plaintext not in everything
    state = state_of(imported)
    sealed = {key for contract in state.contracts.values() for key in contract.sensitive}
    assert sealed == {"NEO4J_PASSWORD", "MAIL_PASSWORD", "SECRET_KEY"}


def test_a_sealed_value_opens_to_what_the_table_had_now_and_then(imported):
    """The daemon's identity reads the current password, and the old ones in older commits."""
    identities = load_identities(imported.parent / "keys" / "identity.txt")
    manifest = state_of(imported).manifest
    context = Context(manifest.id, "base", "neo4j", "NEO4J_PASSWORD")
    opened = []
    for sha in git(imported, "log", "--reverse", "--format=%H", "--", "base/neo4j.yaml").decode().split():
        line = git(imported, "show", f"{sha}:base/neo4j.yaml").decode().splitlines()[-1]
        opened.append(unseal(line.partition(": ")[2], context, identities)[1])
    assert opened == ["pw-old-otter", "pw-old-heron", "pw-old-lynx", "pw-old-viper", "pw-now-zebra"]


def test_the_keysets_have_a_key_for_every_category(imported):
    """Those of the first import, and those that the second one added."""
    bundle = KeysetBundle.load(imported.parent / "keys" / "keyset.json")
    assert set(bundle.categories) == set(state_of(imported).contracts)


def test_a_second_import_has_nothing_to_do(imported, django_project):
    """Neither settings nor rows nor log rows are taken twice."""
    head = git(imported, "rev-parse", "HEAD")
    again = run("import", "dynamic-config", django_project.dsn, "--repo", imported, "--json")
    assert json.loads(again)["commits"] == 0
    again = run(
        "import", "django-settings", django_project.folder / "settings.py", "--repo", imported, "--json"
    )
    assert json.loads(again)["commits"] == 0
    assert git(imported, "rev-parse", "HEAD") == head
    assert git(imported, "status", "--porcelain") == b""


def test_a_later_row_of_the_log_becomes_one_more_commit(django_project, tmp_path):
    """While both systems run, an import takes what is new and leaves what is there."""
    import sqlite3

    database = tmp_path / "db.sqlite3"
    shutil.copy(django_project.folder / "db.sqlite3", database)
    repo, dsn = tmp_path / "config-repo", f"sqlite:///{database}"
    run("import", "dynamic-config", dsn, "--repo", repo, "--keys", tmp_path / "keys")
    before = int(git(repo, "rev-list", "--count", "HEAD"))
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE dynamic_config SET value = '1200' WHERE key = 'SYNC_BATCH_SIZE'")
        connection.execute(
            "INSERT INTO config_change_log (config_id, old_value, new_value, changed_at, reason, changed_by_id)"
            " VALUES (1, '1100', '1200', '2024-09-01 10:00:00', 'New disks', 1)"
        )
    connection.close()
    run("import", "dynamic-config", dsn, "--repo", repo)
    assert int(git(repo, "rev-list", "--count", "HEAD")) == before + 1
    assert git(repo, "log", "-1", "--format=%an %aI %b").startswith(b"Duty Operator 2024-09-01T10:00:00")
    assert "SYNC_BATCH_SIZE: 1200" in (repo / "base" / "sync.yaml").read_text()


def test_a_dry_run_shows_the_plan_and_leaves_no_trace(django_project, tmp_path):
    """Nothing is made: no folder, no key; and no secret is shown."""
    repo = tmp_path / "config-repo"
    shown = run("import", "dynamic-config", django_project.dsn, "--repo", repo, "--dry-run")
    assert "would import" in shown
    assert "40 changes from the log" in shown
    assert "*** sealed" in shown
    assert list(tmp_path.iterdir()) == []


def test_secrets_with_nobody_to_seal_to_are_refused(django_project, tmp_path):
    """Exit code 5, and nothing was written."""
    run("import", "dynamic-config", django_project.dsn, "--repo", tmp_path / "config-repo", expected=5)
    assert list(tmp_path.iterdir()) == []


def test_what_only_python_can_tell_is_read_by_the_projects_own_python(django_project, tmp_path):
    """`--execute` imports the module in a child: durations are seconds, and what it prints is not shown."""
    repo = tmp_path / "config-repo"
    run(
        "import", "django-settings", "settings", "--execute", "--project", django_project.folder,
        "--python", sys.executable, "--only", "SESSION_*", "--only", "SEARCH_*", "--repo", repo,
    )  # fmt: skip
    settings = state_of(repo).resolve("prod")
    assert settings["app"].settings["SESSION_LIFETIME"].value == 28800.0


def test_an_import_into_a_repo_with_uncommitted_changes_is_refused_as_a_whole(
    imported, django_project, tmp_path
):
    """Exit code 4; branch, index and files are as they were."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(imported), str(clone))
    (clone / "base" / "page.yaml").write_text("PAGE_SIZE: 26\n")
    (tmp_path / "settings.py").write_text("PAGE_SIZE = 30\n")
    head = git(clone, "rev-parse", "HEAD")
    run("import", "django-settings", tmp_path / "settings.py", "--repo", clone, expected=4)
    assert (clone / "base" / "page.yaml").read_text() == "PAGE_SIZE: 26\n"
    assert git(clone, "rev-parse", "HEAD") == head


def test_an_imported_history_is_read_by_the_config_repository(imported):
    """The commits are ordinary ones: depth, ancestry and authors are there for the daemon."""
    with ConfigRepository.open(imported) as repository:
        sha = repository.head().sha
        assert repository.depth(sha) == 42
        assert repository.commit_info(sha).author_name == "Duty Operator"
