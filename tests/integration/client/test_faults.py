"""Foul weather: outages, altered bytes, stale and foreign snapshots. Reads go on, with the last good snapshot."""

import time
from dataclasses import replace

import pytest

from kemudi.client import SecretUnreadableError
from kemudi.client.refresh import Pace
from kemudi.schema.generation import Generation
from kemudi.schema.secret import Secret
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category


def test_reads_go_on_while_the_store_is_away(own_redis, publisher_at, open_client, wait_until):
    """With Redis killed and empty on its return, reads never change until the daemon has published again."""
    publisher = publisher_at(own_redis.url)
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    own_redis.stop()
    wait_until(lambda: not config.health().connected)
    first = config.health().stale_seconds
    assert config["A"] == 1
    wait_until(lambda: config.health().stale_seconds > first)
    own_redis.start()
    wait_until(lambda: config.health().connected)
    assert config["A"] == 1
    wait_until(lambda: "nothing is published" in config.health().refusal)
    assert config.health().stale_seconds > 0
    publisher.publish({"sync": {"A": 2}})
    wait_until(lambda: config["A"] == 2)
    assert config.health().stale_seconds == 0
    assert config.health().refusal == ""


def test_a_frozen_store_is_noticed_and_forgiven(own_redis, publisher_at, open_client, wait_until):
    """A Redis that stops answering with its connections open is noticed, and followed again when it goes on."""
    publisher = publisher_at(own_redis.url)
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    own_redis.freeze()
    wait_until(lambda: not config.health().connected, 20)
    assert config["A"] == 1
    own_redis.thaw()
    publisher.publish({"sync": {"A": 2}})
    wait_until(lambda: config["A"] == 2, 20)


def test_a_change_without_a_hint_is_found_by_the_poll(publisher, open_client, wait_until):
    """When a hint is lost the next poll finds the change."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    publisher.by_hand(publisher.manifest(Generation(0, 7, 0), "7" * 40).sign(publisher.key), hint=False)
    wait_until(lambda: config.generation == "0.7.0")
    assert config.revision == "7" * 40


def test_an_altered_manifest_is_never_served(publisher, open_client, wait_until):
    """A manifest with one byte changed, and bytes that are none, are refused, counted and named."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    good = publisher.store.current()
    publisher.by_hand(good.replace(b'"generation":"0.1.0"', b'"generation":"0.9.0"'), hint=True)
    wait_until(lambda: config.health().refused.get("signature") == 1)
    assert (config.generation, config["A"]) == ("0.1.0", 1)
    assert "signed" in config.health().refusal
    publisher.by_hand(b"something else", hint=True)
    wait_until(lambda: config.health().refused.get("format") == 1)
    publisher.by_hand(good, hint=True)
    wait_until(lambda: config.health().refusal == "")
    assert config.health().refused == {"signature": 1, "format": 1}


def test_a_manifest_of_another_environment_is_never_served(publisher, open_client, wait_until):
    """A validly signed manifest that was copied from another environment is refused."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    foreign = replace(publisher.manifest(Generation(0, 9, 0), "9" * 40), env="prod")
    publisher.by_hand(foreign.sign(publisher.key), hint=True)
    wait_until(lambda: config.health().refused.get("environment") == 1)
    assert config.generation == "0.1.0"


def test_a_snapshot_by_another_key_is_never_served(publisher, publisher_at, open_client, wait_until):
    """Who can write to Redis and has no signing key cannot change a setting."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    rival = publisher_at(publisher.url)
    rival.depth = 50
    rival.epoch = publisher.epoch
    rival.publish({"sync": {"A": 666}})
    wait_until(lambda: config.health().refused.get("signature"))
    assert config["A"] == 1


