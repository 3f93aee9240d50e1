"""Break-glass: a value above git for a while, whatever keeps git's own values back."""

import signal
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

POLICY = "policies: [{rule: break-glass, environments: [dev], keys: [SYNC_*, GRAPH_LIMIT, VAULT_*]}]"
POINTS = (
    "overrides.object",
    "overrides.ref",
    "overrides.recorded",
    "daemon.stage",
    "daemon.swap",
    "daemon.announce",
)


def in_(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def order(key="SYNC_BATCH_SIZE", value: object = 7, **more: object) -> dict[str, object]:
    told = {
        "env": "dev",
        "key": key,
        "value": value,
        "reason": "the queue is full",
        "author": "duty@example.org",
    }
    return told | {"until": in_(hours=1)} | more


@pytest.fixture
def files(kit):
    """A config repo whose policy allows break-glass for the sync settings."""

    def made(**more: str) -> dict[str, str]:
        found = kit.files(**more)
        return found | {"kemudi.yaml": found["kemudi.yaml"].replace("policies: []", POLICY)}

    return made


@pytest.fixture
def serving(repo, daemon, files):
    """A daemon that serves the first commit."""
    repo.commit(files())
    return daemon.start()


def test_an_override_is_served_at_once_and_ends_by_hand(serving, reader, repo):
    """One PUT: the next snapshot has the value under a higher generation of the same revision; DELETE takes it back."""
    before = serving.generation()
    code, status = serving.call("PUT", "/overrides", order())
    assert code == 200
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    assert reader.manifest().revision == repo.head
    assert serving.generation() > before
    shown = status["overrides"][0]
    assert (shown["key"], shown["value"], shown["author"], shown["served"]) == (
        "SYNC_BATCH_SIZE",
        7,
        "duty@example.org",
        True,
    )
    assert ("Overridden", "BreakGlass") in serving.conditions()
    assert {"category": "sync", "key": "SYNC_BATCH_SIZE", "kind": "overridden"} in status["drift"]
    assert serving.get("/overrides?env=dev")["environments"][0]["overrides"] == status["overrides"]
    during = serving.generation()
    assert (
        serving.call("DELETE", "/overrides", {"env": "dev", "key": "SYNC_BATCH_SIZE", "reason": "calm"})[0]
        == 200
    )
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    assert serving.generation() > during
    assert ("Overridden", "BreakGlass") not in serving.conditions()


def test_every_step_is_a_commit_of_its_author_in_the_daemons_own_repository(serving, settings):
    """`git log` of the local branch tells who, why, until when, and the end."""
    serving.call("PUT", "/overrides", order(author="Duty Operator <duty@example.org>"))
    serving.call("DELETE", "/overrides", {"env": "dev", "key": "SYNC_BATCH_SIZE", "reason": "calm again"})
    log = subprocess.run(
        [
            "git",
            f"--git-dir={settings.state_dir / 'local.git'}",
            "log",
            "--format=%an <%ae>: %B",
            "refs/kemudi/override/dev",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Duty Operator <duty@example.org>: Override SYNC_BATCH_SIZE in dev until " in log
    assert "the queue is full" in log
    assert "calm again" in log


def test_an_override_works_while_publishing_is_paused_and_brings_nothing_else(serving, reader, repo):
    """The paused commit stays back; the override and its end go live on what is applied."""
    applied = repo.head
    serving.call("PUT", "/pause", {"env": "dev", "reason": "incident"})
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 200\nSYNC_TIMEOUT: 5\n"})
    serving.call("PUT", "/overrides", order())
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    assert reader.values()["SYNC_TIMEOUT"] == 3600
    assert serving.applied() == applied
    assert serving.reason() == "Paused"
    serving.call("DELETE", "/overrides", {"env": "dev", "key": "SYNC_BATCH_SIZE", "reason": "calm"})
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    serving.call("DELETE", "/pause", {"env": "dev"})
    assert reader.values()["SYNC_BATCH_SIZE"] == 200


def test_an_override_works_while_the_newest_commit_is_bad(serving, reader, repo, kit):
    """The last good revision is published anew with it; the rejection goes on being shown."""
    good = repo.head
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: many\n"})
    kit.eventually(lambda: serving.reason() == "ValidationFailed")
    serving.call("PUT", "/overrides", order())
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    assert serving.applied() == good
    assert serving.reason() == "ValidationFailed"


def test_an_override_stays_above_new_commits_and_goes_when_git_says_the_same(serving, reader, repo, kit):
    """Another value in git does not show; the same value ends the override by itself."""
    serving.call("PUT", "/overrides", order())
    head = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 200\nSYNC_TIMEOUT: 5\n"})
    kit.eventually(lambda: serving.applied() == head)
    assert (reader.values()["SYNC_BATCH_SIZE"], reader.values()["SYNC_TIMEOUT"]) == (7, 5)
    head = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 7\n"})
    kit.eventually(lambda: serving.applied() == head and not serving.status()["overrides"])
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    head = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 8\n"})
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 8)


def test_an_override_ends_at_its_time(serving, reader, kit):
    """The daemon takes it back by itself, and says so in its log."""
    assert serving.call("PUT", "/overrides", order(until=in_(seconds=4)))[0] == 200
    kit.eventually(lambda: any(line["event"] == "override-expired" for line in serving.lines()), 30)
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 100)
    kit.eventually(lambda: not serving.status()["overrides"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": "SYNC_BATCH_SIZ"}, 400),
        ({"value": 0}, 400),
        ({"value": "7"}, 400),
        ({"value": float("inf")}, 400),
        ({"value": 100}, 409),
        ({"reason": " "}, 400),
        ({"until": "2001-01-01T00:00:00Z"}, 400),
        ({"until": "tomorrow"}, 400),
        ({"env": "prod"}, 400),
        ({"author": "a\nb <c@d>"}, 200),
    ],
)
def test_what_may_not_be_overridden_is_refused(serving, reader, change, code):
    """An unknown key, a value that breaks the contract, no reason, a past end: nothing changes."""
    assert serving.call("PUT", "/overrides", order(**change))[0] == code
    assert reader.values()["SYNC_BATCH_SIZE"] == (7 if code == 200 else 100)


def test_without_a_policy_that_names_the_setting_there_is_no_override(repo, daemon, kit, reader):
    """403, and a sentence that says which policy is missing."""
    repo.commit(kit.files())
    daemon.start()
    code, problem = daemon.call("PUT", "/overrides", order())
    assert code == 403
    assert "no policy lets SYNC_BATCH_SIZE be overridden in dev" in problem["detail"]
    assert reader.values()["SYNC_BATCH_SIZE"] == 100


def test_a_sensitive_setting_is_never_overridden(repo, daemon, files, kit):
    """403, also where the policy names it."""
    secret = {"VAULT_KEY": {"type": "string", "x-kemudi-sensitive": True}}
    repo.commit(files() | {"contracts/vault.schema.json": kit.contract("vault", secret)})
    daemon.start()
    code, problem = daemon.call("PUT", "/overrides", order("VAULT_KEY", "plain"))
    assert code == 403
    assert "VAULT_KEY is sensitive" in problem["detail"]
    assert "plain" not in str(daemon.lines())


def test_a_commit_that_does_not_go_with_an_override_waits_for_its_end(serving, reader, repo, kit):
    """A narrower contract cannot take an emergency value away; when it ends, the commit is applied by itself."""
    serving.call("PUT", "/overrides", order(value=5000))
    narrow = {"SYNC_BATCH_SIZE": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}}
    head = repo.commit({"contracts/sync.schema.json": kit.contract("sync", narrow)})
    kit.eventually(lambda: serving.reason() == "ValidationFailed")
    assert "override" in serving.status()["errors"][0]["message"]
    assert reader.values()["SYNC_BATCH_SIZE"] == 5000
    serving.call("DELETE", "/overrides", {"env": "dev", "key": "SYNC_BATCH_SIZE", "reason": "calm"})
    assert serving.applied() == head
    assert reader.values()["SYNC_BATCH_SIZE"] == 100


