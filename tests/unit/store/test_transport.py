"""Beyond this machine nobody may listen in: which URLs a store takes."""

from types import SimpleNamespace

import pytest

from kemudi.schema.errors import UsageError
from kemudi.store.connection import _greet_in_private, _PlaintextError, connect, translated
from kemudi.store.errors import StoreRefusedError
from kemudi.store.redis import RedisStore

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}@10.0.0.1:6379/0",
        "redis://redis",
        "redis://127.0.0.1.example.org",
        "redis://localhost.example.org:6379",
        "redis://0.0.0.0",
        "redis://[2001:db8::1]:6379/0",
        "redis://?host=10.0.0.1",
        "redis://localhost?host=10.0.0.1",
        "redis+sentinel://localhost,sentinel.example.org/main",
        "redis+cluster://127.0.0.1:7000,10.0.0.1:7000",
        f"rediss://:{PASSWORD}@redis.example.org/0?ssl_cert_reqs=none",
        "rediss://redis.example.org/0?ssl_cert_reqs=optional",
        "rediss://redis.example.org/0?ssl_check_hostname=False",
        "rediss+sentinel://sentinel.example.org/main?ssl_check_hostname=no",
        "redis://redis?plaintext=yes",
        "redis://redis?plaintext",
    ],
)
def test_refused(url: str) -> None:
    """Plaintext, or TLS that lets anybody stand in for the server, is a usage error before anything is sent."""
    with pytest.raises(UsageError) as caught:
        RedisStore(url, "prod")
    assert PASSWORD not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://127.8.8.8/0",
        "redis://:p@[::1]:6379",
        "redis://LOCALHOST",
        "unix:///run/redis.sock",
        "rediss://redis.example.org/0?ssl_ca_certs=ca.pem",
        "rediss://localhost?ssl_cert_reqs=none",
        "redis://redis:6379/2?plaintext=allowed",
        "redis+sentinel://sentinel:26379/main?plaintext=allowed",
        "rediss://redis.example.org?ssl_check_hostname=False&plaintext=allowed",
    ],
)
def test_taken(url: str) -> None:
    """This machine, verified TLS, or a URL that says in so many words that the network is trusted."""
    RedisStore(url, "prod").close()


def test_the_option_is_ours_alone() -> None:
    """What the URL says of trust does not reach redis-py, and the rest of it does."""
    client = connect("redis://redis:6379/2?plaintext=allowed&socket_timeout=7")
    options = client.connection_pool.connection_kwargs
    assert (options["host"], options["db"], options["socket_timeout"]) == ("redis", 2, 7)
    assert "plaintext" not in options
    client.close()


def test_a_node_that_was_named_on_the_way() -> None:
    """Sentinel on this machine names a master on another one: nothing is sent there in the clear, not even a login."""
    with pytest.raises(_PlaintextError) as caught:
        _greet_in_private(SimpleNamespace(host="10.0.0.1"))
    told = translated(caught.value, "redis://localhost")
    assert isinstance(told, StoreRefusedError)
    assert "plaintext=allowed" in (told.hint or "")
