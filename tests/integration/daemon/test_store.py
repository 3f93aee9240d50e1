"""Redis: altered, emptied, stopped, frozen; and put right again."""

from dataclasses import replace
from typing import Any

import pytest
import redis


@pytest.fixture
def server(redis_url: str) -> Any:
    """A hand with every right on the server."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_flushall_is_repaired_and_reported_as_drift(
    repo: Any, daemon: Any, reader: Any, server: Any, kit: Any
) -> None:
    """The same generation comes back: readers keep what they have."""
    repo.commit(kit.files())
    daemon.start()
    before = reader.manifest()
    server.flushall()
    kit.eventually(lambda: reader.manifest() is not None, 3)
    assert reader.manifest().generation == before.generation
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    kinds = kit.eventually(lambda: {item["kind"] for item in daemon.status()["drift"]})
    assert "manifest-missing" in kinds
    assert daemon.metric('kemudi_drift_repairs_total{env="dev"}') >= 1
    assert any(line["event"] == "drift" for line in daemon.lines())
    kit.eventually(lambda: daemon.reason() == "Applied")
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: daemon.applied() == commit)


@pytest.mark.parametrize("hand", ["alter", "delete", "expire", "retype"])
def test_a_blob_changed_by_hand_is_repaired_within_the_interval(
    repo: Any, daemon: Any, reader: Any, server: Any, kit: Any, hand: str
) -> None:
    """Named by category and setting where that can be told, and back without an expiry."""
    repo.commit(kit.files())
    daemon.start()
    digest = reader.manifest().categories["sync"][0]
    key = f"kemudi:dev:blob:{digest}"
    good = server.get(key)
    if hand == "alter":
        server.set(key, good.replace(b"100", b"999"))
    elif hand == "delete":
        server.delete(key)
    elif hand == "expire":
        server.expire(key, 600)
    else:
        server.delete(key)
        server.lpush(key, "x")
    drift = kit.eventually(lambda: daemon.status()["drift"], 3)
    assert {item["category"] for item in drift} == {"sync"}
    if hand == "alter":
        assert drift == [{"category": "sync", "key": "SYNC_BATCH_SIZE", "kind": "setting-altered"}]
    kit.eventually(
        lambda: server.type(key) == b"string" and server.get(key) == good and server.ttl(key) == -1, 3
    )
    assert daemon.get("/drift?env=dev") == {"environments": [{"env": "dev", "drift": []}]}


@pytest.mark.parametrize("text", [b"rubbish", b"", b"kemudi-manifest 1 0 x\n{}"])
def test_an_altered_manifest_is_repaired(
    repo: Any, daemon: Any, reader: Any, server: Any, kit: Any, text: bytes
) -> None:
    """What no trusted key has signed is drift, and is written over."""
    repo.commit(kit.files())
    daemon.start()
    good = server.get("{kemudi:dev}:cur")
    server.set("{kemudi:dev}:cur", text)
    kit.eventually(lambda: server.get("{kemudi:dev}:cur") == good, 3)
    kit.eventually(lambda: "manifest-altered" in {item["kind"] for item in daemon.status()["drift"]})


def test_an_older_manifest_put_back_by_hand_is_replaced(
    repo: Any, daemon: Any, reader: Any, server: Any, kit: Any
) -> None:
    """A replay is validly signed, and drift all the same: generations never go back."""
    repo.commit(kit.files())
    daemon.start()
    old = server.get("{kemudi:dev}:cur")
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: daemon.applied() == commit)
    server.set("{kemudi:dev}:cur", old)
    kit.eventually(lambda: reader.manifest().revision == commit, 3)
    assert daemon.status()["drift"]


def test_drift_leaves_the_status_after_a_clean_check(
    repo: Any, daemon: Any, server: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown long enough to be seen, then gone."""
    monkeypatch.setattr("kemudi.daemon.environment.DRIFT_SHOWN_SECONDS", 0.8)
    repo.commit(kit.files())
    daemon.start()
    server.flushall()
    kit.eventually(lambda: daemon.status()["drift"], 3)
    assert ("Drifted", "DriftRepaired") in daemon.conditions()
    kit.eventually(lambda: daemon.status()["drift"] == [], 5)


