"""The server did it, and the connection died before it could say so."""

from types import ModuleType
from typing import Any

import pytest
import redis

from kemudi.store.keys import Keys
from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey

EXEC = b"EXEC\r\n"


@pytest.fixture
def store(front: Any, make_store: Any) -> RedisStore:
    """A store behind the front."""
    made = make_store(f"redis://127.0.0.1:{front.start()}/0")
    assert isinstance(made, RedisStore)
    return made


def test_publish(
    front: Any, store: RedisStore, world: ModuleType, signing: SigningKey, own_redis: Any
) -> None:
    """A publish whose answer got lost is found done: published once, logged once, hinted once."""
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    with redis.Redis.from_url(own_redis.url) as hand, hand.pubsub() as listening:
        listening.subscribe(Keys("prod").channel)
        signed, blobs = world.build(1, lease.epoch, signing)
        store.stage(blobs)
        front.deaf_after = EXEC
        assert store.publish(lease, signed, blobs, world.entry(1), None).already_current
        assert store.current() == signed
        assert len(store.log(10)) == 1
        assert store.inspect(signed, blobs) == ()
        kinds = []
        while message := listening.get_message(timeout=0.2):
            kinds.append(message["type"])
        assert kinds == ["subscribe", "message"]


def test_lease(front: Any, store: RedisStore, world: ModuleType, signing: SigningKey) -> None:
    """A lease whose answer got lost is held, and its epoch was raised once."""
    front.deaf_after = EXEC
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    assert lease.epoch == 1
    world.publish(store, lease, signing, 1)


def test_renewal_and_release(front: Any, store: RedisStore, own_redis: Any) -> None:
    """A renewal and a release whose answers got lost are done."""
    lease = store.acquire_lease("daemon", 5)
    assert lease is not None
    front.deaf_after = EXEC
    assert store.renew(lease, 300)
    with redis.Redis.from_url(own_redis.url) as hand:
        assert hand.ttl(Keys("prod").lease) > 100
    front.deaf_after = EXEC
    store.release(lease)
    assert store.lease_holder() is None


def test_reading(front: Any, store: RedisStore, world: ModuleType, signing: SigningKey) -> None:
    """Reading and staging are simply done again."""
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    front.deaf_after = b"MGET"
    world.publish(store, lease, signing, 1)
    front.deaf_after = b"blob"
    assert len(store.blobs(world.build(1, lease.epoch, signing)[1])) == 3
    front.deaf_after = b"SET"
    store.stage(world.build(2, lease.epoch, signing)[1])
    front.deaf_after = b"PERSIST"
    world.publish(store, lease, signing, 2)
    assert world.Reader(store, signing.verify_keys()).read() == 2
