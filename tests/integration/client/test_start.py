"""What a client starts with: the store, its own disk copy, declared defaults; and what is an error."""

import time

import pytest
import redis
from pydantic import BaseModel

from kemudi.client import connect
from kemudi.schema.contract import setting
from kemudi.schema.errors import UsageError
from kemudi.schema.secret import Secret
from kemudi.store.errors import StoreRefusedError
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import SigningKey

NOWHERE = "redis://127.0.0.1:1/0"


class SyncSettings(BaseModel):
    SYNC_BATCH_SIZE: int = setting(1000, description="Rows.")
    SYNC_MODE: str = setting("calm", description="How.", requires_restart=True)


def test_connect_takes_its_settings_from_variables(publisher, monkeypatch):
    """`connect()` with the variables set is all a service needs."""
    publisher.publish({"sync": {"SYNC_BATCH_SIZE": 10}})
    monkeypatch.setenv("KEMUDI_ENV", "dev")
    monkeypatch.setenv("KEMUDI_REDIS_URL", publisher.url)
    monkeypatch.setenv("KEMUDI_SERVICE", "tester")
    monkeypatch.setenv("KEMUDI_KEYSET", str(publisher.keyset))
    monkeypatch.setenv("KEMUDI_VERIFY_KEY", str(publisher.verify_key))
    monkeypatch.setenv("KEMUDI_STATE_DIR", str(publisher.state))
    with connect() as config:
        assert config["SYNC_BATCH_SIZE"] == 10
    assert config["SYNC_BATCH_SIZE"] == 10


def test_declared_defaults_when_there_is_nothing_else(publisher, open_client, wait_until):
    """With the store away and no disk copy, declared defaults are served after the time limit, and nothing raises."""
    begun = time.monotonic()
    config = open_client(publisher, redis_url=NOWHERE, contracts=[SyncSettings], timeout=0.3)
    assert time.monotonic() - begun < 3
    assert (config["SYNC_BATCH_SIZE"], config.revision) == (1000, None)
    assert config.get("SYNC_BATCH_SIZE", default=7) == 7
    health = config.health()
    assert (health.connected, health.source) == (False, "defaults")
    assert "cannot be reached" in health.problem
    assert health.stale_seconds > 0


def test_without_even_defaults_reads_say_so(publisher, open_client):
    """Without any source `connect` still returns; `get` gives the caller's default, a read names what is missing."""
    config = open_client(publisher, redis_url=NOWHERE, timeout=0.1)
    assert config.get("NEO4J_URI", default="bolt://own") == "bolt://own"
    with pytest.raises(KeyError, match="no snapshot has been loaded"):
        config["NEO4J_URI"]


def test_the_store_is_waited_for_within_bounds(own_redis, publisher_at, open_client, wait_until):
    """A client that starts before the first publish waits for it, and starts with it."""
    import threading

    publisher = publisher_at(own_redis.url)
    later = threading.Timer(0.4, lambda: publisher.publish({"sync": {"SYNC_BATCH_SIZE": 10}}))
    later.start()
    config = open_client(publisher, contracts=[SyncSettings], timeout=10)
    later.join()
    assert config["SYNC_BATCH_SIZE"] == 10
    assert config.health().source == "redis"


def test_the_disk_copy_when_the_store_is_away(own_redis, publisher_at, open_client, wait_until):
    """A client that starts with the store away serves its last snapshot at once, secrets included, and catches up."""
    publisher = publisher_at(own_redis.url)
    revision = publisher.publish(
        {"sync": {"SYNC_BATCH_SIZE": 10}, "neo4j": {"NEO4J_PASSWORD": Secret("hunter2")}}
    )
    first = open_client(publisher)
    wait_until(lambda: list(publisher.state.rglob("*.copy")))
    first.close()
    own_redis.stop()
    begun = time.monotonic()
    config = open_client(publisher, contracts=[SyncSettings], timeout=30)
    assert time.monotonic() - begun < 10
    assert (config["SYNC_BATCH_SIZE"], config.revision) == (10, revision)
    assert config["SYNC_MODE"] == "calm"
    assert config["NEO4J_PASSWORD"].reveal() == "hunter2"
    assert config.health().source == "disk"
    own_redis.start()
    publisher.publish({"sync": {"SYNC_BATCH_SIZE": 11}})
    wait_until(lambda: config["SYNC_BATCH_SIZE"] == 11)
    assert config.health().source == "redis"


def test_the_disk_copy_holds_no_plaintext(publisher, open_client, wait_until):
    """The copy has ciphertext for secrets, is for its owner alone, and follows each swap."""
    publisher.publish({"sync": {"A": 1}, "neo4j": {"NEO4J_PASSWORD": Secret("hunter2-canary")}})
    config = open_client(publisher)
    config["NEO4J_PASSWORD"].reveal()
    wait_until(lambda: list(publisher.state.rglob("*.copy")))
    (copy,) = publisher.state.rglob("*.copy")
    before = copy.read_bytes()
    publisher.publish({"sync": {"A": 2}, "neo4j": {"NEO4J_PASSWORD": Secret("hunter2-canary")}})
    wait_until(lambda: copy.read_bytes() != before)
    assert b"hunter2" not in copy.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["flip", "cut", "key", "env", "repo-free"])
