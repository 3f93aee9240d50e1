"""A change in git steers the running services, and a bad one does not."""

import contextlib
import json
import sqlite3

import pytest

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(180)]


def classmates(up, **query):
    suffix = "&".join(f"{name}={value}" for name, value in query.items())
    return up.get(f"/students/{up.endpoints['sample_nim']}/classmates?{suffix}")


def test_a_commit_changes_the_next_answer(up, until):
    """GRAPH_CLASSMATES_LIMIT committed: the classmates list has the new length, at the new revision."""
    revision = up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=3)
    answer = until(lambda: (found := classmates(up)[1])["revision"] == revision and found, "the new revision")
    assert len(answer["items"]) == 3
    up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=7)
    until(lambda: len(classmates(up)[1]["items"]) == 7, "seven classmates")


def test_a_request_can_only_lower_the_limit(up, until):
    """`limit` above the setting is cut, below it is obeyed, and below one is refused."""
    up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=4)
    until(lambda: len(classmates(up)[1]["items"]) == 4, "four classmates")
    assert len(classmates(up, limit=9)[1]["items"]) == 4
    assert len(classmates(up, limit=2)[1]["items"]) == 2
    assert classmates(up, limit=0)[0] == 422


def test_a_save_is_served_before_it_is_committed(up, until):
    """In work-tree mode a saved file is a hot reload, marked as uncommitted."""
    up.write("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=5)
    answer = until(lambda: len((found := classmates(up)[1])["items"]) == 5 and found, "five classmates")
    assert answer["revision"].startswith("worktree@")


def test_the_kill_switch_stops_the_service_and_lets_it_recover(up, until):
    """GRAPH_FEATURE_ENABLED false: a 503 problem that says so; true: answers again, with no restart."""
    up.change("dev", "feature_flag", GRAPH_FEATURE_ENABLED=False)
    problem = until(lambda: (found := classmates(up))[0] == 503 and found, "503")[1]
    assert problem["detail"] == "Graph features are currently disabled"
    assert problem["type"].endswith("feature-disabled")
    up.change("dev", "feature_flag", GRAPH_FEATURE_ENABLED=True)
    until(lambda: classmates(up)[0] == 200, "200")


def test_three_errors_in_two_files_are_all_named_and_nothing_changes(up, until):
    """`validate` shows all three places; the daemon keeps the last good; a correcting commit goes live by itself."""
    before = classmates(up)[1]
    up.write("dev", "graph_query", GRAPH_CLASSMATES_LIMIT="many", GRAPH_QUERY_TIMEOUT=0)
    up.write("dev", "sync", SYNC_BATCH_SIZ=10)
    bad = up.commit("Break three things")
    report = up.kemudi("validate", str(up.repo), "--format", "json")
    assert report.returncode == 1
    found = {(error["file"], error["key"]) for error in json.loads(report.stdout)["errors"]}
    assert found == {
        ("dev/graph_query.yaml", "GRAPH_CLASSMATES_LIMIT"),
        ("dev/graph_query.yaml", "GRAPH_QUERY_TIMEOUT"),
        ("dev/sync.yaml", "SYNC_BATCH_SIZ"),
    }

    def rejected():
        status = json.loads(up.kemudi("status", "--json").stdout)["environments"][0]
        return status["attempted"] == bad and len(status["errors"]) == 3 and status

    status = until(rejected, "the rejection in the status")
    assert status["applied"]["revision"] != bad
    assert classmates(up)[1]["items"] == before["items"]
    assert up.kemudi("wait", bad, "--timeout", "2").returncode == 4
    up.git("revert", "--no-edit", "HEAD")
    good = up.git("rev-parse", "HEAD")
    assert up.kemudi("wait", good, "--timeout", "10").returncode == 0


def test_wait_returns_when_every_client_runs_the_commit(up):
    """The gate of a pipeline: exit 0, and the clients that run it are listed."""
    revision = up.change("dev", "performance", CACHE_TTL=111)
    answer = up.kemudi("wait", revision, "--timeout", "10", "--json")
    assert answer.returncode == 0, answer.stderr
    body = json.loads(answer.stdout)
    assert body["converged"] is True
    assert body["served_revision"] == revision
    assert {client["service"] for client in body["clients"]} == {"graph"}


def test_get_and_explain_name_the_line_and_whether_it_is_live(up, until):
    """The value comes from git with its place; `live` says that Redis serves the same."""
    up.change("dev", "performance", CACHE_TTL=123)
    up.kemudi("wait", "HEAD", "--timeout", "10")
    answer = json.loads(up.kemudi("get", "CACHE_TTL", "--json").stdout)
    assert answer["value"] == 123
    assert answer["live"] is True
    assert answer["layer"] == "dev"
    assert answer["source"]["file"] == "dev/performance.yaml"
    secret = json.loads(up.kemudi("get", "NEO4J_PASSWORD", "--json").stdout)
    assert secret["sensitive"] is True
    assert secret["value"] is None
    assert "CACHE_TTL" in up.kemudi("explain", "CACHE_TTL").stdout


def test_a_pause_holds_a_commit_back_and_resume_lets_it_through(up, until):
    """Paused: commits wait and the status says why; resumed: they go live."""
    assert up.kemudi("pause", "--reason", "enrolment week", "--until", "1h").returncode == 0
    up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=6)
    assert up.kemudi("wait", "HEAD", "--timeout", "1").returncode == 1
    status = json.loads(up.kemudi("status", "--json").stdout)["environments"][0]
    assert status["paused"]["reason"] == "enrolment week"
    assert up.kemudi("resume").returncode == 0
    until(lambda: len(classmates(up)[1]["items"]) == 6, "six classmates")


