"""URLs, and what their errors show."""

import pytest
from redis import exceptions

from kemudi.schema.errors import UsageError
from kemudi.store.connection import Connection, connect, shown, translated
from kemudi.store.errors import StoreFullError, StoreRefusedError, StoreUnavailableError
from kemudi.store.redis import RedisStore

PASSWORD = "s3cr3t-pa55"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        (f"redis://user:{PASSWORD}@localhost:6379/0", "redis://localhost:6379/0"),
        (f"rediss://:{PASSWORD}@host/0?ssl_ca_certs=ca.pem", "rediss://host/0"),
        (f"redis://:pa/ss{PASSWORD}@host:1/0", "redis://host:1/0"),
        (f"redis://:pa@ss{PASSWORD}@host:1/0", "redis://host:1/0"),
        (f"redis://:pa?ss{PASSWORD}@host:1/0", "redis://…"),
        (f"redis://:pa#ss{PASSWORD}@host:1/0", "redis://…"),
        (f"redis://host/0?password={PASSWORD}", "redis://host/0"),
        (f"redis://host/0?password=a@{PASSWORD}", "redis://…"),
        (f"unix:///run/redis.sock?password={PASSWORD}", "unix:///run/redis.sock"),
        (f"redis+sentinel://:{PASSWORD}@a:1,b:2/main/0", "redis+sentinel://a:1,b:2/main/0"),
        (f"{PASSWORD}", "an address without a scheme"),
        (f"{PASSWORD}://x", "an address without a scheme"),
    ],
)
def test_shown(url: str, expected: str) -> None:
    """A URL is shown without credentials, however badly they are written."""
    assert shown(url) == expected
    assert PASSWORD not in shown(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        f"http://:{PASSWORD}@host",
        "redis://",
        "redis+ring://host",
        f"redis://:{PASSWORD}@host:port/0",
        f"redis://:{PASSWORD}@host/zero",
        f"redis://:{PASSWORD}@host/0?no_such_option=1",
        f"redis://:{PASSWORD}@host/0?socket_timeout=soon",
        f"redis+sentinel://:{PASSWORD}@host:26379",
        f"redis+sentinel://:{PASSWORD}@host:26379/main/zero",
        f"redis+sentinel://:{PASSWORD}@host:26379/main/0/x",
        f"redis+sentinel://:{PASSWORD}@host:port/main",
        f"redis+cluster://:{PASSWORD}@host:port",
    ],
)
def test_malformed(url: str) -> None:
    """A malformed URL is a usage error that shows no password, nor does its context."""
    with pytest.raises(UsageError) as caught:
        connect(url)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__context__ is None


def test_every_form_is_made_without_a_server() -> None:
    """A store for any URL is made before its server is there, a cluster's as well."""
    for url in (
        "redis://localhost",
        "rediss://u:p@h:1/3",
        "unix:///x.sock",
        "redis+sentinel://[::1],127.0.0.1:2/main/1",
    ):
        connect(url).close()
    store = RedisStore("redis+cluster://127.0.0.1:1", "prod")
    with pytest.raises(StoreUnavailableError):
        store.ping()
    store.close()


def test_options_of_a_url_count() -> None:
    """TLS and timeouts of a URL reach the connection; what it does not name is bounded."""
    client = connect("rediss://u:p%40@h:1/3?socket_timeout=7&ssl_ca_certs=ca.pem")
    options = client.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["ssl_ca_certs"], options["db"]) == (7, "ca.pem", 3)
    assert options["password"] == "p@"
    assert options["socket_connect_timeout"] == 2.0
    client.close()
    sentinel = connect("rediss+sentinel://:p@[::1]:1,h/main/2")
    options = sentinel.connection_pool.connection_kwargs
    assert (options["db"], options["password"]) == (2, "p")
    assert sentinel.connection_pool.connection_class.__name__ == "SentinelManagedSSLConnection"
    hosts = sentinel.connection_pool.sentinel_manager.sentinels
    assert [item.connection_pool.connection_kwargs["port"] for item in hosts] == [1, 26379]
    sentinel.close()


def test_repr() -> None:
    """Neither a store nor its connection prints credentials."""
    url = f"rediss://user:{PASSWORD}@host:1/0"
    store = RedisStore(url, "prod")
    for text in (repr(store), repr(Connection(url))):
        assert PASSWORD not in text
        assert "host:1" in text
    store.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.ConnectionError(f"Error 111 connecting to {PASSWORD}"), StoreUnavailableError),
        (exceptions.TimeoutError("Timeout"), StoreUnavailableError),
        (exceptions.BusyLoadingError("loading"), StoreUnavailableError),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), StoreUnavailableError),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), StoreUnavailableError),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), StoreUnavailableError),
        (exceptions.ClusterDownError("CLUSTERDOWN"), StoreUnavailableError),
        (exceptions.SlotNotCoveredError("no slot"), StoreUnavailableError),
        (OSError("broken"), StoreUnavailableError),
        (exceptions.OutOfMemoryError("command not allowed"), StoreFullError),
        (
            exceptions.ResponseError("Command # 1 (SET x) of pipeline caused error: OOM command"),
            StoreFullError,
        ),
        (exceptions.AuthenticationError(f"invalid password {PASSWORD}"), StoreRefusedError),
        (exceptions.NoPermissionError("this user has no permissions"), StoreRefusedError),
        (exceptions.ResponseError("unknown command 'GET'"), StoreRefusedError),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), StoreRefusedError),
    ],
)
def test_translation(error: Exception, expected: type[Exception]) -> None:
    """Each failure says what to do next: retry, make room, or let a person look; and quotes nothing."""
    found = translated(error, "redis://host")
    assert type(found) is expected
    assert "redis://host" in str(found)
    assert PASSWORD not in f"{found} {found.hint}"
