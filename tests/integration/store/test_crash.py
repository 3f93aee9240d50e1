"""The leader dies, or sleeps, at every step: readers see the old snapshot or the new one."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import redis

from kemudi.store import redis_lease
from kemudi.store.errors import FencedError
from kemudi.store.keys import Keys
from kemudi.store.redis import FAILPOINTS, RedisStore
from kemudi.store.signing import SigningKey

Spawn = Callable[..., subprocess.Popen[str]]
Make = Callable[..., RedisStore]


@pytest.fixture
def watcher(world: ModuleType, redis_url: str, signing: SigningKey, make_store: Make) -> Any:
    """A reader that reads all the time in a thread of its own; `.stop()` gives its history."""

    class Watcher:
        def __init__(self) -> None:
            self.reader = world.Reader(make_store(redis_url), signing.verify_keys())
            self.ending = threading.Event()

        def run(self) -> None:
            while not self.ending.is_set():
                self.reader.read()

        def stop(self) -> list[int]:
            self.ending.set()
            running.result(10)
            self.reader.read()
            return self.reader.history

    made = Watcher()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(made.run)
        yield made
        made.ending.set()


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_at_every_step(
    failpoint: str,
    redis_url: str,
    world: ModuleType,
    spawn: Spawn,
    signing: SigningKey,
    make_store: Make,
    watcher: Any,
    eventually: Callable[..., None],
) -> None:
    """Killed at any step of its second publish: never a mixture, and the next leader publishes and cleans up."""
    hit = 1 if failpoint in redis_lease.FAILPOINTS else 2
    victim = spawn(redis_url, 5, f"{failpoint}:kill@{hit}")
    victim.communicate(timeout=30)
    assert victim.returncode == -signal.SIGKILL
    store = make_store(redis_url)
    before = world.number_of(store.current(), signing.verify_keys())
    assert before in ((0,) if hit == 1 else (1, 2))
    eventually(lambda: store.lease_holder() is None)
    heir = spawn(redis_url, 1)
    output, errors = heir.communicate(timeout=30)
    assert heir.returncode == 0, errors
    assert f"published {before + 1}" in output
    history = watcher.stop()
    assert history[-1] == before + 1
    assert history == sorted(history)
    assert_only_current_stays(redis_url, world, store, signing)


def assert_only_current_stays(url: str, world: ModuleType, store: RedisStore, signing: SigningKey) -> None:
    """Every blob that the current manifest needs is there for good, and every other one expires."""
    current = store.current()
    assert current is not None
    number = world.number_of(current, signing.verify_keys())
    wanted = set(world.build(number, 1, signing)[1])
    keys = Keys(world.ENV)
    with redis.Redis.from_url(url) as hand:
        held = {keys.digest(key.decode()): hand.ttl(key) for key in hand.scan_iter(f"{keys.blobs}*")}
    assert {digest for digest, ttl in held.items() if ttl == -1} == wanted
    assert store.inspect(current, wanted) == ()


@pytest.mark.parametrize("failpoint", ["store.before-swap", "store.after-persist", "store.after-stage"])
def test_leader_that_slept(
    failpoint: str,
    redis_url: str,
    world: ModuleType,
    spawn: Spawn,
    signing: SigningKey,
    make_store: Make,
    watcher: Any,
    eventually: Callable[..., None],
) -> None:
    """A leader stopped in mid-publish past its lease, while another led, is fenced when it goes on."""
    sleeper = spawn(redis_url, 5, f"{failpoint}:stop@2")
    os.waitpid(sleeper.pid, os.WUNTRACED)
    store = make_store(redis_url)
    eventually(lambda: store.lease_holder() is None)
    lease = store.acquire_lease("rival", 30)
    assert lease is not None
    current = world.publish(store, lease, signing, 7)
    sleeper.send_signal(signal.SIGCONT)
    _, errors = sleeper.communicate(timeout=30)
    assert sleeper.returncode == 1
    assert FencedError.__name__ in errors
    assert store.current() == current
    assert watcher.stop()[-1] == 7
    assert store.inspect(current, world.build(7, 1, signing)[1]) == ()


def test_leader_that_slept_until_its_staging_expired(
    redis_url: str, world: ModuleType, spawn: Spawn, signing: SigningKey, make_store: Make
) -> None:
    """With no rival there is no fence: the missing blobs stop it, and the pointer stays where it was."""
    sleeper = spawn(redis_url, 5, "store.before-persist:stop@2")
    os.waitpid(sleeper.pid, os.WUNTRACED)
    store = make_store(redis_url)
    before = store.current()
    keys = Keys(world.ENV)
    with redis.Redis.from_url(redis_url) as hand:
        staged = [key for key in hand.scan_iter(f"{keys.blobs}*") if hand.ttl(key) > 0]
        assert len(staged) == 3
        hand.delete(*staged)
    sleeper.send_signal(signal.SIGCONT)
    _, errors = sleeper.communicate(timeout=30)
    assert "StagingLostError" in errors
    assert store.current() == before
