"""The rules of reader and writer on a real server: exactly what the store needs."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from kemudi.schema.errors import UsageError
from kemudi.store.acl import reader_rules, writer_rules
from kemudi.store.errors import StoreRefusedError
from kemudi.store.keys import Keys
from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey
from kemudi.store.values import Acknowledgement

KEYS = Keys("prod")
PASSWORD = "pass-word"
Make = Callable[..., RedisStore]


@pytest.fixture
def admin(own_redis: Any) -> Any:
    with redis.Redis.from_url(own_redis.url) as client:
        for name, rules in (("reader", reader_rules("prod", "graph")), ("writer", writer_rules("prod"))):
            client.execute_command("ACL", "SETUSER", name, "on", f">{PASSWORD}", *rules)
        yield client


def url_of(own_redis: Any, user: str) -> str:
    return str(own_redis.url.replace("redis://", f"redis://{user}:{PASSWORD}@"))


@pytest.fixture
def writer(own_redis: Any, admin: Any, make_store: Make) -> RedisStore:
    return make_store(url_of(own_redis, "writer"))


@pytest.fixture
def reader(own_redis: Any, admin: Any, make_store: Make) -> RedisStore:
    return make_store(url_of(own_redis, "reader"))


def said(service: str = "graph") -> Acknowledgement:
    return Acknowledgement(service, "host-1", "a" * 40, "0.1.0", "current")


def test_all_that_the_daemon_does(
    writer: RedisStore, world: ModuleType, signing: SigningKey, admin: Any
) -> None:
    """Under the writer's rules every method of the store works."""
    lease = writer.acquire_lease("daemon", 30)
    assert lease is not None
    assert writer.renew(lease, 30)
    world.publish(writer, lease, signing, 1)
    current = world.publish(writer, lease, signing, 2)
    blobs = world.build(2, lease.epoch, signing)[1]
    assert writer.inspect(current, blobs) == ()
    assert writer.sweep(blobs) == 0
    admin.set(KEYS.blob("0" * 64), "orphan")
    assert writer.sweep(blobs) == 1
    writer.append_log(world.entry(3))
    assert len(writer.log(10)) == 3
    writer.acknowledge(said(), 30)
    assert writer.acknowledgements() == [said()]
    assert writer.lease_holder() == "daemon"
    hints = writer.hints()
    assert hints.wait(5)
    hints.close()
    admin.delete(KEYS.log)
    admin.set(KEYS.log, "x")
    world.publish(writer, lease, signing, 3)
    writer.release(lease)
    writer.ping()


def test_all_that_a_client_does(
    reader: RedisStore, writer: RedisStore, world: ModuleType, signing: SigningKey
) -> None:
    """Under the reader's rules a client reads, is hinted, and acknowledges for its own service."""
    lease = writer.acquire_lease("daemon", 30)
    assert lease is not None
    hints = reader.hints()
    assert hints.wait(5)
    world.publish(writer, lease, signing, 1)
    assert hints.wait(5)
    assert world.Reader(reader, signing.verify_keys()).read() == 1
    reader.ping()
    reader.acknowledge(said(), 30)
    assert writer.acknowledgements() == [said()]
    reader.withdraw(said())
    hints.close()


def test_what_a_client_cannot_do(reader: RedisStore) -> None:
    """A client cannot speak for another service, publish, lead, or list who acknowledged."""
    for act in (
        lambda: reader.acknowledge(said("sync"), 30),
        lambda: reader.acknowledge(said("graph2"), 30),
        lambda: reader.acquire_lease("daemon", 30),
        lambda: reader.sweep([]),
        reader.acknowledgements,
        lambda: reader.log(1),
    ):
        with pytest.raises(StoreRefusedError):
            act()


@pytest.mark.parametrize("user", ["reader", "writer"])
@pytest.mark.parametrize(
    "command",
    [
        ("GET", "{kemudi:dev}:cur"),
        ("GET", "{kemudi:prod2}:cur"),
        ("GET", f"kemudi:dev:blob:{'0' * 64}"),
        ("GET", "somebody-elses"),
        ("SET", "somebody-elses", "1"),
        ("EVAL", "return 1", "0"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("MONITOR",),
        ("CONFIG", "GET", "*"),
        ("INFO",),
        ("CLIENT", "LIST"),
        ("ACL", "LIST"),
        ("SHUTDOWN", "NOSAVE"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("SUBSCRIBE", "{kemudi:dev}:ch"),
        ("PUBLISH", "{kemudi:dev}:ch", "x"),
    ],
    ids=lambda command: "-".join(command)[:30],
)
def test_denied_to_both(own_redis: Any, admin: Any, user: str, command: tuple[str, ...]) -> None:
    """Other environments, other people's keys, scripts and administration are out of reach."""
    with redis.Redis.from_url(url_of(own_redis, user)) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize(
    "command",
    [
        ("SET", KEYS.current, "x"),
        ("DEL", KEYS.current),
        ("SET", KEYS.blob("0" * 64), "x"),
        ("EXPIRE", KEYS.current, "1"),
        ("HSET", KEYS.current, "a", "b"),
        ("SCAN", "0"),
        ("PUBLISH", KEYS.channel, "x"),
        ("SET", KEYS.acknowledgement("sync", "i"), "x"),
        ("SET", KEYS.acknowledgement("graph", "i"), "x", "GET"),
        ("DEL", KEYS.acknowledgement("graph", "i")),
        ("MULTI",),
        ("XADD", KEYS.log, "*", "a", "b"),
    ],
    ids=lambda command: "-".join(command)[:30],
)
def test_denied_to_the_reader(own_redis: Any, admin: Any, command: tuple[str, ...]) -> None:
    """A reader writes nothing but its own acknowledgement, and not even that in a way that reads another."""
    with redis.Redis.from_url(url_of(own_redis, "reader")) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


def test_hostile_names(own_redis: Any, admin: Any) -> None:
    """A service or an environment whose name looks like a rule gains no right."""
    for env, service in (("prod", "* +@all"), ("prod) +@all (", "x"), ("*", "*"), ("prod", "graph:*")):
        rules = reader_rules(env, service)
        admin.execute_command("ACL", "SETUSER", "odd", "reset", "on", f">{PASSWORD}", *rules)
        with redis.Redis.from_url(url_of(own_redis, "odd")) as client:
            for command in (
                ("SET", "x", "y"),
                ("GET", "x"),
                ("CONFIG", "GET", "*"),
                ("SET", KEYS.acknowledgement("sync", "i"), "x"),
            ):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*command)
    with pytest.raises(UsageError):
        reader_rules("prod", "")
    with pytest.raises(UsageError):
        writer_rules("")
