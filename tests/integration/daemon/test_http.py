"""The daemon over HTTP: status, waiting, pauses, health, and who is refused."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kemudi.schema.errors import UsageError
from kemudi.store.values import Acknowledgement


@pytest.fixture
def store(redis_url: str, kit: Any) -> Iterator[Any]:
    """Writes acknowledgements as clients do."""
    made = kit.store(redis_url)
    yield made
    made.close()


def acknowledge(store: Any, manifest: Any, instance: str, **said: Any) -> None:
    """A client of the service `graph` says what it runs."""
    fields: dict[str, Any] = {"state": "current"} | said
    store.acknowledge(
        Acknowledgement("graph", instance, manifest.revision, str(manifest.generation), **fields), 60.0
    )


def test_status_has_every_pinned_field(repo: Any, daemon: Any, reader: Any, store: Any, kit: Any) -> None:
    """The shape that the command line and the console rely on."""
    commit = repo.commit(kit.files())
    daemon.start()
    acknowledge(store, reader.manifest(), "a", restart_pending=("GRAPH_LIMIT",))
    answer = daemon.get("/status")
    (one,) = answer["environments"]
    assert one["env"] == "dev"
    assert one["attempted"] == commit
    assert set(one["applied"]) == {"revision", "generation", "at"}
    assert one["applied"]["generation"] == "0.1.0"
    assert one["conditions"][0] == {"type": "Ready", "status": "True", "reason": "Applied", "message": ""}
    assert one["errors"] == []
    assert one["drift"] == []
    assert one["paused"] is None
    (client,) = one["clients"]
    assert {key: client[key] for key in ("service", "instance", "revision", "generation", "state")} == {
        "service": "graph",
        "instance": "a",
        "revision": commit,
        "generation": "0.1.0",
        "state": "current",
    }
    assert client["reason"] is None
    assert client["restart_pending"] == ["GRAPH_LIMIT"]
    assert answer["source"]["branch"] == "main"


class TestWaiting:
    """`GET /wait`: what `kemudi wait` asks."""

    def test_no_live_client_counts_as_converged(self, repo: Any, daemon: Any, kit: Any) -> None:
        """Applied is enough when nobody reads; any git name will do."""
        commit = repo.commit(kit.files())
        daemon.start()
        answer = daemon.get("/wait?env=dev&revision=main&timeout=5")
        assert answer["state"] == "applied"
        assert answer["converged"] is True
        assert answer["revision"] == answer["served_revision"] == commit
        assert answer["clients"] == []

    def test_it_returns_when_the_last_client_runs_the_revision_or_a_descendant(
        self, repo: Any, daemon: Any, reader: Any, store: Any, kit: Any
    ) -> None:
        """Laggards are waited for, and named when they do not come."""
        repo.commit(kit.files())
        daemon.start()
        old = reader.manifest()
        acknowledge(store, old, "slow")
        wanted = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
        kit.eventually(lambda: daemon.applied() == wanted)
        answer = daemon.get(f"/wait?env=dev&revision={wanted}&timeout=0.3")
        assert (answer["state"], answer["converged"], answer["laggards"]) == (
            "timeout",
            False,
            ["graph/slow"],
        )
        later = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 3\n"})
        kit.eventually(lambda: daemon.applied() == later)
        timer = threading.Timer(0.3, lambda: acknowledge(store, reader.manifest(), "slow"))
        timer.start()
        started = time.monotonic()
        answer = daemon.get(f"/wait?env=dev&revision={wanted}&timeout=20")
        timer.join()
        assert answer["state"] == "applied"
        assert time.monotonic() - started < 5

    def test_a_client_that_runs_the_wanted_revision_need_not_run_the_newest(
        self, repo: Any, daemon: Any, reader: Any, store: Any, kit: Any
    ) -> None:
        """The wanted one or a descendant: not more is asked."""
        repo.commit(kit.files())
        daemon.start()
        wanted = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
        kit.eventually(lambda: daemon.applied() == wanted)
        acknowledge(store, reader.manifest(), "a")
        later = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 3\n"})
        kit.eventually(lambda: daemon.applied() == later)
        assert daemon.get(f"/wait?env=dev&revision={wanted}&timeout=1")["state"] == "applied"
        assert daemon.get(f"/wait?env=dev&revision={later}&timeout=0.2")["state"] == "timeout"

    def test_a_refusal_is_told_at_once_with_its_reason(
        self, repo: Any, daemon: Any, reader: Any, store: Any, kit: Any
    ) -> None:
        """Nobody else is late, so waiting would not help."""
        repo.commit(kit.files())
        daemon.start()
        old = reader.manifest()
        wanted = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
        kit.eventually(lambda: daemon.applied() == wanted)
        acknowledge(store, old, "a", state="refused", reason="no route to the host", refused_revision=wanted)
        started = time.monotonic()
        answer = daemon.get(f"/wait?env=dev&revision={wanted}&timeout=20")
        assert time.monotonic() - started < 5
        assert answer["state"] == "refused"
        assert answer["refusals"] == [{"client": "graph/a", "reason": "no route to the host"}]
        assert answer["clients"][0]["reason"] == "no route to the host"

    def test_a_rejected_revision_is_told_with_its_errors(self, repo: Any, daemon: Any, kit: Any) -> None:
        """It will never be served as it is."""
        repo.commit(kit.files())
        daemon.start()
        bad = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: x\n"})
        answer = daemon.get(f"/wait?env=dev&revision={bad}&timeout=10")
        assert answer["state"] == "rejected"
        assert answer["errors"][0]["line"] == 1

    def test_an_unknown_name_and_a_commit_of_another_branch_are_told_at_once(
        self, repo: Any, daemon: Any, kit: Any
    ) -> None:
        """In a local repository what is not there now is not under way."""
        repo.commit(kit.files())
        repo.git("checkout", "-q", "-b", "other")
        elsewhere = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
        repo.git("checkout", "-q", "main")
        daemon.start()
        for name in ("no-such-name", elsewhere, "f" * 40):
            started = time.monotonic()
            answer = daemon.get(f"/wait?env=dev&revision={name}&timeout=20")
            assert (answer["state"], answer["converged"]) == ("unknown-revision", False)
            assert time.monotonic() - started < 5

    def test_a_save_can_be_waited_for(self, repo: Any, settings: Any, locals_: Any, kit: Any) -> None:
        """By the name that the status shows."""
        repo.commit(kit.files())
        daemon = locals_(replace(settings, mode="worktree")).start()
        repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 2\n")
        revision = kit.eventually(lambda: str(daemon.applied()).startswith("worktree@") and daemon.applied())
        repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 3\n")
        kit.eventually(lambda: daemon.applied() != revision)
        assert daemon.get(f"/wait?env=dev&revision={revision}&timeout=5")["state"] == "applied"
        unknown = daemon.get("/wait?env=dev&revision=worktree@000000000000&timeout=0.2")
        assert unknown["state"] == "unknown-revision"

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "env=dev",
            "env=nowhere&revision=main",
            "env=dev&revision=main&timeout=x",
            "env=dev&revision=m&timeout=-1",
        ],
    )
    def test_a_malformed_question_is_400(self, repo: Any, daemon: Any, kit: Any, query: str) -> None:
        """With a sentence."""
        repo.commit(kit.files())
        daemon.start()
        code, body = daemon.call("GET", f"/wait?{query}")
        assert code == 400
        assert body["detail"]


class TestPause:
    """`PUT` and `DELETE /pause`."""

    def test_a_pause_holds_commits_back_also_over_a_restart_and_resume_applies_them(
        self, repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any
    ) -> None:
        """Commits are still checked; the reason stands in the status."""
        first = repo.commit(kit.files())
        daemon = locals_(settings).start()
        code, body = daemon.call("PUT", "/pause", {"env": "dev", "reason": "enrolment week"})
        assert (code, body["paused"]) == (200, {"reason": "enrolment week", "until": None})
        second = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
        kit.eventually(lambda: daemon.status()["attempted"] == second)
        daemon.stop()
        daemon = locals_(settings).start()
        assert daemon.reason() == "Paused"
        assert daemon.applied() == first
        assert daemon.status()["paused"]["reason"] == "enrolment week"
        assert daemon.call("GET", "/readyz")[0] == 200
        code, body = daemon.call("DELETE", "/pause", {"env": "dev"})
        assert (code, body["paused"]) == (200, None)
        assert daemon.applied() == second
        assert reader.values()["SYNC_BATCH_SIZE"] == 2

    def test_a_pause_ends_by_itself(self, repo: Any, daemon: Any, kit: Any) -> None:
        """At the time that was given."""
        repo.commit(kit.files())
        daemon.start()
        until = (datetime.now(UTC) + timedelta(seconds=0.8)).isoformat()
        assert daemon.call("PUT", "/pause", {"env": "dev", "reason": "a moment", "until": until})[0] == 200
        commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
        kit.eventually(lambda: daemon.status()["attempted"] == commit)
        assert daemon.applied() != commit
        kit.eventually(lambda: daemon.applied() == commit, 5)

    def test_a_paused_environment_is_repaired_all_the_same(
        self, repo: Any, daemon: Any, reader: Any, redis_url: str, kit: Any
    ) -> None:
        """A pause keeps what is applied; a flush must not take it away."""
        import redis

        repo.commit(kit.files())
        daemon.start()
        daemon.call("PUT", "/pause", {"env": "dev", "reason": "x"})
        repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
        with redis.Redis.from_url(redis_url) as server:
            server.flushall()
        kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 100, 5)

    @pytest.mark.parametrize(
        "body",
        [
            {"env": "dev"},
            {"env": "dev", "reason": " "},
            {"env": "nowhere", "reason": "x"},
            {"env": "dev", "reason": "x", "until": "tomorrow"},
            {"env": "dev", "reason": "x", "until": "2001-01-01T00:00:00Z"},
            {"env": "dev", "reason": "x", "until": "2999-01-01T00:00:00"},
        ],
    )
    def test_a_malformed_pause_is_400(self, repo: Any, daemon: Any, kit: Any, body: dict[str, Any]) -> None:
        """And nothing is paused."""
        repo.commit(kit.files())
        daemon.start()
        assert daemon.call("PUT", "/pause", body)[0] == 400
        assert daemon.status()["paused"] is None


class TestWhoMayAsk:
    """Loopback, tokens, pages of other sites."""

    def test_a_page_of_another_site_changes_nothing(self, repo: Any, daemon: Any, kit: Any) -> None:
        """An origin, or a body that a form could send, is refused."""
        repo.commit(kit.files())
        daemon.start()
        assert daemon.call("POST", "/reconcile", {}, {"Origin": "http://127.0.0.1"})[0] == 403
        assert daemon.call("POST", "/reconcile", None, {"Content-Type": "text/plain"})[0] == 415
        assert (
            daemon.call("PUT", "/pause", {"env": "dev", "reason": "x"}, {"Content-Type": "text/plain"})[0]
            == 415
        )
        assert daemon.call("GET", "/status", None, {"Host": "evil.example"})[0] == 403
        assert daemon.call("POST", "/reconcile", {})[0] == 202
        assert daemon.call("POST", "/reconcile")[0] == 202

    def test_with_a_token_every_question_but_life_needs_it(
        self, repo: Any, settings: Any, locals_: Any, tmp_path: Path, kit: Any
    ) -> None:
        """As a bearer token; a wrong one is as good as none."""
        token = tmp_path / "token"
        token.write_text("correct-horse-battery\n")
        token.chmod(0o600)
        repo.commit(kit.files())
        daemon = locals_(replace(settings, token_file=token)).start()
        assert daemon.call("GET", "/healthz")[0] == 200
        for path in ("/status", "/metrics", "/readyz", "/drift", "/wait", "/nowhere"):
            assert daemon.call("GET", path)[0] == 401
        assert (
            daemon.call("GET", "/status", None, {"Authorization": "Bearer correct-horse-batterx"})[0] == 401
        )
        assert (
            daemon.call("GET", "/status", None, {"Authorization": "Bearer correct-horse-battery"})[0] == 200
        )

    def test_beyond_loopback_there_is_no_daemon_without_a_token(self, settings: Any) -> None:
        """Refused before anything starts."""
        for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
            with pytest.raises(UsageError, match="without a token"):
                replace(settings, host=host)

    def test_bodies_are_bounded_and_must_be_objects(self, repo: Any, daemon: Any, kit: Any) -> None:
        """413 and 400, whatever is in them."""
        repo.commit(kit.files())
        daemon.start()
        assert daemon.call("PUT", "/pause", {"env": "dev", "reason": "x" * 100_000})[0] == 413
        assert daemon.call("PUT", "/pause", [1])[0] == 400
        assert daemon.call("PUT", "/pause", "x")[0] == 400

    def test_webhooks_are_off_without_a_secret(self, repo: Any, daemon: Any, kit: Any) -> None:
        """404, as if there were none."""
        repo.commit(kit.files())
        daemon.start()
        assert daemon.call("POST", "/hooks/git", {})[0] == 404

    def test_unknown_paths_and_methods_are_problems_in_json(self, repo: Any, daemon: Any, kit: Any) -> None:
        """404 and 405."""
        repo.commit(kit.files())
        daemon.start()
        for method, path, code in (
            ("GET", "/nowhere", 404),
            ("GET", "/pause", 405),
            ("GET", "//status", 404),
        ):
            assert daemon.call(method, path)[0] == code
            assert daemon.call(method, path)[1]["status"] == code


def test_metrics_name_environments_and_reasons_and_never_a_key(
    repo: Any, daemon: Any, reader: Any, store: Any, kit: Any
) -> None:
    """What a dashboard needs, with few labels."""
    repo.commit(kit.files())
    daemon.start()
    acknowledge(store, reader.manifest(), "a")
    text = daemon.get("/metrics")
    for name in (
        'kemudi_applied_generation{env="dev",part="depth"} 1.0',
        'kemudi_applied_settings{env="dev"} 3.0',
        'kemudi_ready{env="dev"} 1.0',
        'kemudi_leader{env="dev"} 1.0',
        'kemudi_clients{env="dev",state="current"} 1.0',
        'kemudi_reconciles_total{env="dev",outcome="published"} 1.0',
        'kemudi_stage_seconds_count{env="dev",stage="swap"} 1.0',
        'kemudi_last_sync_timestamp_seconds{env="dev"}',
    ):
        assert name in text
    assert "SYNC_BATCH_SIZE" not in text
    assert repo.head not in text


def test_every_reconcile_that_did_something_is_one_json_line(repo: Any, daemon: Any, kit: Any) -> None:
    """Revision, durations of the steps and counts; hostile text stays inside its line."""
    repo.commit(kit.files())
    daemon.start()
    before = len(daemon.lines())
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"}, message='x\n{"level": "info"}\x1b[31m')
    kit.eventually(lambda: daemon.applied() == commit)
    (line,) = kit.eventually(lambda: [one for one in daemon.lines()[before:] if one["event"] == "reconciled"])
    assert line["revision"] == commit
    assert line["outcome"] == "published"
    assert line["encoded"] == 1
    assert set(line["steps_ms"]) >= {
        "detect",
        "resolve",
        "read",
        "parse",
        "validate",
        "build",
        "stage",
        "swap",
    }
    assert "\x1b" not in daemon.output.getvalue()


def test_readyz_is_json_and_healthz_asks_nobody(
    repo: Any, settings: Any, own_redis: Any, locals_: Any, kit: Any
) -> None:
    """Alive while everything else is frozen."""
    repo.commit(kit.files())
    daemon = locals_(replace(settings, redis_url=own_redis.url)).start()
    assert daemon.call("GET", "/readyz") == (200, {"ready": True, "reason": ""})
    own_redis.freeze()
    started = time.monotonic()
    with urllib.request.urlopen(daemon.url + "/healthz", timeout=10) as answer:
        assert json.loads(answer.read()) == {"alive": True}
    assert time.monotonic() - started < 5
    own_redis.thaw()


def test_the_log_says_what_was_applied_when(repo: Any, daemon: Any, kit: Any) -> None:
    """So that "when did it go live" has an answer; the newest entry stands first, and the limit holds."""
    first = repo.commit(kit.files())
    daemon.start()
    repo.write("dev/graph.yaml", "GRAPH_LIMIT: 7\n")
    second = repo.commit()
    daemon.call("POST", "/reconcile", {})
    kit.eventually(lambda: daemon.applied() == second)
    (one,) = daemon.get("/log?env=dev&limit=1")["environments"]
    (newest,) = one["entries"]
    assert one["env"] == "dev"
    assert (newest["kind"], newest["revision"]) == ("applied", second)
    assert datetime.fromisoformat(newest["at"]).tzinfo is not None
    (whole,) = daemon.get("/log")["environments"]
    assert {entry["revision"] for entry in whole["entries"]} >= {first, second}


def test_the_log_refuses_what_it_does_not_know(repo: Any, daemon: Any, kit: Any) -> None:
    """An unknown environment and an impossible limit are the caller's mistake."""
    repo.commit(kit.files())
    daemon.start()
    for query in ("?env=nowhere", "?limit=0", "?limit=many", "?limit=10001"):
        assert daemon.call("GET", f"/log{query}")[0] == 400