def test_a_plan_against_what_is_live(up):
    """Only what the daemon serves is compared; a paused commit is what is to come, an override is drift."""
    good = up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=5)
    assert up.kemudi("wait", good, "--timeout", "10").returncode == 0
    assert up.kemudi("pause", "--reason", "enrolment week", "--until", "1h").returncode == 0
    up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=4)
    planned = json.loads(up.kemudi("plan", "--live", "--json", KEMUDI_ENV="").stdout)
    (dev,) = planned["environments"]
    assert (dev["env"], dev["base"], dev["drift"]) == ("dev", good, [])
    assert [(each["key"], each["old"], each["new"]) for each in dev["changes"]] == [
        ("GRAPH_CLASSMATES_LIMIT", 5, 4)
    ]
    assert planned["contracts"] == []
    assert "prod is not compared: the daemon does not serve it" in planned["notes"]
    assert up.kemudi("resume").returncode == 0
    assert up.kemudi("wait", "HEAD", "--timeout", "10").returncode == 0
    stop = ("override", "set", "GRAPH_FEATURE_ENABLED", "false", "--until", "10min", "--reason", "load")
    assert up.kemudi(*stop).returncode == 0
    stopped = up.kemudi("plan", "--live")
    assert (stopped.returncode, "drift: GRAPH_FEATURE_ENABLED overridden" in stopped.stdout) == (1, True)
    assert up.kemudi("override", "end", "GRAPH_FEATURE_ENABLED", "--reason", "over").returncode == 0
    assert up.kemudi("plan", "--live").returncode == 0
    assert up.kemudi("plan", "--live", "--env", "prod").returncode == 2


def test_the_sync_is_paused_resumed_and_verified_from_the_command_line(up, until):
    """Pause and resume are commits; a paused run waits and then ends; what differs is named."""
    registry = sqlite3.connect(up.folder / ".kemudi" / "up" / "registry.db", timeout=30)
    with contextlib.closing(registry), registry:
        (nim, kode), *_ = registry.execute(
            "SELECT nim, kode FROM riwayat_pendidikan WHERE NOT deleted LIMIT 1"
        )
        paused = up.kemudi("sync", "pause", "-m", "the registry is being moved", "--json")
        revision = json.loads(paused.stdout)["revision"]
        assert up.git("log", "-1", "--format=%H %s") == f"{revision} Set SYNC_PAUSED in dev"
        assert up.kemudi("wait", revision, "--timeout", "10").returncode == 0
        equal = up.kemudi("sync", "verify")
        assert (equal.returncode, equal.stdout.startswith("equal: ")) == (0, True)
        registry.execute("UPDATE riwayat_pendidikan SET deleted = 1 WHERE nim = ? AND kode = ?", (nim, kode))
    differing = up.kemudi("sync", "verify")
    assert differing.returncode == 1
    assert f"  extra    {nim} {kode}" in differing.stdout.splitlines()
    up.post("/sync/run")
    until(lambda: json.loads(up.kemudi("sync", "status", "--json").stdout)["state"] == "paused", "it waits")
    assert json.loads(up.kemudi("sync", "verify", "--json").stdout)["named"] == [
        {"kind": "extra", "nim": nim, "kode": kode}
    ]
    assert up.kemudi("sync", "resume", "-m", "it has been moved").returncode == 0
    ended = up.kemudi("sync", "run", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["state"]) == (0, "done")
    assert up.kemudi("sync", "verify").returncode == 0
    again = up.kemudi("sync", "resume", "-m", "once more")
    assert (again.returncode, again.stdout) == (0, "nothing to change: it is so already\n")


def test_an_emptied_redis_is_filled_again(up, until):
    """FLUSHALL: reported as drift and repaired within the interval, and the service went on."""
    import redis

    with redis.Redis.from_url(up.endpoints["redis"]) as client:
        client.flushall()
        assert classmates(up)[0] == 200
        until(lambda: client.exists("{kemudi:dev}:cur"), "the manifest is back", timeout=15)
    drifted = json.loads(up.kemudi("status", "--json").stdout)["environments"][0]["drift"]
    assert drifted
    up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=8)
    until(lambda: len(classmates(up)[1]["items"]) == 8, "eight classmates")


def test_no_secret_is_anywhere_in_the_clear(up, monkeypatch):
    """The generated password is in no file of the folder, git's objects included, and in no key of Redis."""
    import zlib

    import redis

    import kemudi.client

    for name, value in up.endpoints["client_env"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KEMUDI_STATE_DIR", str(up.folder / "probe"))
    with kemudi.client.connect(service="probe") as config:
        password = config["NEO4J_PASSWORD"].reveal().encode()
    assert len(password) > 10
    files = [path for path in up.folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        data = path.read_bytes()
        assert password not in data, f"{path} holds the password"
        if path.parent.parent.name == "objects" and data[:1] == b"x":
            assert password not in zlib.decompress(data), f"{path} holds the password"
    with redis.Redis.from_url(up.endpoints["redis"]) as client:
        dumps = [client.dump(key) for key in client.scan_iter()]
    assert len(dumps) > 3
    assert not any(password in dump for dump in dumps if dump)