def test_a_held_category_can_be_overridden_and_comes_back(repo, daemon, files, reader, kit):
    """With `reject: category`, the category stays at its good revision, with the override above it."""
    repo.commit(files(reject="category"))
    daemon.start()
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: many\n", "base/graph.yaml": "GRAPH_LIMIT: 11\n"})
    kit.eventually(lambda: reader.values()["GRAPH_LIMIT"] == 11)
    assert daemon.call("PUT", "/overrides", order())[0] == 200
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    daemon.call("DELETE", "/overrides", {"env": "dev", "key": "SYNC_BATCH_SIZE", "reason": "calm"})
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    assert reader.values()["GRAPH_LIMIT"] == 11


def test_an_emptied_redis_gets_the_override_back(serving, reader, redis_server, kit):
    """It is rebuilt from the daemon's own repository like everything else, and the generation never goes back."""
    serving.call("PUT", "/overrides", order())
    before = serving.generation()
    redis_server.restart()
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 7)
    kit.eventually(lambda: serving.reason() == "Applied")
    assert reader.manifest().generation >= before


def test_a_restart_keeps_an_override_and_ends_one_that_came_due_meanwhile(
    repo, locals_, settings, files, reader, kit
):
    """Also while publishing is paused, which a restart does not end either."""
    repo.commit(files())
    first = locals_(settings).start()
    first.call("PUT", "/pause", {"env": "dev", "reason": "incident"})
    first.call("PUT", "/overrides", order())
    assert first.call("PUT", "/overrides", order("SYNC_TIMEOUT", 9, until=in_(seconds=4)))[0] == 200
    first.stop()
    second = locals_(settings).start()
    kit.eventually(lambda: len(second.status()["overrides"]) == 1, 30)
    kit.eventually(lambda: reader.values()["SYNC_TIMEOUT"] == 3600)
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    assert [each["key"] for each in second.status()["overrides"]] == ["SYNC_BATCH_SIZE"]
    assert second.reason() == "Paused"