def test_a_snapshot_of_another_repo_is_never_served(publisher, publisher_at, open_client, wait_until):
    """A process stays with the config repo that it started with."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    other = publisher_at(publisher.url, repo_id="99999999-2222-3333-4444-555555555555", key=publisher.key)
    other.depth = 50
    other.epoch = publisher.epoch
    other.publish({"sync": {"A": 666}})
    wait_until(lambda: config.health().refused.get("repository"))
    assert config["A"] == 1


@pytest.mark.parametrize("fault", ["altered", "missing"])
def test_a_blob_that_is_not_right_is_never_served(publisher, open_client, wait_until, fault):
    """An altered or missing blob keeps the last good snapshot, and is looked for again until it is repaired."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher, pace=Pace(poll_least=60, poll_most=60, again=0.1))
    (blob,) = encode_category(Category("sync", {"A": 2}, {}, {}, frozenset()), None)
    publisher.blobs = {"sync": (blob,)}
    signed = publisher.manifest(Generation(0, 2, 0), "2" * 40).sign(publisher.key)
    wrong = {digest_of(blob): blob.replace(b'"A":2', b'"A":3')} if fault == "altered" else {}
    publisher.by_hand(signed, hint=True, blobs=wrong)
    wait_until(lambda: config.health().refused.get("blob") == 1)
    assert (config["A"], config.generation) == (1, "0.1.0")
    assert "blob" in config.health().refusal
    publisher.by_hand(signed, hint=False, blobs={digest_of(blob): blob})
    wait_until(lambda: config["A"] == 2)
    assert config.health().refusal == ""
    assert config.health().refused == {"blob": 1}


@pytest.mark.parametrize(
    "forgery", ["a replayed manifest", "a swapped category", "a forged value", "another key"]
)
def test_write_access_to_redis_is_not_write_access_to_config(
    publisher, publisher_at, open_client, wait_until, caplog, forgery
):
    """Whatever is written there by hand, the last good is served; health, log and acknowledgement say why."""
    secrets = {"neo4j": {"PASSWORD": Secret("canary-old")}, "sync": {"A": 1}}
    publisher.publish(secrets)
    old = publisher.store.current()
    publisher.publish({**secrets, "neo4j": {"PASSWORD": Secret("canary-new")}})
    good = publisher.store.current()
    config = open_client(publisher)
    assert config["PASSWORD"].reveal() == "canary-new"
    if forgery == "a replayed manifest":
        publisher.by_hand(old, hint=True)
        reason = "generation"
    elif forgery == "another key":
        stranger = publisher_at(publisher.url)
        publisher.by_hand(publisher.manifest(Generation(0, 9, 0), "9" * 40).sign(stranger.key), hint=True)
        reason = "signature"
    else:
        (neo4j,) = publisher.blobs["neo4j"]
        (changed,) = encode_category(Category("sync", {"A": 2}, {}, {}, frozenset()), None)
        placed = neo4j if forgery == "a swapped category" else changed.replace(b'"A":2', b'"A":3')
        publisher.blobs = {**publisher.blobs, "sync": (changed,)}
        # The daemon's own next manifest, whose blob somebody replaces before it is read.
        signed = publisher.manifest(Generation(0, 3, 0), "3" * 40).sign(publisher.key)
        publisher.by_hand(signed, hint=True, blobs={digest_of(changed): placed})
        reason = "blob"
    wait_until(lambda: config.health().refused.get(reason))
    assert (config["A"], config["PASSWORD"].reveal(), config.generation) == (1, "canary-new", "0.2.0")
    assert config.health().refusal
    wait_until(
        lambda: [said.reason for said in publisher.store.acknowledgements()] == [config.health().refusal]
    )
    assert "keeping what is served" in caplog.text
    assert "canary" not in caplog.text + config.health().refusal
    publisher.by_hand(good, hint=True)
    wait_until(lambda: [said.reason for said in publisher.store.acknowledgements()] == [""])


