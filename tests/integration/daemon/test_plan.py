"""A plan against a daemon that applies: what was planned is what Redis serves, and what the daemon knows is told."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kemudi.cli.plans import PlanRequest, make_plan
from kemudi.repo.plan import Plan
from kemudi.repo.verdict import refused
from kemudi.schema.errors import ConflictError
from kemudi.store.redis import RedisStore
from kemudi.store.values import Acknowledgement

VALUES: dict[str, Callable[[random.Random], int]] = {
    "SYNC_BATCH_SIZE": lambda rng: rng.randint(1, 3),
    "SYNC_TIMEOUT": lambda rng: rng.randint(1, 3),
    "GRAPH_LIMIT": lambda rng: rng.randint(1, 3),
}
FILES = {"sync": ("SYNC_BATCH_SIZE", "SYNC_TIMEOUT"), "graph": ("GRAPH_LIMIT",)}


def effects(found: Plan, env: str) -> dict[str, tuple[Any, Any]]:
    return {each.key: (each.old, each.new) for each in found.changes if each.env == env}


def content(rng: random.Random, category: str) -> str:
    kept = [key for key in FILES[category] if rng.random() < 0.5]
    return "# note\n" + "".join(f"{key}: {VALUES[key](rng)}\n" for key in kept)


def test_applying_a_commit_changes_exactly_what_was_planned(
    repo: Any, kit: Any, reader: Any, settings: Any, daemon: Any
) -> None:
    """Over random commits, in two environments: the plan is the difference of the values that Redis serves."""
    rng = random.Random(6)
    repo.commit(kit.files({"dev": "commit", "prod": "commit"}))
    daemon.settings = replace(settings, environments=())
    daemon.start()
    readers = {env: replace(reader, env=env) for env in ("dev", "prod")}
    before = {env: each.values() for env, each in readers.items()}
    some = 0
    for _ in range(12):
        layer, category = rng.choice(["base", "dev", "prod"]), rng.choice(list(FILES))
        sha = repo.commit({f"{layer}/{category}.yaml": content(rng, category)})
        found = make_plan(PlanRequest(repo.path, base="HEAD~1", head="HEAD"))
        daemon.call("POST", "/reconcile", {})
        for env, each in readers.items():
            kit.eventually(lambda env=env, sha=sha: daemon.applied(env) == sha)
            after = each.values()
            observed = {
                key: (before[env].get(key), after.get(key))
                for key in after
                if before[env].get(key) != after[key]
            }
            assert effects(found, env) == observed
            before[env] = after
            some += len(observed)
    assert some > 5


def test_live_compares_with_what_is_served_and_names_readers_and_drift(
    repo: Any, kit: Any, settings: Any, daemon: Any, redis_url: str
) -> None:
    """What is unsaved, who reads it, and what a hand wrote into Redis, in one plan."""
    served = repo.commit(kit.files())
    daemon.settings = replace(settings, drift_seconds=3600.0)
    daemon.start()
    url = daemon.url
    store = RedisStore(redis_url, "dev")
    said = Acknowledgement("worker", "w1", served, "0.1.0", "current", keys_read=("SYNC_BATCH_SIZE",))
    store.acknowledge(said, 60)
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 101\n")
    request = PlanRequest(repo.path, daemon_url=url, live=True)
    found = make_plan(request)
    (dev,) = found.environments
    assert (dev.base, dev.drift, found.base) == (served, (), served)
    assert effects(found, "dev") == {"SYNC_BATCH_SIZE": (100, 101)}
    assert [each.readers for each in found.changes] == [("worker",)]
    client = store._connection.client
    client.delete("{kemudi:dev}:cur")
    store.close()
    drifted = make_plan(request)
    assert drifted.environments[0].drift
    ahead = repo.commit(message="not applied")
    assert make_plan(PlanRequest(repo.path, base=ahead, head="HEAD", daemon_url=url)).base == ahead


def test_live_needs_the_revision_that_is_served(repo: Any, kit: Any, daemon: Any, tmp_path: Any) -> None:
    """A clone that lags cannot say what would change: it is told to fetch."""
    repo.commit(kit.files())
    repo.git("clone", "--quiet", str(repo.path), str(tmp_path / "clone"))
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 7\n"})
    daemon.start()
    with pytest.raises(ConflictError, match="not in this repository"):
        make_plan(PlanRequest(tmp_path / "clone", daemon_url=daemon.url, live=True))


def test_promotion_is_proved_by_the_log_and_by_nothing_else(
    repo: Any, kit: Any, settings: Any, daemon: Any, redis_url: str
) -> None:
    """A value counts from when the other environment got it; a wiped log means that it has not run."""
    files = kit.files({"dev": "commit", "prod": "commit"})
    policy = "policies:\n  - {rule: promotion, environments: [prod], from: dev, hours: 1}\n"
    files["kemudi.yaml"] = files["kemudi.yaml"].replace("policies: []\n", policy)
    repo.commit(files)
    daemon.settings = replace(settings, environments=())
    daemon.start()
    sha = repo.commit({"dev/sync.yaml": "SYNC_BATCH_SIZE: 7\n"})
    daemon.call("POST", "/reconcile", {})
    kit.eventually(lambda: daemon.applied("dev") == sha)
    last = repo.commit({"dev/graph.yaml": "GRAPH_LIMIT: 3\n", "prod/sync.yaml": "SYNC_BATCH_SIZE: 7\n"})
    daemon.call("POST", "/reconcile", {})
    # Else the daemon may write an entry after the log was wiped below.
    kit.eventually(lambda: daemon.applied("dev") == daemon.applied("prod") == last)
    soon = datetime.now(UTC)

    def rules(hours: float, url: str | None) -> list[str]:
        now = soon + timedelta(hours=hours)
        request = PlanRequest(repo.path, base="HEAD~1", head="HEAD", daemon_url=url, now=now)
        return [each.rule for each in refused(make_plan(request))]

    assert rules(0.5, daemon.url) == ["KEM084"]
    assert rules(1.5, daemon.url) == []
    assert rules(1.5, None) == ["KEM084"]
    store = RedisStore(redis_url, "dev")
    store._connection.client.delete("{kemudi:dev}:log")
    store.close()
    assert rules(1.5, daemon.url) == ["KEM084"]
    assert json.dumps(make_plan(PlanRequest(repo.path, daemon_url=daemon.url)).as_json())