def test_a_copy_that_cannot_be_trusted_is_not_used(publisher, open_client, wait_until, damage):
    """A damaged copy, one signed by another key, and one of another environment give way to declared defaults."""
    publisher.publish({"sync": {"SYNC_BATCH_SIZE": 10}})
    first = open_client(publisher)
    wait_until(lambda: list(publisher.state.rglob("*.copy")))
    first.close()
    (copy,) = publisher.state.rglob("*.copy")
    data = copy.read_bytes()
    more = {}
    if damage == "flip":
        at = data.rindex(b"SYNC_BATCH_SIZE") + len("SYNC_BATCH_SIZE") + 2
        assert data[at : at + 2] == b"10"
        copy.write_bytes(data[:at] + b"99" + data[at + 2 :])
    elif damage == "cut":
        copy.write_bytes(data[:-1])
    elif damage == "key":
        more = {"verify_key": SigningKey.generate().verify_keys()}
    elif damage == "env":
        target = copy.parent.parent / "prod" / copy.name
        target.parent.mkdir()
        copy.rename(target)
        more = {"env": "prod"}
    else:
        copy.write_bytes(b"")
    config = open_client(publisher, redis_url=NOWHERE, contracts=[SyncSettings], timeout=0.1, **more)
    assert config["SYNC_BATCH_SIZE"] == 1000
    assert config.health().source == "defaults"


def test_only_the_wanted_categories_are_loaded(publisher, open_client, wait_until):
    """With `categories` the others are not served, and their changes are no business of this process."""
    publisher.publish({"sync": {"A": 1}, "neo4j": {"U": "x"}})
    config = open_client(publisher, categories=["sync"])
    assert dict(config.all()) == {"A": 1}
    publisher.publish({"sync": {"A": 2}, "neo4j": {"U": "y"}})
    wait_until(lambda: config["A"] == 2)
    assert "U" not in config


def test_without_the_keyset_of_a_category_the_rest_works(publisher, open_client):
    """A service whose keyset covers other categories reads all but the secrets of this one."""
    publisher.publish({"sync": {"A": 1}, "neo4j": {"P": Secret("hunter2"), "U": "x"}})
    for keyset in (None, KeysetBundle.generate(["sync"])):
        config = open_client(publisher, keyset=keyset)
        assert (config["A"], config["U"]) == (1, "x")
        with pytest.raises(Exception, match="KEMUDI_KEYSET"):
            config["P"]


def test_a_declared_default_fills_what_the_snapshot_lacks(publisher, open_client):
    """A setting that the code knows before the published contract does has its declared default."""
    publisher.publish({"sync": {"SYNC_BATCH_SIZE": 10}})
    config = open_client(publisher, contracts={"sync": SyncSettings})
    assert (config["SYNC_BATCH_SIZE"], config["SYNC_MODE"]) == (10, "calm")
    assert dict(config.category("sync")) == {"SYNC_BATCH_SIZE": 10, "SYNC_MODE": "calm"}


def test_wrong_contracts_are_an_error(publisher, open_client, tmp_path):
    """A folder without contracts, or a broken one, is named at connect."""
    with pytest.raises(UsageError, match="not a folder"):
        open_client(publisher, contracts=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="there is no"):
        open_client(publisher, contracts=tmp_path)
    (tmp_path / "sync.schema.json").write_text("{")
    with pytest.raises(UsageError, match=r"sync\.schema\.json:1:"):
        open_client(publisher, contracts=str(tmp_path))


def test_a_refused_password_is_an_error_without_a_copy(own_redis, publisher_at, open_client, wait_until):
    """A store that refuses this client is a mis-set connection: an error, unless there is a copy to start from."""
    publisher = publisher_at(own_redis.url)
    publisher.publish({"sync": {"A": 1}})
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.acl_setuser(
            "reader", enabled=True, passwords=["+right"], keys=["*"], channels=["*"], commands=["+@all"]
        )
    wrong = own_redis.url.replace("redis://", "redis://reader:wrong@")
    with pytest.raises(StoreRefusedError) as caught:
        open_client(publisher, redis_url=wrong)
    assert "wrong" not in str(caught.value)
    first = open_client(publisher)
    wait_until(lambda: list(publisher.state.rglob("*.copy")))
    first.close()
    config = open_client(publisher, redis_url=wrong)
    assert config["A"] == 1
    assert "refuses" in config.health().problem


def test_a_frozen_store_does_not_hold_up_the_start(own_redis, publisher_at, open_client):
    """A store that accepts connections and never answers delays the start by the time limit and no more."""
    publisher = publisher_at(own_redis.url)
    publisher.publish({"sync": {"SYNC_BATCH_SIZE": 10}})
    own_redis.freeze()
    begun = time.monotonic()
    config = open_client(publisher, contracts=[SyncSettings], timeout=0.5)
    assert time.monotonic() - begun < 3
    assert config["SYNC_BATCH_SIZE"] == 1000
    own_redis.thaw()
