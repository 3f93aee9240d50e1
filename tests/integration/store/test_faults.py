"""A server that is full, frozen, gone, read-only, or that somebody has put his hands into."""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import redis

from kemudi.store.errors import StoreFullError, StoreRefusedError, StoreUnavailableError
from kemudi.store.keys import Keys
from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category
from kemudi.store.values import Acknowledgement, DriftItem

KEYS = Keys("prod")
Make = Callable[..., RedisStore]


def test_out_of_memory(own_redis: Any, world: ModuleType, signing: SigningKey, make_store: Make) -> None:
    """Without memory a publish is refused as `store-oom`, the pointer stays, and memory lets it go on."""
    store = make_store(own_redis.url)
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    before = world.publish(store, lease, signing, 1)
    signed, blobs = world.build(2, lease.epoch, signing)
    store.stage(blobs)
    with redis.Redis.from_url(own_redis.url) as hand:
        hand.config_set("maxmemory-policy", "noeviction")
        hand.config_set("maxmemory", 1)
        for act in (
            lambda: store.stage(world.build(3, lease.epoch, signing)[1]),
            lambda: store.publish(lease, signed, blobs, world.entry(2), before),
        ):
            with pytest.raises(StoreFullError) as caught:
                act()
            assert caught.value.reason == "store-oom"
            assert caught.value.__context__ is None
            assert store.current() == before
        hand.config_set("maxmemory", 0)
    store.publish(lease, signed, blobs, world.entry(2), before)
    assert store.current() == signed
    assert len(store.log(10)) == 2


def test_frozen(own_redis: Any, world: ModuleType, signing: SigningKey, make_store: Make) -> None:
    """A server that does not answer costs two seconds, not a hang, and all is well when it goes on."""
    store = make_store(own_redis.url)
    store.ping()
    own_redis.freeze()
    for act in (store.current, store.lease_holder):
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            act()
        assert time.monotonic() - started < 5
    own_redis.thaw()
    assert store.current() is None
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    world.publish(store, lease, signing, 1)


def test_gone(own_redis: Any, make_store: Make) -> None:
    """Without a server every call says so at once, in one sentence without the password."""
    url = own_redis.url.replace("redis://", "redis://user:hunter2@")
    store = make_store(url)
    own_redis.stop()
    said = Acknowledgement("s", "i", "", "", "current")
    lease = None
    for act in (
        store.ping,
        store.current,
        store.acknowledgements,
        store.lease_holder,
        lambda: store.blobs(["0" * 64]),
        lambda: store.log(1),
        lambda: store.sweep([]),
        lambda: store.acknowledge(said, 1),
        lambda: store.acquire_lease("daemon", 1),
        lambda: store.inspect(b"", []),
        lambda: store.stage({digest_of(b"{}"): b"{}"}),
    ):
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError) as caught:
            act()
        assert time.monotonic() - started < 5
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"
        assert caught.value.__context__ is None
    assert lease is None


def test_restart_between_calls(own_redis: Any, make_store: Make) -> None:
    """Pooled connections that died with the server cost no failed call."""
    store = make_store(own_redis.url)
    store.ping()
    own_redis.restart()
    assert store.current() is None
    assert store.acquire_lease("daemon", 30) is not None


def test_wrong_password(own_redis: Any, make_store: Make) -> None:
    """A wrong password is refused, not retried as an outage; the URL's is not shown."""
    with redis.Redis.from_url(own_redis.url) as hand:
        hand.config_set("requirepass", "right")
        store = make_store(own_redis.url.replace("redis://", "redis://:hunter2@"))
        with pytest.raises(StoreRefusedError) as caught:
            store.ping()
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"
        hand.config_set("requirepass", "")


def test_read_only(own_redis: Any, make_store: Make) -> None:
    """A replica reads and refuses to be written to for now: a failover will make it, or find, a master."""
    store = make_store(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as hand:
        hand.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailableError):
            store.acquire_lease("daemon", 30)
        hand.replicaof("NO", "ONE")
    assert store.acquire_lease("daemon", 30) is not None