def test_redis_away_is_named_and_the_newest_commit_is_applied_when_it_is_back(
    repo: Any, settings: Any, own_redis: Any, locals_: Any, kit: Any
) -> None:
    """Stopped and started empty: everything is there again at once, under generations that go on."""
    repo.commit(kit.files())
    daemon = locals_(replace(settings, redis_url=own_redis.url)).start()
    before = daemon.generation()
    own_redis.stop()
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: daemon.reason() == "StoreFailed")
    assert ("Reconciling", "StoreFailed") in daemon.conditions()
    assert daemon.call("GET", "/readyz")[0] == 503
    assert daemon.call("GET", "/healthz")[0] == 200
    last = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 3\n"})
    own_redis.start()
    kit.eventually(lambda: daemon.applied() == last and daemon.reason() == "Applied", 3)
    assert daemon.generation() > before


def test_a_start_while_redis_is_away_publishes_when_it_comes(
    repo: Any, settings: Any, own_redis: Any, locals_: Any, kit: Any
) -> None:
    """Not ready, not dead; then served."""
    own_redis.stop()
    commit = repo.commit(kit.files())
    daemon = locals_(replace(settings, redis_url=own_redis.url)).start()
    assert daemon.reason() == "StoreFailed"
    own_redis.start()
    kit.eventually(lambda: daemon.applied() == commit, 3)


def test_a_frozen_redis_is_found_and_survived(
    repo: Any, settings: Any, own_redis: Any, locals_: Any, kit: Any
) -> None:
    """A server that accepts connections and answers nothing is away, within the time limit of an answer."""
    repo.commit(kit.files())
    daemon = locals_(replace(settings, redis_url=own_redis.url)).start()
    own_redis.freeze()
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: daemon.reconciled_reason() == "StoreFailed", 12)
    own_redis.thaw()
    kit.eventually(lambda: daemon.applied() == commit, 10)


def test_a_restart_on_a_flushed_redis_goes_on_from_the_same_generation(
    repo: Any, settings: Any, locals_: Any, reader: Any, server: Any, kit: Any
) -> None:
    """Neither a flush nor a restart rewinds: the daemon's own folder and git know where it was."""
    repo.commit(kit.files())
    first = locals_(settings).start()
    before = first.generation()
    first.stop()
    server.flushall()
    second = locals_(settings).start()
    assert second.generation() == before
    assert reader.values()["SYNC_BATCH_SIZE"] == 100


@pytest.mark.parametrize("mode", ["commit", "worktree"])
def test_a_restart_on_a_bad_head_and_a_flushed_redis_goes_back_to_what_was_applied(
    repo: Any, settings: Any, locals_: Any, reader: Any, server: Any, kit: Any, mode: str
) -> None:
    """What was applied is known from the daemon's own folder, and is itself the newest good commit."""
    good = repo.commit(kit.files())
    settings = replace(settings, mode=mode)
    first = locals_(settings).start()
    assert first.applied() == good
    before = first.generation()
    first.stop()
    bad = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: x\n"})
    server.flushall()
    second = locals_(settings).start()
    kit.eventually(lambda: second.status()["applied"] is not None)
    assert second.applied() == good
    assert second.status()["attempted"] == bad
    assert second.generation() >= before
    assert reader.values()["SYNC_BATCH_SIZE"] == 100


def test_a_restart_on_an_unchanged_redis_publishes_nothing(
    repo: Any, settings: Any, locals_: Any, server: Any, kit: Any
) -> None:
    """What is applied is learned from the verified manifest."""
    repo.commit(kit.files())
    locals_(settings).start().stop()
    before = server.get("{kemudi:dev}:cur")
    second = locals_(settings).start()
    assert second.reason() == "Applied"
    assert server.get("{kemudi:dev}:cur") == before
    assert server.xlen("{kemudi:dev}:log") == 1


def test_another_config_repo_in_the_same_redis_is_not_written_over(
    repo: Any, settings: Any, locals_: Any, server: Any, tmp_path: Any, kit: Any
) -> None:
    """Two config repos that share a server by mistake do not fight."""
    repo.commit(kit.files())
    first = locals_(settings).start()
    first.stop()
    before = server.get("{kemudi:dev}:cur")
    other = kit.manifest().replace(kit.repo_id, "7d2c3b1a-0000-4f27-9a63-0d9a0f6f7c99")
    repo.commit({"kemudi.yaml": other})
    second = locals_(replace(settings, state_dir=tmp_path / "other-state")).start()
    assert second.reason() == "ManifestRefused"
    assert server.get("{kemudi:dev}:cur") == before
