"""What every store does: each test runs on the store in memory and on a real Redis."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pytest
import redis

from kemudi.schema.errors import UsageError
from kemudi.schema.generation import Generation
from kemudi.schema.secret import Secret
from kemudi.store.base import LOG_ENTRIES, SnapshotWriter
from kemudi.store.errors import FencedError, StagingLostError, StaleError
from kemudi.store.keys import Keys
from kemudi.store.manifest import Manifest
from kemudi.store.memory import MemoryServer, MemoryStore
from kemudi.store.redis import RedisStore
from kemudi.store.sealing import KeysetBundle, Sealer
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category, load_category, open_secrets
from kemudi.store.values import Acknowledgement, DriftItem, Lease, LogEntry

SIGNING = SigningKey.generate()
REPO = "5e0b6f9e-5a38-4a1c-9d7c-b3a3f5f0c001"


class Backend(Protocol):
    """A server, and what a hand can do to it behind the store's back."""

    def store(self, env: str = "prod") -> SnapshotWriter: ...
    def overwrite_current(self, data: bytes | None) -> None: ...
    def overwrite_blob(self, digest: str, data: bytes | None) -> None: ...
    def expire_blob(self, digest: str) -> None: ...
    def drop_log(self) -> None: ...
    def flush(self) -> None: ...


class MemoryBackend:
    def __init__(self) -> None:
        self.server = MemoryServer()

    def store(self, env: str = "prod") -> SnapshotWriter:
        return MemoryStore(env, self.server)

    def overwrite_current(self, data: bytes | None) -> None:
        self.server.overwrite_current("prod", data)

    def overwrite_blob(self, digest: str, data: bytes | None) -> None:
        self.server.overwrite_blob("prod", digest, data)

    def expire_blob(self, digest: str) -> None:
        self.server.expire_blob("prod", digest)

    def drop_log(self) -> None:
        self.server.drop_log("prod")

    def flush(self) -> None:
        self.server.flush()

    def close(self) -> None: ...


class RedisBackend:
    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = Keys("prod")
        self.hand = redis.Redis.from_url(url)
        self.stores: list[RedisStore] = []

    def store(self, env: str = "prod") -> SnapshotWriter:
        self.stores.append(RedisStore(self.url, env))
        return self.stores[-1]

    def _write(self, key: str, data: bytes | None) -> None:
        if data is None:
            self.hand.delete(key)
        else:
            self.hand.set(key, data)

    def overwrite_current(self, data: bytes | None) -> None:
        self._write(self.keys.current, data)

    def overwrite_blob(self, digest: str, data: bytes | None) -> None:
        self._write(self.keys.blob(digest), data)

    def expire_blob(self, digest: str) -> None:
        self.hand.expire(self.keys.blob(digest), 600)

    def drop_log(self) -> None:
        self.hand.delete(self.keys.log)

    def flush(self) -> None:
        self.hand.flushall()

    def close(self) -> None:
        for store in self.stores:
            store.close()
        self.hand.close()


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Iterator[MemoryBackend | RedisBackend]:
    made = (
        MemoryBackend() if request.param == "memory" else RedisBackend(request.getfixturevalue("redis_url"))
    )
    yield made
    made.close()


@dataclass
class Publisher:
    """A small daemon: it builds, stages and publishes snapshots of one category."""

    store: SnapshotWriter
    sealer: Sealer = field(
        default_factory=lambda: Sealer(KeysetBundle.generate(["sync"]), repo_id=REPO, env="prod")
    )
    depth: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    signed: bytes | None = None

    def lead(self, ttl_seconds: float = 30.0) -> Lease:
        lease = self.store.acquire_lease("daemon-1", ttl_seconds)
        assert lease is not None
        return lease

    def build(self, lease: Lease, **values: Any) -> tuple[bytes, dict[str, bytes]]:
        self.depth += 1
        secrets = {"TOKEN": ("string", Secret("tr0ub4dor"))}
        category = Category("sync", values, {"SYNC_PAUSED": False}, secrets, frozenset())
        encoded = encode_category(category, self.sealer, tuple(self.blobs.values()))
        blobs = {digest_of(blob): blob for blob in encoded}
        manifest = Manifest(
            repo_id=REPO,
            env=self.store.env,
            generation=Generation(0, self.depth, 0),
            epoch=lease.epoch,
            revision=f"{self.depth:040x}",
            author="Ada Lovelace",
            committed_at="2026-01-01T00:00:00Z",
            applied_at="2026-01-01T00:00:01Z",
            categories={"sync": tuple(blobs)},
            settings=len(values) + 2,
        )
        return manifest.sign(SIGNING), blobs

    def entry(self) -> LogEntry:
        generation = str(Generation(0, self.depth, 0))
        return LogEntry(
            "applied", f"{self.depth:040x}", generation, "2026-01-01T00:00:01Z", changed=("sync",)
        )

    def apply(self, lease: Lease, **values: Any) -> bytes:
        signed, blobs = self.build(lease, **values)
        self.store.stage(blobs)
        self.store.publish(lease, signed, blobs, self.entry(), self.signed)
        self.signed, self.blobs = signed, blobs
        return signed


