"""Two leaders and a reader in every order that Hypothesis thinks of, on a real Redis.

Each leader runs in a thread that waits at each failpoint of the real code until the drawn schedule lets it go on, so
one leader's step may fall between any two of the other's.
"""

import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kemudi.schema.errors import ConflictError
from kemudi.store import redis_lease, redis_publish
from kemudi.store.keys import Keys
from kemudi.store.redis import FAILPOINTS, RedisStore
from kemudi.store.signing import SigningKey

POINTS = len(FAILPOINTS)
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, POINTS + 2))
    | st.tuples(st.sampled_from(["commit", "lease-expires", "staging-expires", "sweep"]), st.just(1)),
    min_size=8,
    max_size=30,
)


class Leader:
    """A daemon in a thread. It makes one step, up to the next failpoint, each time it is told to."""

    def __init__(self, name: str, url: str, scene: "Scene") -> None:
        self.name = name
        self.store = RedisStore(url, "prod")
        self.scene = scene
        self.go = threading.Semaphore(0)
        self.done = threading.Semaphore(0)
        self.ending = False
        self.lease: Any = None
        self.thread = threading.Thread(target=self.run, name=name)
        self.thread.start()

    def step(self) -> None:
        self.go.release()
        assert self.done.acquire(timeout=10), "a leader hangs"

    def pause(self) -> None:
        if not self.ending:
            self.done.release()
            self.go.acquire()

    def run(self) -> None:
        self.go.acquire()
        while not self.ending:
            try:
                self.reconcile()
            except ConflictError:
                self.lease = None
            self.pause()

    def reconcile(self) -> None:
        """What a daemon does: lead, compare with git's head, publish what is newer."""
        if self.lease is None:
            self.lease = self.store.acquire_lease(self.name, 30)
        head = self.scene.head
        current = self.store.current()
        if self.lease is None or self.scene.world.number_of(current, self.scene.keys) >= head:
            return
        signed, blobs = self.scene.world.build(head, self.lease.epoch, self.scene.signing)
        self.store.stage(blobs)
        self.store.publish(self.lease, signed, blobs, self.scene.world.entry(head), current)

    def end(self) -> None:
        self.ending = True
        self.go.release()
        self.thread.join(10)
        self.store.close()


class Scene:
    """The server, git's head, two leaders and a reader."""

    def __init__(self, url: str, world: ModuleType, signing: SigningKey) -> None:
        self.world = world
        self.signing = signing
        self.keys = signing.verify_keys()
        self.head = 1
        self.hand = redis.Redis.from_url(url)
        self.hand.flushall()
        self.leaders = {name: Leader(name, url, self) for name in "ab"}
        self.store = RedisStore(url, "prod")
        self.reader = world.Reader(self.store, self.keys)

    def play(self, step: str) -> None:
        names = Keys("prod")
        if step in self.leaders:
            self.leaders[step].step()
        elif step == "commit":
            self.head += 1
        elif step == "lease-expires":
            self.hand.delete(names.lease)
        elif step == "staging-expires":
            staged = [key for key in self.hand.scan_iter(f"{names.blobs}*") if self.hand.ttl(key) >= 0]
            if staged:
                self.hand.delete(*staged)
        elif step == "sweep":
            self.store.sweep([])
        self.reader.read()

    def settle(self) -> None:
        """Leave one leader alone, and it brings the reader to the head."""
        self.hand.delete(Keys("prod").lease)
        survivor = self.leaders["a"]
        for _ in range(60):
            survivor.step()
        signed, blobs = self.world.build(self.head, 1, self.signing)
        current = self.store.current()
        assert self.world.number_of(current, self.keys) == self.head
        if self.store.inspect(current or signed, blobs):
            self.store.stage(blobs)
        assert self.reader.read() == self.head

    def close(self) -> None:
        for leader in self.leaders.values():
            leader.end()
        self.store.close()
        self.hand.close()


@pytest.fixture
def stepwise(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Leader]]:
    """Let the failpoints of a leader's thread be the points where it waits."""
    leaders: dict[str, Leader] = {}

    def wait(_point: str) -> None:
        leader = leaders.get(threading.current_thread().name)
        if leader is not None:
            leader.pause()

    monkeypatch.setattr(redis_publish, "failpoint", wait)
    monkeypatch.setattr(redis_lease, "failpoint", wait)
    yield leaders
    leaders.clear()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_interleavings(
    steps: list[tuple[str, int]],
    redis_url: str,
    world: ModuleType,
    signing: SigningKey,
    stepwise: dict[str, Leader],
) -> None:
    """No order of steps shows a reader a mixture or a step back, and in the end the head is served."""
    scene = Scene(redis_url, world, signing)
    stepwise.update(scene.leaders)
    try:
        for step, times in steps:
            for _ in range(times):
                scene.play(step)
        scene.settle()
    finally:
        scene.close()
        stepwise.clear()
    assert scene.reader.history == sorted(scene.reader.history)


@pytest.mark.parametrize("published", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("first", range(1, POINTS + 1))
def test_overtaken_at_every_step(
    first: int,
    published: bool,
    redis_url: str,
    world: ModuleType,
    signing: SigningKey,
    stepwise: dict[str, Leader],
) -> None:
    """A leader that sleeps after any of its steps while another leads up to any of its own takes nothing back."""
    for second in range(1, POINTS + 3):
        scene = Scene(redis_url, world, signing)
        stepwise.update(scene.leaders)
        steps = ["a"] * (POINTS + 1) + ["commit"] if published else []
        steps += ["a"] * first + ["lease-expires", "commit"] + ["b"] * second
        steps += ["a"] * (POINTS + 2) + ["b"] * (POINTS + 2)
        try:
            for step in steps:
                scene.play(step)
            scene.settle()
        finally:
            scene.close()
            stepwise.clear()