class TestHandsInTheServer:
    @pytest.fixture
    def hand(self, redis_url: str) -> Any:
        with redis.Redis.from_url(redis_url) as client:
            yield client

    @pytest.fixture
    def served(self, redis_url: str, world: ModuleType, signing: SigningKey, make_store: Make) -> Any:
        store = make_store(redis_url)
        lease = store.acquire_lease("daemon", 30)
        world.publish(store, lease, signing, 1)
        return store, lease

    def test_other_type_for_the_pointer(
        self, hand: Any, served: Any, world: ModuleType, signing: SigningKey
    ) -> None:
        """Something of another type in the pointer's place is altered drift, and the next publish replaces it."""
        store, lease = served
        signed, blobs = world.build(1, lease.epoch, signing)
        hand.delete(KEYS.current)
        hand.hset(KEYS.current, "a", 1)
        assert store.current() == b""
        assert store.inspect(signed, blobs) == (DriftItem(None, None, "manifest-altered"),)
        store.stage(blobs)
        store.publish(lease, signed, blobs, world.entry(1), store.current())
        assert store.inspect(signed, blobs) == ()

    def test_other_type_for_a_blob(
        self, hand: Any, served: Any, world: ModuleType, signing: SigningKey
    ) -> None:
        """Something of another type in a blob's place is a missing blob, and is repaired."""
        store, lease = served
        signed, blobs = world.build(1, lease.epoch, signing)
        digest = min(blobs)
        hand.delete(KEYS.blob(digest))
        hand.rpush(KEYS.blob(digest), "x")
        assert digest not in store.blobs(blobs)
        assert [item.kind for item in store.inspect(signed, blobs)] == ["blob-missing"]
        assert store.stage(blobs).written == 1
        store.publish(lease, signed, blobs, world.entry(1), signed)
        assert store.inspect(signed, blobs) == ()

    def test_other_type_for_the_log(
        self, hand: Any, served: Any, world: ModuleType, signing: SigningKey
    ) -> None:
        """Something of another type in the log's place does not stop a publish, which begins the log anew."""
        store, lease = served
        signed, blobs = world.build(1, lease.epoch, signing)
        hand.delete(KEYS.log)
        hand.set(KEYS.log, "x")
        assert store.inspect(signed, blobs) == (DriftItem(None, None, "log-altered"),)
        current = world.publish(store, lease, signing, 2)
        assert store.current() == current
        assert [entry.generation for entry in store.log(10)] == ["0.2.0"]

    @pytest.mark.parametrize("key", [KEYS.lease, KEYS.epoch])
    def test_other_type_for_leadership(self, hand: Any, served: Any, key: str) -> None:
        """Something of another type in the place of lease or epoch does not keep leaders away for ever."""
        store, lease = served
        store.release(lease)
        hand.delete(key)
        hand.rpush(key, "x")
        assert store.lease_holder() is None
        again = store.acquire_lease("daemon-2", 30)
        assert again is not None
        assert again.epoch > lease.epoch

    def test_lease_without_expiry(
        self, hand: Any, served: Any, world: ModuleType, signing: SigningKey
    ) -> None:
        """A lease that a hand made, which would never expire, is taken over."""
        store, _ = served
        hand.set(KEYS.lease, "me")
        assert store.lease_holder() is None
        again = store.acquire_lease("daemon-2", 30)
        assert again is not None
        world.publish(store, again, signing, 2)

    @pytest.mark.parametrize("value", ["abc", "-5", "1e9", str(2**70), "", "٣"])
    def test_altered_epoch(
        self, hand: Any, served: Any, world: ModuleType, signing: SigningKey, value: str
    ) -> None:
        """A hand in the epoch fences the leader; the next lease goes on above all before."""
        store, lease = served
        hand.set(KEYS.epoch, value)
        assert not store.renew(lease, 30)
        hand.delete(KEYS.lease)
        again = store.acquire_lease("daemon", 30)
        assert again is not None
        assert lease.epoch < again.epoch < 2**53
        world.publish(store, again, signing, 2)

    def test_strange_neighbours(self, hand: Any, served: Any) -> None:
        """Keys that look a little like ours are passed over, and left alone."""
        store, _ = served
        strange = [f"{KEYS.blobs}short", f"{KEYS.blobs}{'0' * 63}\xff", f"{KEYS.acknowledgements}x:y"]
        for key in strange:
            hand.set(key, "\x00")
        hand.rpush(f"{KEYS.acknowledgements}x:list", "z")
        hand.xadd(KEYS.log, {"other": "field"})
        hand.xadd(KEYS.log, {"entry": "no JSON"})
        assert store.sweep([]) == 0
        assert store.acknowledgements() == []
        assert [entry.generation for entry in store.log(10)] == ["0.1.0"]
        assert all(hand.ttl(key) == -1 for key in strange)


