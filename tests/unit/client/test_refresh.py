"""The thread that keeps a client current, with a store in memory and faults of our own."""

import logging

import pytest

from kemudi.client.client import Client
from kemudi.client.disk import DiskCopy
from kemudi.client.loader import SnapshotLoader
from kemudi.client.refresh import Pace, Refresher
from kemudi.client.secrets import SecretReader
from kemudi.client.serving import Serving
from kemudi.client.snapshot import Snapshot
from kemudi.schema.errors import UsageError
from kemudi.schema.generation import Generation
from kemudi.store.errors import StoreRefusedError
from kemudi.store.keyfiles import KeyFile
from kemudi.store.manifest import Manifest
from kemudi.store.memory import MemoryServer, MemoryStore
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category

KEY = SigningKey.generate()
FAST = Pace(poll_least=0.05, poll_most=0.1, again=0.02, ask_again=0.1, copy_after=0.0)


class Faulty(MemoryStore):
    """A store whose next calls fail as told."""

    def __init__(self, server):
        super().__init__("dev", server)
        self.faults = {}

    def current(self):
        self._fail("current")
        return super().current()

    def acknowledge(self, acknowledgement, ttl_seconds):
        self._fail("acknowledge")
        super().acknowledge(acknowledgement, ttl_seconds)

    def _fail(self, name):
        if name in self.faults:
            raise self.faults[name]


class World:
    def __init__(self, folder):
        self.server = MemoryServer()
        self.store = Faulty(self.server)
        self.folder = folder
        self.depth = 0
        serving = Serving(Snapshot.of_defaults("dev", {}), SecretReader(KeyFile.fixed(None)), threaded=True)
        loader = SnapshotLoader("dev", KeyFile.fixed(KEY.verify_keys()), categories=None, declared={})
        self.copy = DiskCopy(folder / "a.copy")
        self.refresher = Refresher(
            lambda: self.store, loader, serving, service="tester", copy=self.copy, pace=FAST
        )
        self.client = Client(serving, self.refresher)

    def publish(self, value):
        self.depth += 1
        (blob,) = encode_category(Category("sync", {"A": value}, {}, {}, frozenset()), None)
        self.server.overwrite_blob("dev", digest_of(blob), blob)
        manifest = Manifest(
            repo_id="repo",
            env="dev",
            generation=Generation(0, self.depth, 0),
            epoch=1,
            revision=f"{self.depth:040x}",
            author="",
            committed_at="",
            applied_at="",
            categories={"sync": (digest_of(blob),)},
            settings=1,
        )
        self.server.overwrite_current("dev", manifest.sign(KEY))


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "state")
    made.publish(1)
    made.refresher.start()
    assert made.refresher.loaded.wait(10)
    yield made
    made.client.close()


def test_a_fault_of_our_own_does_not_end_the_thread(world, wait_until, caplog):
    """An error that nobody foresaw is logged, reads go on, and so does the thread."""
    with caplog.at_level(logging.ERROR, "kemudi.client"):
        world.store.faults["current"] = ValueError("not foreseen")
        wait_until(lambda: "not foreseen" in caplog.text)
    assert world.client["A"] == 1
    world.store.faults.clear()
    world.publish(2)
    wait_until(lambda: world.client["A"] == 2)


def test_rights_that_are_lost_are_an_outage(world, wait_until):
    """A store that starts to refuse is named in `health`, and followed again when it stops."""
    world.store.faults["current"] = StoreRefusedError("the store refuses the command (NOPERM)")
    wait_until(lambda: "NOPERM" in world.client.health().problem)
    assert not world.client.health().connected
    assert world.client["A"] == 1
    world.store.faults.clear()
    wait_until(lambda: world.client.health().connected)
    assert world.client.health().problem == ""


def test_an_acknowledgement_that_fails_never_matters(world, wait_until):
    """With every acknowledgement refused, snapshots are served all the same."""
    world.store.faults["acknowledge"] = StoreRefusedError("the store refuses the command (NOPERM)")
    world.publish(2)
    wait_until(lambda: world.client["A"] == 2)
    assert world.client.health().connected


def test_a_copy_that_cannot_be_written_never_matters(world, wait_until, caplog):
    """A folder that is no folder costs a line in the log for each copy, and nothing else."""
    wait_until(world.copy.path.exists)
    with caplog.at_level(logging.WARNING, "kemudi.client"):
        world.copy.path = world.copy.path / "below-a-file"
        world.publish(2)
        wait_until(lambda: "no disk copy" in caplog.text)
    assert world.client["A"] == 2


def test_nothing_is_logged_twice_while_it_lasts(world, wait_until, caplog):
    """An outage, and a manifest that cannot be trusted, are one line each, however often they are met."""
    with caplog.at_level(logging.WARNING, "kemudi.client"):
        world.server.overwrite_current("dev", b"nonsense")
        wait_until(lambda: world.client.health().refused.get("format"))
        looks = []
        original, world.store.current = world.store.current, lambda: looks.append(1) or original()
        wait_until(lambda: len(looks) > 5)
        world.server.set_available(False)
        wait_until(lambda: not world.client.health().connected)
        looks.clear()
        wait_until(lambda: len(looks) > 5)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert world.client.health().refused == {"format": 1}


def test_reads_work_after_close(world):
    """A closed client serves what it read last, and asks the store no more."""
    world.client.close()
    world.publish(2)
    assert world.client["A"] == 1
    assert world.client.get("A") == 1


def test_a_check_has_a_sensible_time_limit(world):
    """A limit that would let the acknowledgement lapse is refused."""
    for timeout in (0, -1, 21, float("nan")):
        with pytest.raises(UsageError, match="time limit"):
            world.client.prepare("sync", lambda _values: True, timeout=timeout)


def test_a_check_that_can_never_be_asked_is_mentioned(world, caplog):
    """A selector that fits nothing at present is probably misspelt, and is logged."""
    with caplog.at_level(logging.WARNING, "kemudi.client"):
        world.client.prepare("synk", lambda _values: True)
        world.client.prepare("sync", lambda _values: True)
        world.client.prepare("A*", lambda _values: True)
    assert [record.getMessage() for record in caplog.records] == [
        "prepare('synk') selects no category and no setting of the present snapshot"
    ]