def test_an_override_works_while_the_git_host_is_away(repo, locals_, settings, files, reader, kit, tmp_path):
    """The mirror has what is applied; the override needs nothing else."""
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", remote], check=True)
    repo.git("remote", "add", "origin", str(remote))
    head = repo.commit(files())
    repo.git("push", "-q", "origin", "main")
    daemon = locals_(replace(settings, repo=f"file://{remote}")).start()
    kit.eventually(lambda: daemon.applied() == head)
    remote.rename(tmp_path / "away.git")
    kit.eventually(lambda: ("Source", "FetchFailed") in daemon.conditions())
    assert daemon.call("PUT", "/overrides", order())[0] == 200
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    daemon.call("DELETE", "/overrides", {"env": "dev", "key": "SYNC_BATCH_SIZE", "reason": "calm"})
    assert reader.values()["SYNC_BATCH_SIZE"] == 100


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_leaves_an_override_or_none(repo, daemons, settings, files, reader, kit, point):
    """After the restart what is served is what the branch says, whole; and it can be ended."""
    repo.commit(files())
    armed = daemons(settings).start().ready()
    armed.stop()
    # The pass at the start walks every step once; the second hit belongs to the override.
    hit = "" if point.startswith("overrides.") else "@2"
    armed.start(KEMUDI_FAILPOINT=f"{point}{hit}").ready()
    with pytest.raises(OSError, match=r"closed|reset|refused|abort"):
        armed.call("PUT", "/overrides", order())
    assert armed.wait() == -signal.SIGKILL
    again = daemons(settings).start().ready()
    kept = [each["key"] for each in again.status()["overrides"]]
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == (7 if kept else 100))
    assert kept == ([] if point == "overrides.object" else ["SYNC_BATCH_SIZE"])
    if kept:
        again.call("DELETE", "/overrides", {"env": "dev", "key": "SYNC_BATCH_SIZE", "reason": "calm"})
        assert reader.values()["SYNC_BATCH_SIZE"] == 100


def test_the_command_line_sets_lists_and_ends_overrides(serving, reader, repo):
    """`kemudi override`, from the text of a value by its contract to the end."""
    from click.testing import CliRunner

    from kemudi.cli.main import cli

    def kemudi(*words: str) -> str:
        told = ["override", *words, "--env", "dev", "--daemon", serving.url]
        done = CliRunner().invoke(cli, told, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    who = ("--author", "Duty Operator <duty@example.org>", "--repo", str(repo.path))
    assert "is served" in kemudi("set", "SYNC_BATCH_SIZE", "7", "--until", "1h", "-m", "queue full", *who)
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    assert "queue full" in kemudi("list")
    kemudi("end", "SYNC_BATCH_SIZE", "-m", "calm")
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    assert "nothing is overridden" in kemudi("list")