@pytest.fixture
def store(backend: Backend) -> SnapshotWriter:
    return backend.store()


@pytest.fixture
def publisher(store: SnapshotWriter) -> Publisher:
    return Publisher(store)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def acknowledgement(service: str = "graph", instance: str = "host-1") -> Acknowledgement:
    return Acknowledgement(
        service, instance, "a" * 40, "0.1.0", "refused", "no route", ("NEO4J_URI",), ("SYNC_PAUSED",), "now"
    )


class TestSnapshots:
    def test_empty(self, store: SnapshotWriter) -> None:
        """An empty store answers, and holds nothing."""
        store.ping()
        assert store.current() is None
        assert store.blobs(["0" * 64]) == {}
        assert store.lease_holder() is None
        assert store.log(10) == []
        assert store.acknowledgements() == []

    def test_publish(self, backend: Backend, publisher: Publisher) -> None:
        """What is published is what another process reads, value by value, secrets included."""
        signed = publisher.apply(publisher.lead(), SYNC_BATCH_SIZE=1000, RATIO=1.0)
        reader = backend.store()
        assert reader.current() == signed
        manifest = Manifest.verify(signed, SIGNING.verify_keys(), env="prod", repo_id=REPO)
        read = load_category("sync", manifest.categories["sync"], reader.blobs(manifest.digests))
        assert repr(dict(sorted(read.values.items()))) == "{'RATIO': 1.0, 'SYNC_BATCH_SIZE': 1000}"
        assert read.defaults == {"SYNC_PAUSED": False}
        assert open_secrets(read, publisher.sealer)["TOKEN"].reveal() == "tr0ub4dor"

    def test_stage_reuses(self, publisher: Publisher) -> None:
        """A blob that is there is not written again."""
        _, blobs = publisher.build(publisher.lead(), SYNC_BATCH_SIZE=1)
        assert publisher.store.stage(blobs).written == 1
        report = publisher.store.stage(blobs)
        assert (report.written, report.reused) == (0, 1)

    def test_stage_repairs(self, backend: Backend, publisher: Publisher) -> None:
        """A blob that was altered, or lost, is written again."""
        publisher.apply(publisher.lead(), SYNC_BATCH_SIZE=1)
        (digest,) = publisher.blobs
        for data in (b"altered", None):
            backend.overwrite_blob(digest, data)
            assert publisher.store.stage(publisher.blobs).written == 1
            assert publisher.store.blobs([digest]) == publisher.blobs

    def test_stage_checks_names(self, store: SnapshotWriter) -> None:
        """A blob under a name that is not its digest is refused."""
        with pytest.raises(UsageError):
            store.stage({"0" * 64: b"{}"})

    def test_staged_is_not_served(self, publisher: Publisher) -> None:
        """Staging alone changes nothing that is served, and does not hint."""
        lease = publisher.lead()
        before = publisher.apply(lease, SYNC_BATCH_SIZE=1)
        publisher.store.stage(publisher.build(lease, SYNC_BATCH_SIZE=2)[1])
        assert publisher.store.current() == before

    def test_lost_staging(self, backend: Backend, publisher: Publisher) -> None:
        """A leader that slept until its staged blobs were gone publishes nothing."""
        lease = publisher.lead()
        before = publisher.apply(lease, SYNC_BATCH_SIZE=1)
        signed, blobs = publisher.build(lease, SYNC_BATCH_SIZE=2)
        publisher.store.stage(blobs)
        for digest in blobs:
            backend.overwrite_blob(digest, None)
        with pytest.raises(StagingLostError):
            publisher.store.publish(lease, signed, blobs, publisher.entry(), before)
        assert publisher.store.current() == before

    def test_repeated_publish(self, publisher: Publisher) -> None:
        """Publishing the same bytes again, as after a lost answer, is safe and logged once."""
        lease = publisher.lead()
        signed, blobs = publisher.build(lease, SYNC_BATCH_SIZE=1)
        publisher.store.stage(blobs)
        assert not publisher.store.publish(lease, signed, blobs, publisher.entry(), None).already_current
        assert publisher.store.publish(lease, signed, blobs, publisher.entry(), None).already_current
        assert len(publisher.store.log(10)) == 1

    def test_stale(self, backend: Backend, publisher: Publisher) -> None:
        """A publish computed from another pointer than the present one is refused."""
        lease = publisher.lead()
        publisher.apply(lease, SYNC_BATCH_SIZE=1)
        for stood_there in (b"something else", None):
            backend.overwrite_current(stood_there)
            with pytest.raises(StaleError):
                publisher.apply(lease, SYNC_BATCH_SIZE=2)
            assert publisher.store.current() == stood_there

    def test_repair_over_garbage(self, backend: Backend, publisher: Publisher) -> None:
        """The pointer that a hand wrote is replaced by a publish that expects exactly it."""
        lease = publisher.lead()
        publisher.apply(lease, SYNC_BATCH_SIZE=1)
        backend.overwrite_current(b"garbage")
        publisher.signed = publisher.store.current()
        repaired = publisher.apply(lease, SYNC_BATCH_SIZE=1)
        assert publisher.store.current() == repaired

    def test_environments_are_apart(self, backend: Backend, publisher: Publisher) -> None:
        """Nothing of one environment shows in another, also where one name is a prefix of the other."""
        publisher.apply(publisher.lead(), SYNC_BATCH_SIZE=1)
        publisher.store.acknowledge(acknowledgement(), 30)
        for env in ("dev", "prod2", "pro", "prod:blob", "{prod}", "*", "prod}:cur{"):
            other = backend.store(env)
            assert other.current() is None
            assert other.blobs(publisher.blobs) == {}
            assert other.acquire_lease("daemon-2", 30) is not None
            assert other.log(5) == []
            assert other.acknowledgements() == []
            assert other.sweep([]) == 0