def test_a_generation_never_goes_back(publisher, open_client, wait_until):
    """An older snapshot, validly signed, is refused; a higher era is newer whatever its depth."""
    publisher.publish({"sync": {"A": 1}})
    publisher.publish({"sync": {"A": 2}})
    config = open_client(publisher)
    publisher.publish({"sync": {"A": 0}}, generation=Generation(0, 1, 0))
    wait_until(lambda: config.health().refused.get("generation") == 1)
    assert (config["A"], config.generation) == (2, "0.2.0")
    publisher.publish({"sync": {"A": 5}}, generation=Generation(1, 1, 0))
    wait_until(lambda: config["A"] == 5)
    assert config.generation == "1.1.0"


def test_a_resealed_twin_is_accepted_in_silence(publisher, open_client, wait_until):
    """The same generation with other ciphertexts is served, and no subscriber hears of it."""
    publisher.publish({"neo4j": {"P": Secret("hunter2")}})
    config = open_client(publisher)
    seen = []
    config.subscribe("*", seen.append)
    before = config._serving.snapshot.signed
    publisher.publish(
        {"neo4j": {"P": Secret("hunter2")}}, generation=Generation(0, 1, 0), keep_ciphertext=False
    )
    wait_until(lambda: config._serving.snapshot.signed != before)
    assert config["P"].reveal() == "hunter2"
    publisher.publish({"neo4j": {"P": Secret("hunter3")}})
    wait_until(lambda: seen)
    assert [change.new.reveal() for change in seen] == ["hunter3"]


def test_keys_can_be_rotated_while_it_runs(publisher, open_client, wait_until):
    """A keyset file and a verify key file that are replaced take effect without a restart."""
    publisher.publish({"neo4j": {"P": Secret("hunter2")}})
    config = open_client(publisher)
    assert config["P"].reveal() == "hunter2"
    fresh = SigningKey.generate()
    publisher.key.verify_keys().merged(fresh.verify_keys()).save(publisher.verify_key)
    publisher.key = fresh
    publisher.keysets = publisher.keysets.with_keyset("neo4j", publisher.keysets.keyset("neo4j").rotated())
    publisher.keysets.save(publisher.keyset)
    publisher.publish({"neo4j": {"P": Secret("hunter3")}})
    wait_until(lambda: config.generation == "0.2.0")
    assert config["P"].reveal() == "hunter3"
    assert config.health().refused == {}


def test_a_broken_keyset_file_keeps_the_keys_read_before(publisher, open_client, wait_until, caplog):
    """A key file that is replaced by something unusable is named in the log, and what was read before still opens."""
    publisher.publish({"neo4j": {"P": Secret("hunter2"), "Q": Secret("hunter2")}})
    config = open_client(publisher)
    assert config["P"].reveal() == "hunter2"
    publisher.keyset.write_text("broken")
    stranger = publisher.keysets.with_keyset("neo4j", KeysetBundle.generate(["neo4j"]).keyset("neo4j"))
    known, publisher.keysets = publisher.keysets, stranger
    publisher.publish({"neo4j": {"P": Secret("hunter2"), "Q": Secret("hunter3")}}, keep_ciphertext=False)
    wait_until(lambda: config.generation == "0.2.0")
    with pytest.raises(SecretUnreadableError):
        config["Q"]
    assert "keeping the keys read before" in caplog.text
    publisher.keysets = known
    publisher.publish({"neo4j": {"P": Secret("hunter4")}}, keep_ciphertext=False)
    wait_until(lambda: config.generation == "0.3.0")
    assert config["P"].reveal() == "hunter4"


def test_a_read_costs_the_same_without_the_store(own_redis, publisher_at, open_client, wait_until):
    """While the store is away a read takes what it always takes."""
    publisher = publisher_at(own_redis.url)
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    own_redis.stop()
    wait_until(lambda: not config.health().connected)
    worst = 0.0
    for _ in range(20_000):
        begun = time.perf_counter()
        assert config["A"] == 1
        worst = max(worst, time.perf_counter() - begun)
    assert worst < 0.5
