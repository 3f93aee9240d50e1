"""From a store to what is served, under any order of publishes and faults."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kemudi.client.client import Client
from kemudi.client.loader import LoadRefusedError, SnapshotLoader
from kemudi.client.secrets import SecretReader
from kemudi.client.serving import Serving
from kemudi.client.snapshot import Snapshot
from kemudi.schema.generation import Generation
from kemudi.store.errors import StoreUnavailableError
from kemudi.store.keyfiles import KeyFile
from kemudi.store.manifest import Manifest
from kemudi.store.memory import MemoryServer, MemoryStore
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category

KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
NAMES = ("sync", "neo4j", "graph")
VALUES = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3), min_size=1)


def encoded(values):
    """The blobs of a snapshot in which each category has one setting named after it."""
    return {
        name: encode_category(Category(name, {name.upper(): value}, {}, {}, frozenset()), None)
        for name, value in values.items()
    }


def manifest(blobs, generation, *, repo_id="repo", env="dev"):
    return Manifest(
        repo_id=repo_id,
        env=env,
        generation=generation,
        epoch=1,
        revision=f"{generation.depth:040x}",
        author="",
        committed_at="",
        applied_at="",
        categories={name: tuple(digest_of(blob) for blob in parts) for name, parts in blobs.items()},
        settings=len(blobs),
    )


class World:
    """A store in memory, a publisher, and a client that looks when it is told to."""

    def __init__(self, categories=None):
        self.server = MemoryServer()
        self.store = MemoryStore("dev", self.server)
        self.loader = SnapshotLoader(
            "dev", KeyFile.fixed(KEY.verify_keys()), categories=categories, declared={}
        )
        self.serving = Serving(
            Snapshot.of_defaults("dev", {}), SecretReader(KeyFile.fixed(None)), threaded=False
        )
        self.serving.start()
        self.client = Client(self.serving, None)
        self.asked = []

    def put(self, blobs, signed):
        """What the daemon's swap leaves behind, and a hand in Redis may, too."""
        for parts in blobs.values():
            for blob in parts:
                self.server.overwrite_blob("dev", digest_of(blob), blob)
        self.server.overwrite_current("dev", signed)

    def look(self):
        """One look at the store; the reason when it is refused."""
        try:
            loaded = self.loader.load(self, self.serving.snapshot)
        except LoadRefusedError as error:
            return error.reason
        except StoreUnavailableError:
            return "away"
        if loaded is not None:
            assert self.serving.offer(loaded.snapshot) is None
        return None

    def current(self):
        return self.store.current()

    def blobs(self, digests):
        self.asked.append(set(digests))
        return self.store.blobs(digests)


