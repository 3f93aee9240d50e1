"""Random histories of commits, saves, crashes, floods and hands: the promises of design §4 hold after every step."""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kemudi.daemon import environment, served
from kemudi.daemon.logs import make_log
from kemudi.daemon.service import Daemon, Keys, holder_name
from kemudi.daemon.steps import STEPS
from kemudi.daemon.trigger import Cause, Hints
from kemudi.repo import local
from kemudi.schema.generation import Generation
from kemudi.store import redis_lease, redis_publish

POINTS = (
    *(f"daemon.{name}" for name, _ in STEPS),
    "daemon.announce",
    "daemon.announced",
    "daemon.repair",
    "repo.local-object",
    "repo.local-ref",
    *redis_lease.FAILPOINTS,
    *redis_publish.FAILPOINTS,
)
MODULES = (environment, served, local, redis_lease, redis_publish)
ALL = Hints(frozenset({Cause.START, Cause.DRIFT}))


class Died(BaseException):
    """Stands for kill -9: nothing of the daemon runs after it."""


class World:
    """A repository, a Redis, one daemon that dies and is started anew, and a client that remembers."""

    def __init__(self, repo: Any, settings: Any, reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repo = repo
        self.settings = settings
        self.reader = reader
        self.armed: tuple[str, int] | None = None
        self.number = 1
        self.good = ""
        self.clean = True
        self.highest: Generation | None = None
        self.seen: dict[Generation, int] = {}
        self.daemon: Daemon | None = None
        for module in MODULES:
            monkeypatch.setattr(module, "failpoint", self.failpoint)

    def failpoint(self, name: str) -> None:
        if self.armed is not None and self.armed[0] == name:
            self.armed = (name, self.armed[1] - 1)
            if self.armed[1] == 0:
                raise Died

    def start(self) -> None:
        keys, log = Keys.load(self.settings), make_log(io.StringIO())
        self.daemon = Daemon(self.settings, keys, log, holder_name(), watch=False)

    def die(self) -> None:
        """Close what the kernel would close; give nothing back."""
        if self.daemon is not None:
            for each in self.daemon.reconciler.environments:
                each.bench.store.close()
            self.daemon.source.close()
            self.daemon = None

    def turn(self) -> None:
        """One pass, which may be the last of this daemon; then what a client sees."""
        if self.daemon is None:
            self.start()
        assert self.daemon is not None
        try:
            self.daemon.reconciler.source.begin(ALL)
            self.daemon.reconciler._pass(ALL)
        except Died:
            self.die()
            self.armed = None
        self.look()

    def look(self) -> None:
        """A client takes what is signed, whole and not older than what it has."""
        manifest = self.reader.manifest()
        if manifest is None:
            return
        assert self.highest is None or manifest.generation >= self.highest, "went back"
        try:
            values = self.reader.values()
        except Exception:
            if self.clean:
                raise
            return
        self.highest = manifest.generation
        assert values["SYNC_BATCH_SIZE"] == values["GRAPH_LIMIT"], "a mixture"
        number = values["SYNC_BATCH_SIZE"]
        assert self.seen.setdefault(manifest.generation, number) == number, "one generation, two contents"

    def commit(self) -> None:
        self.number += 1
        self.repo.commit(_pair(self.number))

    def bad(self) -> None:
        self.repo.commit(_pair(self.number) | {"base/sync.yaml": "SYNC_BATCH_SIZE: bad\n"})

    def empty(self) -> None:
        self.repo.commit({"README.md": f"{self.number}\n"})

    def flush(self) -> None:
        self.clean = False
        with redis.Redis.from_url(self.settings.redis_url) as server:
            server.flushall()

    def alter(self) -> None:
        """A hand takes a blob away."""
        self.clean = False
        with redis.Redis.from_url(self.settings.redis_url) as server:
            keys = sorted(server.scan_iter("kemudi:dev:blob:*"))
            if keys:
                server.delete(keys[0])

    def forget(self) -> None:
        """The daemon starts on another machine: its folder is gone."""
        self.die()
        shutil.rmtree(self.settings.state_dir, ignore_errors=True)

    def is_settled(self) -> bool:
        manifest = self.reader.manifest()
        return manifest is not None and manifest.revision == self.repo.head

    def settle(self) -> None:
        """Nothing dies any more, and the branch ends on a good commit."""
        self.armed = None
        self.commit()
        deadline = time.monotonic() + 10
        # A daemon that died between taking a lease and noting it down leaves it to run out.
        while time.monotonic() < deadline and not self.is_settled():
            self.turn()
        self.clean = True
        self.turn()
        assert self.reader.manifest().revision == self.repo.head
        assert self.reader.values()["SYNC_BATCH_SIZE"] == self.number


def _pair(number: int) -> dict[str, str]:
    return {"base/sync.yaml": f"SYNC_BATCH_SIZE: {number}\n", "base/graph.yaml": f"GRAPH_LIMIT: {number}\n"}


@pytest.fixture
def world(
    repo: Any, settings: Any, reader: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], World]]:
    """Makes worlds, one after another, in the same places."""
    made: list[World] = []
    repo.commit(kit.files() | _pair(1))
    first = repo.head
    quick = replace(settings, drift_seconds=0.001, lease_ttl=0.5)

    def make() -> World:
        for old in made:
            old.die()
        shutil.rmtree(settings.state_dir, ignore_errors=True)
        repo.git("reset", "-q", "--hard", first)
        with redis.Redis.from_url(settings.redis_url) as server:
            server.flushall()
        made.append(World(repo, quick, reader, monkeypatch))
        return made[-1]

    yield make
    for old in made:
        old.die()


STEP = st.one_of(
    st.sampled_from(["commit", "bad", "empty", "flush", "alter", "turn", "die"]),
    st.tuples(st.sampled_from(POINTS), st.integers(1, 2)),
)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEP, min_size=3, max_size=14))
def test_whatever_happens_readers_go_forward_and_the_last_commit_goes_live(
    world: Callable[[], World], steps: list[Any]
) -> None:
    """Old or new, never a mixture, never back, one content for a generation, and convergence at the end."""
    here = world()
    for step in steps:
        if isinstance(step, tuple):
            here.armed = step
            here.commit()
        else:
            getattr(here, step)()
        here.turn()
    here.settle()


def test_a_daemon_on_another_machine_goes_on_from_what_redis_says(world: Callable[[], World]) -> None:
    """Without its folder a daemon learns era, serial and epoch from the verified manifest."""
    here = world()
    here.commit()
    here.turn()
    before = here.highest
    here.forget()
    here.commit()
    while not here.is_settled():
        here.turn()
    assert here.highest is not None
    assert before is not None
    assert here.highest > before
