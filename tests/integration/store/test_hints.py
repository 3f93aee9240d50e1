"""Hints over connections that break, freeze and come back."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from kemudi.store import redis_hints
from kemudi.store.keys import Keys
from kemudi.store.redis import RedisStore

Make = Callable[..., RedisStore]


@pytest.fixture
def hints(own_redis: Any, make_store: Make) -> Any:
    stream = make_store(own_redis.url).hints()
    assert stream.wait(5)
    yield stream
    stream.close()


def say(url: str) -> None:
    with redis.Redis.from_url(url) as hand:
        hand.publish(Keys("prod").channel, "0.1.0")


def test_restart(own_redis: Any, hints: Any) -> None:
    """After a restart the first wait that connects again is True: what was said meanwhile is unknown."""
    own_redis.stop()
    assert not hints.wait(0.3)
    assert not hints.connected
    own_redis.start()
    assert hints.wait(10)
    assert hints.connected
    say(own_redis.url)
    assert hints.wait(5)
    assert not hints.wait(0.05)


def test_quick_restart(own_redis: Any, hints: Any) -> None:
    """A server that is back before anybody looked is noticed as well."""
    own_redis.restart()
    assert hints.wait(5)


def test_killed_connection(own_redis: Any, hints: Any) -> None:
    """A connection that the server cuts is made again at once."""
    with redis.Redis.from_url(own_redis.url) as hand:
        hand.client_kill_filter(_type="pubsub")
    started = time.monotonic()
    assert hints.wait(5)
    assert time.monotonic() - started < 5


def test_frozen_server(own_redis: Any, hints: Any) -> None:
    """A server that is stopped with its connections open is found out within ten seconds, and its return as well."""
    own_redis.freeze()
    started = time.monotonic()
    while hints.connected:
        assert not hints.wait(0.5)
        assert time.monotonic() - started < 10
    own_redis.thaw()
    assert hints.wait(10)
    assert hints.connected


def test_idle_connection_lives(own_redis: Any, make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is broken by pings, which are no hints, and a connection that answers them stays."""
    monkeypatch.setattr(redis_hints, "PING_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(redis_hints, "DEAD_AFTER_SECONDS", 2.0)
    stream = make_store(own_redis.url).hints()
    assert stream.wait(5)
    assert not stream.wait(0.5)
    with redis.Redis.from_url(own_redis.url) as hand:
        (client,) = hand.client_list(_type="pubsub")
    assert client["cmd"] == "ping"
    assert int(client["age"]) <= 1
    stream.close()


def test_absent_server(make_store: Make) -> None:
    """With no server a wait lasts as long as it was asked to and is not busy; closing ends it at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    stream = make_store(url).hints()
    started, cpu = time.monotonic(), time.thread_time()
    assert not stream.wait(1.0)
    assert 0.9 < time.monotonic() - started < 10
    assert time.thread_time() - cpu < 0.2
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stream.wait, 60)
        started = time.monotonic()
        stream.close()
        assert waiting.result(5) is False
        assert time.monotonic() - started < 5


def test_idle_wait_is_not_busy(hints: Any) -> None:
    """A quiet second costs next to nothing."""
    cpu = time.thread_time()
    assert not hints.wait(1.0)
    assert time.thread_time() - cpu < 0.05


def test_speed(own_redis: Any, hints: Any) -> None:
    """From the message on, waking up costs less than a millisecond over a bare socket: median of 200."""
    with redis.Redis.from_url(own_redis.url) as hand:
        bare = hand.pubsub(ignore_subscribe_messages=True)
        bare.subscribe("floor")
        bare.get_message(timeout=1)
        floor = median(hand, "floor", lambda: bare.get_message(timeout=5))
        ours = median(hand, Keys("prod").channel, lambda: hints.wait(5))
        bare.close()
    print(f"floor {floor * 1e3:.3f} ms, hints {ours * 1e3:.3f} ms")
    assert ours < floor + 0.001


def median(hand: Any, channel: str, receive: Callable[[], Any]) -> float:
    """The time from PUBLISH to the return of `receive` in another thread."""
    times: list[float] = []
    ready, received = threading.Semaphore(0), threading.Semaphore(0)

    def listen() -> None:
        for _ in range(200):
            ready.release()
            receive()
            times.append(time.monotonic())
            received.release()

    thread = threading.Thread(target=listen)
    thread.start()
    sent: list[float] = []
    for _ in range(200):
        ready.acquire()
        time.sleep(0.001)  # let the listener begin to wait
        sent.append(time.monotonic())
        hand.publish(channel, "0.1.0")
        received.acquire()
    thread.join()
    return sorted(got - told for got, told in zip(times, sent, strict=True))[100]


def test_descriptors(own_redis: Any, make_store: Make) -> None:
    """Streams give back every descriptor, also when they never connected."""

    store = make_store(own_redis.url)
    store.ping()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for connect in (True, False):
        stream = store.hints()
        if connect:
            assert stream.wait(5)
        stream.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