def test_a_dump_holds_no_secret(
    own_redis: Any, tmp_path: Any, world: ModuleType, signing: SigningKey, make_store: Make
) -> None:
    """Neither the server's dump nor its slow log holds a plaintext, in any usual spelling."""
    from base64 import b64encode

    from kemudi.schema.secret import Secret
    from kemudi.store.sealing import KeysetBundle, Sealer

    canary = "c4n4ry-pa55w0rd"
    sealer = Sealer(KeysetBundle.generate(["alpha"]), repo_id=world.REPO, env="prod")
    category = Category("alpha", {"A": 1}, {}, {"S": ("string", Secret(canary))}, frozenset())
    blobs = {digest_of(blob): blob for blob in encode_category(category, sealer)}
    store = make_store(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as hand:
        hand.config_set("slowlog-log-slower-than", 0)
        store.stage(blobs)
        lease = store.acquire_lease("daemon", 30)
        assert lease is not None
        world.publish(store, lease, signing, 1)
        slow = repr(hand.slowlog_get(100)).encode()
        hand.save()
    dump = (own_redis.folder / "dump.rdb").read_bytes()
    for spelling in (canary.encode(), b64encode(canary.encode()), canary.encode().hex().encode()):
        assert spelling not in dump
        assert spelling not in slow


def test_size_independence(redis_url: str, make_store: Make, signing: SigningKey, world: ModuleType) -> None:
    """A change of one blob beside 2,000 others costs no more than a few milliseconds more than beside none."""
    store = make_store(redis_url)
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    times = {}
    for others in (0, 2_000):
        filler = {
            f"c{index}": encode_category(
                Category(f"c{index}", {f"K{index}": index}, {}, {}, frozenset()), None
            )[0]
            for index in range(others)
        }
        named = {name: (digest_of(blob),) for name, blob in filler.items()}
        store.stage({digests[0]: filler[name] for name, digests in named.items()})
        times[others] = min(
            _timed_publish(store, lease, signing, world, named, number)
            for number in range(1 + others, 12 + others)
        )
    print({others: f"{seconds * 1e3:.2f} ms" for others, seconds in times.items()})
    assert times[2_000] < times[0] + 0.025


def _timed_publish(
    store: RedisStore, lease: Any, signing: SigningKey, world: ModuleType, named: dict[str, Any], number: int
) -> float:
    from dataclasses import replace

    from kemudi.store.manifest import Manifest

    own, blobs = world.build(number, lease.epoch, signing)
    manifest = Manifest.unverified(own)
    assert manifest is not None
    signed = replace(manifest, categories={**manifest.categories, **named}).sign(signing)
    digests = [*blobs, *(digests[0] for digests in named.values())]
    expected = store.current()
    started = time.perf_counter()
    store.stage(blobs)
    store.publish(lease, signed, digests, world.entry(number), expected)
    return time.perf_counter() - started
