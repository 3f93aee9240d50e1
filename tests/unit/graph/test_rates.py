"""So many requests a minute and client, counted for all processes in Redis, without scripts."""

import time

import redis as redis_py

from kemudi.graph.rates import RateLimiter, RedisWindows


def test_a_client_waits_when_it_has_used_its_minute_up_and_others_do_not() -> None:
    """The answer says how long."""
    limiter = RateLimiter()
    assert [limiter.wait("a", 3) is None for _ in range(4)] == [True, True, True, False]
    seconds = limiter.wait("a", 3)
    assert seconds is not None
    assert 1 <= seconds <= 60
    assert limiter.wait("b", 3) is None
    limiter.close()


def test_a_changed_limit_holds_for_the_next_request() -> None:
    """Raised, a client that waited goes on."""
    limiter = RateLimiter()
    assert [limiter.wait("a", 1) is None for _ in range(2)] == [True, False]
    assert limiter.wait("a", 5) is None
    limiter.close()


def test_a_lowered_limit_counts_what_was_asked_in_this_minute() -> None:
    """Nobody gets a fresh minute by a change of the setting."""
    limiter = RateLimiter()
    assert [limiter.wait("a", 10) is None for _ in range(4)] == [True] * 4
    assert limiter.wait("a", 3) is not None
    limiter.close()


def test_the_storage_keeps_the_contract_of_limits(own_redis) -> None:
    """Counting, looking, clearing one and resetting all of its own and nothing else."""
    with redis_py.Redis.from_url(own_redis.url) as client:
        windows, other = RedisWindows(client, "dev"), RedisWindows(client, "prod")
        assert windows.check()
        assert [windows.incr("a", 60), windows.incr("a", 60, 2), windows.incr("b", 60)] == [1, 3, 1]
        other.incr("a", 60)
        client.set("kemudi-graph:dev:cache:x", 1)
        assert (windows.get("a"), windows.get("none")) == (3, 0)
        assert 0 < windows.get_expiry("a") - time.time() <= 60
        windows.clear("a")
        assert (windows.get("a"), windows.get("b")) == (0, 1)
        windows.incr("c", 60)
        assert windows.reset() == 2
        assert (windows.get("b"), windows.get("c"), other.get("a")) == (0, 0, 1)
        assert client.get("kemudi-graph:dev:cache:x") == b"1"
        assert windows.reset() == 0


def test_processes_count_together_in_redis(own_redis) -> None:
    """Under the service's own prefix, with an end, and where scripts are denied."""
    with redis_py.Redis.from_url(own_redis.url) as admin:
        admin.execute_command(
            "ACL",
            "SETUSER",
            "graph",
            "on",
            ">secret",
            "~kemudi-graph:*",
            "+@all",
            "-@scripting",
            "-@dangerous",
        )
    url = own_redis.url.replace("redis://", "redis://graph:secret@")
    first, second = RateLimiter.connect(url, "dev"), RateLimiter.connect(url, "dev")
    assert [each.wait("a", 3) is None for each in (first, second, first, second)] == [True, True, True, False]
    with redis_py.Redis.from_url(own_redis.url) as client:
        (key,) = client.keys()
        assert key.startswith(b"kemudi-graph:dev:rate:")
        assert 0 < client.ttl(key) <= 60
    first.close()
    second.close()


def test_without_redis_this_process_counts_by_itself(own_redis) -> None:
    """An outage neither refuses nor lets everything through."""
    limiter = RateLimiter.connect(own_redis.url, "dev")
    assert limiter.wait("a", 2) is None
    own_redis.stop()
    assert [limiter.wait("a", 2) is None for _ in range(3)] == [True, True, False]
    limiter.close()