class Faults(RuleBasedStateMachine):
    """Publishes and faults in any order: what is served is always one published snapshot, whole, and never older."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.depth = 0
        self.published = {}
        self.latest = None
        self.newest_seen = Generation(0, 0, 0)

    @initialize(values=VALUES)
    def begin(self, values):
        self.publish(values)

    @rule(values=VALUES)
    def publish(self, values):
        self.depth += 1
        generation, blobs = Generation(0, self.depth, 0), encoded(values)
        self.published[generation] = {name.upper(): value for name, value in values.items()}
        self.latest = (blobs, manifest(blobs, generation).sign(KEY))
        if self.world.server.available:
            self.world.put(*self.latest)

    @rule()
    def alter_manifest(self):
        with self.world.server.changed:
            current = self.world.server.environment("dev").current
        if current:
            self.world.server.overwrite_current("dev", current.replace(b'"epoch":1', b'"epoch":2'))

    @rule(how=st.sampled_from(["key", "env", "repo", "text"]))
    def forge(self, how):
        blobs = encoded({"sync": 666})
        made = manifest(blobs, Generation(0, self.depth + 5, 0))
        signed = {
            "key": made.sign(STRANGER),
            "env": replace(made, env="prod").sign(KEY),
            "repo": replace(made, repo_id="other").sign(KEY)
            if self.newest_seen.depth
            else b"too early to tell",
            "text": b"nonsense",
        }[how]
        self.world.put(blobs, signed)

    @rule(keep=st.booleans(), data=st.data())
    def damage_a_blob(self, keep, data):
        blobs = [blob for parts in self.latest[0].values() for blob in parts]
        blob = data.draw(st.sampled_from(blobs))
        with self.world.server.changed:
            held = digest_of(blob) in self.world.server.environment("dev").blobs
        if held:
            self.world.server.overwrite_blob("dev", digest_of(blob), b"{}" + blob if keep else None)

    @precondition(lambda self: self.depth > 1)
    @rule(back=st.integers(1, 3))
    def rewind(self, back):
        generation = Generation(0, max(1, self.depth - back), 0)
        values = {name.lower(): value for name, value in self.published[generation].items()}
        blobs = encoded(values)
        self.world.put(blobs, manifest(blobs, generation).sign(KEY))

    @rule()
    def flush(self):
        self.world.server.flush()

    @rule(available=st.booleans())
    def switch(self, available):
        self.world.server.set_available(available)

    @rule()
    def look(self):
        self.world.look()

    @rule()
    def heal(self):
        """The daemon repairs: whatever happened before, the next look arrives at the latest snapshot."""
        self.world.server.set_available(True)
        self.world.put(*self.latest)
        assert self.world.look() is None
        assert dict(self.world.client.all()) == self.published[Generation(0, self.depth, 0)]

    @invariant()
    def serves_one_published_snapshot(self):
        view = self.world.client.pin()
        if view.generation is None:
            assert dict(view.all()) == {}
            return
        generation = Generation.parse(view.generation)
        assert dict(view.all()) == self.published[generation]
        assert view.revision == f"{generation.depth:040x}"
        assert generation >= self.newest_seen
        self.newest_seen = generation


TestFaults = Faults.TestCase
TestFaults.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_only_changed_categories_are_fetched():
    """A category whose digest is known is taken over as the same object, whatever its size."""
    world = World()
    first = encoded({"sync": 1, "neo4j": 1, "graph": 1})
    world.put(first, manifest(first, Generation(0, 1, 0)).sign(KEY))
    world.look()
    before = world.serving.snapshot.categories
    second = {**first, **encoded({"sync": 2})}
    world.put(second, manifest(second, Generation(0, 2, 0)).sign(KEY))
    world.look()
    after = world.serving.snapshot.categories
    assert world.asked == [
        {digest_of(blob) for parts in first.values() for blob in parts},
        {digest_of(second["sync"][0])},
    ]
    assert after["neo4j"] is before["neo4j"]
    assert after["sync"] is not before["sync"]


def test_a_snapshot_that_moves_while_it_is_read_is_read_again():
    """When a newer snapshot takes the place of the one being read, the newer one is served."""
    world = World()
    first, second = encoded({"sync": 1}), encoded({"sync": 2})
    world.put(first, manifest(first, Generation(0, 1, 0)).sign(KEY))

    class Moving(MemoryStore):
        moved = False

        def blobs(self, digests):
            if not self.moved:
                self.moved = True
                world.server.overwrite_blob("dev", digest_of(first["sync"][0]), None)
                world.put(second, manifest(second, Generation(0, 2, 0)).sign(KEY))
            return super().blobs(digests)

    loaded = world.loader.load(Moving("dev", world.server), world.serving.snapshot)
    assert loaded.snapshot.generation == Generation(0, 2, 0)
    assert loaded.fetched == {digest_of(second["sync"][0]): second["sync"][0]}


def test_a_blob_that_stays_away_is_given_up_after_three_tries():
    """After three tries the last good snapshot stays and the reason is `blob`."""
    world = World()
    blobs = encoded({"sync": 1})
    world.put({}, manifest(blobs, Generation(0, 1, 0)).sign(KEY))
    assert world.look() == "blob"
    assert len(world.asked) == 3


def test_a_newer_format_is_refused():
    """A manifest of a format that this version does not know keeps what is served, and says to upgrade."""
    world = World()
    blobs = encoded({"sync": 1})
    signed = manifest(blobs, Generation(0, 1, 0)).sign(KEY)
    world.put(blobs, signed.replace(b"kemudi-manifest 1 ", b"kemudi-manifest 2 ", 1))
    assert world.look() == "version"


def test_a_refused_snapshot_is_not_fetched_twice():
    """What was loaded and not served comes back without fetching while it is current."""
    world = World()
    blobs = encoded({"sync": 1})
    world.put(blobs, manifest(blobs, Generation(0, 1, 0)).sign(KEY))
    first = world.loader.load(world, world.serving.snapshot)
    again = world.loader.load(world, world.serving.snapshot, first.snapshot)
    assert again.snapshot is first.snapshot
    assert len(world.asked) == 1
    more = {**blobs, **encoded({"neo4j": 1})}
    world.put(more, manifest(more, Generation(0, 2, 0)).sign(KEY))
    newer = world.loader.load(world, world.serving.snapshot, first.snapshot)
    assert newer.snapshot.categories["sync"] is first.snapshot.categories["sync"]
    assert len(world.asked) == 2


def test_an_empty_store_is_a_reason():
    """Nothing published is no snapshot, and said as such."""
    assert World().look() == "missing"


@pytest.mark.parametrize("size", [4_999, 12_000])
def test_a_category_of_any_size_is_served(size):
    """A category that the store splits is one category to a reader."""
    world = World()
    values = {f"KEY_{number}": number for number in range(size)}
    blobs = {"big": encode_category(Category("big", values, {}, {}, frozenset()), None)}
    world.put(blobs, manifest(blobs, Generation(0, 1, 0)).sign(KEY))
    assert world.look() is None
    assert dict(world.client.category("big")) == values
    assert sha256(blobs["big"][0]).hexdigest() in world.asked[0]


def test_a_big_swap_is_taken_from_the_collector():
    """After a load of more than 5,000 settings they are frozen for the collector; after a small load nothing is."""
    import gc

    world = World()
    try:
        small = {"sync": encode_category(Category("sync", {"A": [1]}, {}, {}, frozenset()), None)}
        world.put(small, manifest(small, Generation(0, 1, 0)).sign(KEY))
        gc.unfreeze()
        assert world.look() is None
        assert gc.get_freeze_count() == 0
        values = {f"KEY_{number}": [number] for number in range(6_000)}
        big = {"big": encode_category(Category("big", values, {}, {}, frozenset()), None)}
        world.put(big, manifest(big, Generation(0, 2, 0)).sign(KEY))
        assert world.look() is None
        assert gc.get_freeze_count() > 6_000
    finally:
        gc.unfreeze()