class TestLeadership:
    def test_one_leads(self, backend: Backend, store: SnapshotWriter) -> None:
        """While one leads, nobody else gets the lease."""
        assert store.acquire_lease("daemon-1", 30) is not None
        assert backend.store().acquire_lease("daemon-2", 30) is None
        assert store.lease_holder() == "daemon-1"

    def test_race(self, backend: Backend) -> None:
        """Of many that try at once one leads, and losing does not raise the epoch: the winner is not fenced."""
        stores = [backend.store() for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            leases = list(pool.map(lambda store: store.acquire_lease("daemon", 30), stores))
        (winner,) = [item for item in zip(stores, leases, strict=True) if item[1] is not None]
        Publisher(winner[0]).apply(winner[1], SYNC_BATCH_SIZE=1)

    def test_epoch_grows(self, store: SnapshotWriter) -> None:
        """Each lease has a higher epoch than all before."""
        epochs = []
        for _ in range(3):
            lease = store.acquire_lease("daemon", 30)
            assert lease is not None
            epochs.append(lease.epoch)
            store.release(lease)
        assert epochs == sorted(set(epochs))

    def test_epoch_survives_a_flush(self, backend: Backend, store: SnapshotWriter) -> None:
        """An emptied store does not bring epochs back: the caller's knowledge counts."""
        first = store.acquire_lease("daemon-1", 30)
        assert first is not None
        backend.flush()
        again = backend.store().acquire_lease("daemon-2", 30, after_epoch=first.epoch)
        assert again is not None
        assert again.epoch > first.epoch

    def test_expiry(self, store: SnapshotWriter) -> None:
        """A lease that is not renewed ends by itself."""
        assert store.acquire_lease("daemon-1", 0.05) is not None
        eventually(lambda: store.lease_holder() is None)
        assert store.acquire_lease("daemon-2", 30) is not None

    def test_renewal(self, store: SnapshotWriter) -> None:
        """A renewed lease outlives its first term."""
        lease = store.acquire_lease("daemon-1", 0.3)
        assert lease is not None
        assert store.renew(lease, 30)
        end = time.monotonic() + 0.4
        eventually(lambda: time.monotonic() > end)
        assert store.lease_holder() == "daemon-1"

    def test_loser_changes_nothing(self, store: SnapshotWriter) -> None:
        """Who lost the lease can neither renew nor release that of the next leader."""
        lost = store.acquire_lease("daemon-1", 0.05)
        assert lost is not None
        eventually(lambda: store.lease_holder() is None)
        assert not store.renew(lost, 30)
        assert store.acquire_lease("daemon-2", 30) is not None
        assert not store.renew(lost, 30)
        store.release(lost)
        assert store.lease_holder() == "daemon-2"

    def test_fencing(self, backend: Backend, publisher: Publisher) -> None:
        """A leader that slept past its lease, while another led, publishes nothing more."""
        old = publisher.lead(0.05)
        signed, blobs = publisher.build(old, SYNC_BATCH_SIZE=1)
        publisher.store.stage(blobs)
        eventually(lambda: publisher.store.lease_holder() is None)
        rival = Publisher(backend.store(), depth=5)
        current = rival.apply(rival.lead(), SYNC_BATCH_SIZE=2)
        for expected in (None, current):
            with pytest.raises(FencedError):
                publisher.store.publish(old, signed, blobs, publisher.entry(), expected)
        assert publisher.store.current() == current

    def test_fenced_before_the_rival_publishes(self, backend: Backend, publisher: Publisher) -> None:
        """Taking the lease is enough to fence the leader before."""
        old = publisher.lead(0.05)
        signed, blobs = publisher.build(old, SYNC_BATCH_SIZE=1)
        publisher.store.stage(blobs)
        eventually(lambda: publisher.store.lease_holder() is None)
        assert backend.store().acquire_lease("daemon-2", 30) is not None
        with pytest.raises(FencedError):
            publisher.store.publish(old, signed, blobs, publisher.entry(), None)

    def test_expired_without_a_rival(self, publisher: Publisher) -> None:
        """A lease that ran out while nobody else led still publishes: nothing moved."""
        lease = publisher.lead(0.05)
        eventually(lambda: publisher.store.lease_holder() is None)
        signed = publisher.apply(lease, SYNC_BATCH_SIZE=1)
        assert publisher.store.current() == signed

    def test_fenced_by_a_flush(self, backend: Backend, publisher: Publisher) -> None:
        """With the epoch lost, nobody leads until a lease is taken anew."""
        lease = publisher.lead()
        backend.flush()
        with pytest.raises(FencedError):
            publisher.apply(lease, SYNC_BATCH_SIZE=1)
        again = publisher.lead()
        assert again.epoch > lease.epoch
        publisher.apply(again, SYNC_BATCH_SIZE=1)

    def test_one_of_two_publishes_wins(self, backend: Backend, publisher: Publisher) -> None:
        """Two publishes from the same state at once: one is current, the other is told."""
        lease = publisher.lead()
        rival = Publisher(backend.store(), depth=7)

        def attempt(who: Publisher) -> bytes | None:
            try:
                return who.apply(lease, SYNC_BATCH_SIZE=who.depth)
            except StaleError:
                return None

        with ThreadPoolExecutor(2) as pool:
            outcomes = [done for done in pool.map(attempt, [publisher, rival]) if done is not None]
        assert outcomes == [publisher.store.current()]
        assert len(publisher.store.log(10)) == 1


class TestHints:
    def test_first_wait(self, store: SnapshotWriter) -> None:
        """The first wait is True: what came before the connection is unknown. Then there is silence."""
        hints = store.hints()
        assert hints.wait(5)
        assert hints.connected
        assert not hints.wait(0.05)
        hints.close()

    def test_hint(self, backend: Backend, publisher: Publisher) -> None:
        """A publish wakes up who waits in another process, once."""
        hints = backend.store().hints()
        assert hints.wait(5)
        lease = publisher.lead()
        publisher.apply(lease, SYNC_BATCH_SIZE=1)
        assert hints.wait(5)
        assert not hints.wait(0.05)
        hints.close()

    def test_burst(self, backend: Backend, publisher: Publisher) -> None:
        """Many publishes wake up at least once after the last; none is owed afterwards."""
        hints = backend.store().hints()
        assert hints.wait(5)
        lease = publisher.lead()
        for size in range(1, 20):
            publisher.apply(lease, SYNC_BATCH_SIZE=size)
        assert hints.wait(5)
        while hints.wait(0.1):
            pass
        hints.close()

    def test_other_environment(self, backend: Backend, publisher: Publisher) -> None:
        """A publish elsewhere does not hint here."""
        hints = backend.store("dev").hints()
        assert hints.wait(5)
        publisher.apply(publisher.lead(), SYNC_BATCH_SIZE=1)
        assert not hints.wait(0.1)
        hints.close()

    def test_refused_publish(self, backend: Backend, publisher: Publisher) -> None:
        """A publish that is refused hints nothing and logs nothing."""
        lease = publisher.lead()
        publisher.apply(lease, SYNC_BATCH_SIZE=1)
        hints = backend.store().hints()
        assert hints.wait(5)
        publisher.signed = None
        with pytest.raises(StaleError):
            publisher.apply(lease, SYNC_BATCH_SIZE=2)
        assert not hints.wait(0.1)
        assert len(publisher.store.log(10)) == 1
        hints.close()

    def test_close_wakes(self, store: SnapshotWriter) -> None:
        """Closing from another thread ends a long wait at once."""
        hints = store.hints()
        assert hints.wait(5)
        answers: list[bool] = []
        waiter = threading.Thread(target=lambda: answers.append(hints.wait(60)))
        waiter.start()
        started = time.monotonic()
        hints.close()
        waiter.join(5)
        assert answers == [False]
        assert time.monotonic() - started < 10
        hints.close()
        assert not hints.wait(1)
        assert not hints.connected


class TestLog:
    def test_newest_first(self, store: SnapshotWriter) -> None:
        """Entries come back whole, the newest first, as many as asked for."""
        entries = [
            LogEntry("rejected", "b" * 40, "", "t", f"no {number}", "Ada", "d-1", 3, ("sync",), ("c" * 40,))
            for number in range(5)
        ]
        for entry in entries:
            store.append_log(entry)
        read = store.log(3)
        assert [replace(entry, id="") for entry in read] == entries[:1:-1]
        assert len({entry.id for entry in read}) == 3

    def test_bounded(self, store: SnapshotWriter) -> None:
        """The log keeps about a thousand entries, and the newest among them."""
        for number in range(LOG_ENTRIES + 300):
            store.append_log(LogEntry("applied", "", f"0.{number}.0", "t"))
        read = store.log(10_000)
        assert LOG_ENTRIES <= len(read) < LOG_ENTRIES + 200
        assert read[0].generation == f"0.{LOG_ENTRIES + 299}.0"


class TestAcknowledgements:
    def test_round_trip(self, store: SnapshotWriter) -> None:
        """What a process says comes back whole, and its latest word counts."""
        said = acknowledgement()
        store.acknowledge(replace(said, state="current"), 30)
        store.acknowledge(said, 30)
        assert store.acknowledgements() == [said]

    def test_many(self, store: SnapshotWriter) -> None:
        """All live processes are listed by service and instance, whatever their names."""
        names = [("b", "2"), ("a", "9"), ("a:b", "1"), ("a", "b:1"), ("*", "}{"), ("ä", "host\r\n")]
        for service, instance in names:
            store.acknowledge(acknowledgement(service, instance), 30)
        assert [(item.service, item.instance) for item in store.acknowledgements()] == sorted(names)

    def test_expiry_and_withdrawal(self, store: SnapshotWriter) -> None:
        """A process that ended leaves the list, by itself or after its time."""
        store.acknowledge(acknowledgement(instance="short"), 0.05)
        store.acknowledge(acknowledgement(instance="ended"), 30)
        store.withdraw(acknowledgement(instance="ended"))
        store.acknowledge(acknowledgement(instance="alive"), 30)
        eventually(lambda: [item.instance for item in store.acknowledgements()] == ["alive"])


class TestDrift:
    @pytest.fixture
    def served(self, publisher: Publisher) -> Publisher:
        publisher.apply(publisher.lead(), SYNC_BATCH_SIZE=1000, RATIO=1)
        return publisher

    def inspect(self, served: Publisher) -> tuple[DriftItem, ...]:
        assert served.signed is not None
        return served.store.inspect(served.signed, served.blobs)

    def test_none(self, served: Publisher) -> None:
        """Nothing differs right after a publish, nor after the next one, a sweep and a repeated staging."""
        assert self.inspect(served) == ()
        served.store.sweep(served.blobs)
        served.store.stage(served.blobs)
        assert self.inspect(served) == ()

    def test_manifest(self, backend: Backend, served: Publisher) -> None:
        """An altered and a missing pointer are told apart."""
        backend.overwrite_current((served.signed or b"") + b" ")
        assert self.inspect(served) == (DriftItem(None, None, "manifest-altered"),)
        backend.overwrite_current(None)
        assert self.inspect(served) == (DriftItem(None, None, "manifest-missing"),)

    def test_flush(self, backend: Backend, served: Publisher) -> None:
        """An emptied store misses everything."""
        backend.flush()
        assert self.inspect(served) == (
            DriftItem(None, None, "log-missing"),
            DriftItem(None, None, "manifest-missing"),
            DriftItem("sync", None, "blob-missing"),
        )

    def test_settings_by_name(self, backend: Backend, served: Publisher) -> None:
        """An altered blob that can be read names the settings that differ; 1 and 1.0 differ."""
        (digest,) = served.blobs
        altered = Category("sync", {"RATIO": 1.0, "EXTRA": 1}, {"SYNC_PAUSED": True}, {}, frozenset())
        backend.overwrite_blob(digest, encode_category(altered, None)[0])
        assert [(item.category, item.key, item.kind) for item in self.inspect(served)] == [
            ("sync", "EXTRA", "setting-added"),
            ("sync", "RATIO", "setting-altered"),
            ("sync", "SYNC_BATCH_SIZE", "setting-removed"),
            ("sync", "SYNC_PAUSED", "setting-altered"),
            ("sync", "TOKEN", "setting-removed"),
        ]

    def test_unreadable_blob(self, backend: Backend, served: Publisher) -> None:
        """An altered blob that cannot be read, or has nothing to compare with, is named as a whole."""
        (digest,) = served.blobs
        backend.overwrite_blob(digest, b"\xff garbage")
        whole = (DriftItem("sync", None, "blob-altered"),)
        assert self.inspect(served) == whole
        assert served.store.inspect(served.signed or b"", set(served.blobs)) == whole

    def test_expiring(self, backend: Backend, served: Publisher) -> None:
        """A blob in use that is set to expire is found before it is gone."""
        (digest,) = served.blobs
        backend.expire_blob(digest)
        assert self.inspect(served) == (DriftItem("sync", None, "blob-expiring"),)

    def test_repair(self, backend: Backend, publisher: Publisher) -> None:
        """Staging again and publishing the same manifest, or the next one, repairs blobs for good."""
        lease = publisher.lead()
        signed = publisher.apply(lease, SYNC_BATCH_SIZE=1)
        (digest,) = publisher.blobs
        for damage in (lambda: backend.expire_blob(digest), lambda: backend.overwrite_blob(digest, None)):
            damage()
            publisher.store.stage(publisher.blobs)
            publisher.store.publish(lease, signed, publisher.blobs, publisher.entry(), signed)
            assert publisher.store.inspect(signed, publisher.blobs) == ()
            damage()
            publisher.store.stage(publisher.blobs)
            again, blobs = publisher.build(lease, SYNC_BATCH_SIZE=1)
            assert set(blobs) == {digest}
            publisher.store.publish(lease, again, blobs, publisher.entry(), signed)
            signed = again
            assert publisher.store.inspect(signed, blobs) == ()

    def test_log(self, backend: Backend, served: Publisher) -> None:
        """A deleted log is noticed."""
        backend.drop_log()
        assert self.inspect(served) == (DriftItem(None, None, "log-missing"),)


class TestSweep:
    def test_orphans(self, publisher: Publisher) -> None:
        """What nothing refers to is let go, once; what is current or named stays."""
        lease = publisher.lead()
        publisher.apply(lease, SYNC_BATCH_SIZE=1)
        (first,) = publisher.blobs
        publisher.apply(lease, SYNC_BATCH_SIZE=2)
        assert publisher.store.sweep([]) == 0
        assert publisher.store.inspect(publisher.signed or b"", publisher.blobs) == ()
        assert first in publisher.store.blobs([first]), "a reader may still be loading it"

    def test_half_published(self, backend: Backend, publisher: Publisher) -> None:
        """A persistent blob of a publish that died before its swap is let go, unless it is asked to stay."""
        lease = publisher.lead()
        publisher.apply(lease, SYNC_BATCH_SIZE=1)
        _, blobs = publisher.build(lease, SYNC_BATCH_SIZE=2)
        (orphan,) = blobs
        backend.overwrite_blob(orphan, blobs[orphan])
        assert publisher.store.sweep([orphan]) == 0
        assert publisher.store.sweep([]) == 1
        assert publisher.store.sweep([]) == 0
