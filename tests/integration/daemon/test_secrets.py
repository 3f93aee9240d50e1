"""Secrets: opened with the daemon's identity, sealed at rest, never seen anywhere else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from kemudi.repo.secrets import generate_identity, seal
from kemudi.schema.envelope import Context
from kemudi.store.sealing import KeysetBundle, Sealer
from kemudi.store.snapshot import load_category, open_secrets

CANARY = "canary-6f1d-plaintext"


@pytest.fixture
def vault(keys: Any, settings: Any) -> Any:
    """Settings of a daemon with an identity, and its public key."""
    identity, public = generate_identity()
    keys.identity.write_text(f"# made for a test\n{identity}\n")
    keys.identity.chmod(0o600)
    return replace(settings, identity=keys.identity), public


def sealed_files(
    kit: Any, public: str, value: Any = CANARY, *, kind: str = "string", key: str = "TOKEN"
) -> dict[str, str]:
    """A config repo with a category that holds a secret."""
    recipients = (
        f"recipients:\n  daemon: {{key: {public}, kind: daemon}}\n  safe: {{key: {public}, kind: recovery}}\n"
        "environments:\n  dev: [daemon, safe]\n"
    )
    schema = {
        "TOKEN": {"type": "string", "minLength": 3, "x-kemudi-sensitive": True},
        "OTHER": {"type": "integer", "x-kemudi-sensitive": True},
    }
    return kit.files() | {
        "recipients.yaml": recipients,
        "contracts/vault.schema.json": kit.contract("vault", schema),
        "base/vault.yaml": f"TOKEN: {envelope(kit, public, CANARY)}\n",
    }


def envelope(
    kit: Any, public: str, value: Any, *, kind: str = "string", key: str = "TOKEN", layer: str = "base"
) -> str:
    return seal(Context(kit.repo_id, layer, "vault", key), kind, value, [public])


def opened(redis_url: str, reader: Any, keyset: Path, kit: Any) -> dict[str, Any]:
    """The secrets as a service with the keyset gets them."""
    manifest = reader.manifest()
    store = kit.store(redis_url)
    try:
        blobs = store.blobs(manifest.digests)
    finally:
        store.close()
    encoded = load_category("vault", manifest.categories["vault"], blobs)
    sealer = Sealer(KeysetBundle.load(keyset), repo_id=manifest.repo_id, env="dev")
    return {key: secret.reveal() for key, secret in open_secrets(encoded, sealer).items()}


def test_a_secret_reaches_a_service_and_nobody_else(
    repo: Any, vault: Any, locals_: Any, reader: Any, redis_url: str, kit: Any
) -> None:
    """Not in Redis, the log, the status, the metrics, the state folder, or git."""
    settings, public = vault
    repo.commit(sealed_files(kit, public))
    daemon = locals_(settings).start()
    assert daemon.reason() == "Applied"
    assert opened(redis_url, reader, settings.keyset, kit) == {"TOKEN": CANARY}
    with redis.Redis.from_url(redis_url) as server:
        held = b"".join(server.dump(key) or b"" for key in server.scan_iter("*"))
    said = (
        daemon.output.getvalue()
        + str(daemon.get("/status"))
        + daemon.get("/metrics")
        + str(daemon.get("/drift"))
    )
    kept = b"".join(path.read_bytes() for path in settings.state_dir.rglob("*") if path.is_file())
    for needle in (CANARY, CANARY.encode().hex(), CANARY[::-1]):
        assert needle.encode() not in held
        assert needle not in said
        assert needle.encode() not in kept


def test_an_unchanged_secret_keeps_its_ciphertext_over_commits_and_restarts(
    repo: Any, vault: Any, locals_: Any, reader: Any, kit: Any
) -> None:
    """Also when the category around it changes and when git holds a new envelope of the same value."""
    settings, public = vault
    repo.commit(sealed_files(kit, public))
    daemon = locals_(settings).start()
    before = reader.manifest().categories["vault"]
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: daemon.applied() == commit)
    assert reader.manifest().categories["vault"] == before
    daemon.stop()
    daemon = locals_(settings).start()
    assert reader.manifest().categories["vault"] == before
    commit = repo.commit({"base/vault.yaml": f"TOKEN: {envelope(kit, public, CANARY)}\n"})
    kit.eventually(lambda: daemon.applied() == commit)
    assert reader.manifest().categories["vault"] == before


@pytest.mark.parametrize(
    "fault", ["plaintext", "damaged", "moved", "other recipient", "wrong type", "breaks its contract"]
)
@pytest.mark.parametrize("reject", ["commit", "category"])
def test_a_secret_that_cannot_be_served_rejects_the_commit(
    repo: Any, vault: Any, locals_: Any, reader: Any, redis_url: str, kit: Any, fault: str, reject: str
) -> None:
    """Whatever the rejection unit; at its line, without its value; a correcting commit goes live."""
    settings, public = vault
    first = repo.commit(sealed_files(kit, public) | {"kemudi.yaml": kit.manifest(reject=reject)})
    daemon = locals_(settings).start()
    good = envelope(kit, public, CANARY + "2")
    line = {
        "plaintext": f"TOKEN: {CANARY}2",
        "damaged": f"TOKEN: {good[:-12]}AAAAAAAAAA=]",
        "moved": f"TOKEN: {envelope(kit, public, CANARY + '2', layer='dev')}",
        "other recipient": f"TOKEN: {envelope(kit, generate_identity()[1], CANARY + '2')}",
        "wrong type": f"TOKEN: {envelope(kit, public, 12345, kind='integer')}",
        "breaks its contract": f"TOKEN: {envelope(kit, public, 'no')}",
    }[fault]
    bad = repo.commit({"base/vault.yaml": f"# a comment\n{line}\n", "base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: daemon.status()["rejected"] == bad)
    status = daemon.status()
    assert status["applied"]["revision"] == first
    assert status["held"] == {}
    assert [(error["file"], error["line"]) for error in status["errors"]] == [("base/vault.yaml", 2)]
    assert CANARY not in str(status) + daemon.output.getvalue()
    assert opened(redis_url, reader, settings.keyset, kit) == {"TOKEN": CANARY}
    fixed = repo.commit({"base/vault.yaml": f"TOKEN: {good}\n"})
    kit.eventually(lambda: daemon.applied() == fixed)
    assert opened(redis_url, reader, settings.keyset, kit) == {"TOKEN": CANARY + "2"}


@pytest.mark.parametrize("missing", ["identity", "keyset"])
def test_a_daemon_without_a_key_says_so_and_serves_the_last_good(
    repo: Any, vault: Any, locals_: Any, reader: Any, kit: Any, missing: str
) -> None:
    """Degraded, not dead: what Redis serves stays, and is repaired."""
    settings, public = vault
    first = repo.commit(sealed_files(kit, public))
    locals_(settings).start().stop()
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    daemon = locals_(replace(settings, **{missing: None})).start()
    assert daemon.reason() == "SecretRefused"
    assert daemon.applied() == first
    assert daemon.status()["attempted"] == commit
    assert f"KEMUDI_{missing.upper()}" in daemon.status()["errors"][0]["message"]


def test_a_rotated_key_seals_anew_under_a_higher_generation(
    repo: Any, vault: Any, locals_: Any, reader: Any, redis_url: str, kit: Any
) -> None:
    """No commit is needed: the daemon is started with the rotated keyset."""
    settings, public = vault
    repo.commit(sealed_files(kit, public))
    locals_(settings).start().stop()
    before = reader.manifest()
    bundle = KeysetBundle.load(settings.keyset)
    bundle.with_keyset("vault", bundle.keyset("vault").rotated()).save(settings.keyset)
    locals_(settings).start()
    after = reader.manifest()
    assert after.generation > before.generation
    assert after.revision == before.revision
    assert after.categories["vault"] != before.categories["vault"]
    assert opened(redis_url, reader, settings.keyset, kit) == {"TOKEN": CANARY}


class TestRejectingByCategory:
    """`reject: category`: only what is bad is held back."""

    def test_a_bad_category_is_held_and_the_others_go_on(
        self, repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any
    ) -> None:
        """The status lists the revision it is held at; the correction takes it along again."""
        first = repo.commit(kit.files(reject="category"))
        daemon = locals_(settings).start()
        bad = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: x\n", "base/graph.yaml": "GRAPH_LIMIT: 20\n"})
        kit.eventually(lambda: daemon.applied() == bad)
        assert daemon.status()["held"] == {"sync": first}
        assert daemon.status()["errors"][0]["file"] == "base/sync.yaml"
        assert ("Held", "CategoryHeld") in daemon.conditions()
        values = reader.values()
        assert (values["SYNC_BATCH_SIZE"], values["GRAPH_LIMIT"]) == (100, 20)
        good = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 7\n"})
        kit.eventually(lambda: daemon.applied() == good)
        assert daemon.status()["held"] == {}
        assert daemon.status()["errors"] == []
        assert reader.values()["SYNC_BATCH_SIZE"] == 7

    def test_on_an_empty_redis_a_bad_category_is_held_at_its_newest_good_commit(
        self, repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any
    ) -> None:
        """Found in history, category by category."""
        repo.commit(kit.files(reject="category"))
        good = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 5\n"})
        repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: x\n"})
        head = repo.commit({"base/graph.yaml": "GRAPH_LIMIT: 20\n"})
        daemon = locals_(settings).start()
        assert daemon.applied() == head
        assert daemon.status()["held"] == {"sync": good}
        assert reader.values() == {"SYNC_BATCH_SIZE": 5, "SYNC_TIMEOUT": 3600, "GRAPH_LIMIT": 20}

    def test_an_error_of_the_whole_repo_holds_everything(
        self, repo: Any, settings: Any, locals_: Any, kit: Any
    ) -> None:
        """A broken `kemudi.yaml` belongs to no category."""
        first = repo.commit(kit.files(reject="category"))
        daemon = locals_(settings).start()
        bad = repo.commit({"kemudi.yaml": "format: 1\n"})
        kit.eventually(lambda: daemon.status()["attempted"] == bad)
        assert daemon.applied() == first
        assert daemon.reason() == "ValidationFailed"
