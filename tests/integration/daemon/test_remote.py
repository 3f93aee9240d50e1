"""A remote, mirrored: pushed to, hinted by webhooks, away, rewritten, damaged."""

import hashlib
import hmac
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def remote(repo: Any, tmp_path: Path) -> Path:
    """A bare repository that `repo` pushes to."""
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
    repo.git("remote", "add", "origin", str(path))
    return path


@pytest.fixture
def push(repo: Any, remote: Path) -> Callable[..., str]:
    def push(files: dict[str, str], *options: str) -> str:
        sha = str(repo.commit(files))
        repo.git("push", "-q", *options, "origin", "main")
        return sha

    return push


@pytest.fixture
def mirrored(settings: Any, remote: Path, locals_: Any) -> Any:
    return locals_(replace(settings, repo=f"file://{remote}"))


def test_a_push_is_served(push: Any, mirrored: Any, reader: Any, kit: Any) -> None:
    """Found by the poll."""
    first = push(kit.files())
    mirrored.start()
    kit.eventually(lambda: mirrored.applied() == first)
    second = push({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: mirrored.applied() == second)
    assert reader.values()["SYNC_BATCH_SIZE"] == 2


def test_a_signed_webhook_fetches_at_once_and_a_forged_one_does_nothing(
    push: Any, settings: Any, remote: Path, locals_: Any, tmp_path: Path, kit: Any
) -> None:
    """HMAC before anything is parsed, a cap on the body, and nothing in the body counts."""
    secret = tmp_path / "webhook.secret"
    secret.write_text("0123456789abcdef0123\n")
    secret.chmod(0o600)
    push(kit.files())
    told = replace(settings, repo=f"file://{remote}", poll_seconds=60.0, webhook_secret=secret)
    daemon = locals_(told).start()
    kit.eventually(daemon.applied)
    commit = push({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})

    def hook(body: bytes, signature: str) -> int:
        headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json"}
        request = urllib.request.Request(daemon.url + "/hooks/git", body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    body = json.dumps({"ref": "refs/heads/anything"}).encode()
    good = "sha256=" + hmac.new(b"0123456789abcdef0123", body, hashlib.sha256).hexdigest()
    assert hook(body, "sha256=" + "0" * 64) == 401
    assert hook(b"x" * (256 * 1024 + 1), good) == 413
    assert daemon.applied() != commit
    assert hook(body, good) == 202
    kit.eventually(lambda: daemon.applied() == commit, 5)


def test_a_remote_that_is_away_is_named_and_what_is_mirrored_is_served(
    push: Any, settings: Any, remote: Path, locals_: Any, reader: Any, redis_url: str, kit: Any
) -> None:
    """Also after a restart, also when Redis is emptied meanwhile."""
    commit = push(kit.files())
    told = replace(settings, repo=f"file://{remote}")
    first = locals_(told).start()
    kit.eventually(lambda: first.applied() == commit)
    away = remote.with_name("away.git")
    remote.rename(away)
    kit.eventually(lambda: ("Source", "FetchFailed") in first.conditions())
    assert first.reason() == "Applied"
    first.stop()
    import redis

    with redis.Redis.from_url(redis_url) as server:
        server.flushall()
    second = locals_(told).start()
    kit.eventually(lambda: second.applied() == commit)
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    away.rename(remote)
    newer = push({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: second.applied() == newer)
    kit.eventually(lambda: ("Source", "FetchFailed") not in second.conditions())


def test_a_force_push_is_held_until_it_is_accepted(push: Any, repo: Any, mirrored: Any, kit: Any) -> None:
    """The mirror keeps what is served, though no branch leads to it any more."""
    push(kit.files())
    served = push({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    mirrored.start()
    kit.eventually(lambda: mirrored.applied() == served)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    rewritten = push({"base/sync.yaml": "SYNC_BATCH_SIZE: 3\n"}, "--force")
    kit.eventually(lambda: mirrored.reason() == "HistoryRewritten")
    assert mirrored.applied() == served
    assert mirrored.call("POST", "/accept-rewrite", {"env": "dev", "reason": "agreed"})[0] == 200
    kit.eventually(lambda: mirrored.applied() == rewritten)


def test_a_damaged_mirror_is_made_anew(push: Any, mirrored: Any, settings: Any, kit: Any) -> None:
    """No crash loop; what is served stays served meanwhile."""
    push(kit.files())
    mirrored.start()
    kit.eventually(mirrored.applied)
    mirror = settings.state_dir / "mirror.git"
    shutil.rmtree(mirror / "objects")
    (mirror / "objects").mkdir()
    commit = push({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: mirrored.applied() == commit, 15)


def test_waiting_for_a_revision_fetches_it(
    push: Any, settings: Any, remote: Path, locals_: Any, kit: Any
) -> None:
    """A pipeline waits for what it has just pushed, before the daemon has heard of it."""
    push(kit.files())
    daemon = locals_(replace(settings, repo=f"file://{remote}", poll_seconds=60.0)).start()
    kit.eventually(daemon.applied)
    commit = push({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    answer = daemon.get(f"/wait?env=dev&revision={commit}&timeout=10")
    assert (answer["state"], answer["converged"]) == ("applied", True)
    answer = daemon.get(f"/wait?env=dev&revision={'0' * 39}1&timeout=0.5")
    assert answer["state"] == "unknown-revision"
