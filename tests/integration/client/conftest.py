"""A daemon's half of the work: publish signed snapshots into a real Redis."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from kemudi.client import Client
from kemudi.client.connection import connect_with
from kemudi.client.refresh import Pace
from kemudi.client.settings import ClientSettings
from kemudi.schema.generation import Generation
from kemudi.schema.secret import Secret
from kemudi.store.keys import Keys
from kemudi.store.manifest import Manifest
from kemudi.store.redis import RedisStore
from kemudi.store.sealing import KeysetBundle, Sealer
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category
from kemudi.store.values import LogEntry, utc_text

REPO_ID = "11111111-2222-3333-4444-555555555555"
CATEGORIES = ("sync", "neo4j", "graph_query")
FAST = Pace(poll_least=0.2, poll_most=0.4, again=0.1, ask_again=0.5, copy_after=0.0, keys=0.2)


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the condition holds. Raises AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


@dataclass
class Publisher:
    """Publishes snapshots of one environment as the daemon does."""

    url: str
    folder: Path
    env: str = "dev"
    key: SigningKey = field(default_factory=SigningKey.generate)
    keysets: KeysetBundle = field(default_factory=lambda: KeysetBundle.generate(CATEGORIES))
    repo_id: str = REPO_ID
    depth: int = 0
    era: int = 0
    epoch: int = 0
    blobs: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = RedisStore(self.url, self.env)
        self.keyset = self.folder / "keyset.json"
        self.verify_key = self.folder / "verify.pem"
        self.state = self.folder / "state"
        self.save_keys()

    def save_keys(self) -> None:
        self.keysets.save(self.keyset)
        self.key.verify_keys().save(self.verify_key)

    def publish(
        self,
        values: Mapping[str, Mapping[str, Any]],
        *,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        restart: Mapping[str, set[str]] | None = None,
        revision: str | None = None,
        generation: Generation | None = None,
        keep_ciphertext: bool = True,
    ) -> str:
        """Publish the next generation; a Secret among the values is sealed. Returns the revision."""
        self.depth += 1
        generation = generation or Generation(self.era, self.depth, 0)
        revision = revision or f"{self.depth:040x}"
        sealer = Sealer(self.keysets, repo_id=self.repo_id, env=self.env)
        blobs = {}
        for name in {*values, *(defaults or {})}:
            category = self._category(name, values.get(name, {}), defaults or {}, restart or {})
            previous = self.blobs.get(name, ()) if keep_ciphertext else ()
            blobs[name] = encode_category(category, sealer, previous)
        self.blobs = blobs
        self.put(
            self.manifest(generation, revision),
            {digest_of(blob): blob for part in blobs.values() for blob in part},
        )
        return revision

    def manifest(self, generation: Generation, revision: str) -> Manifest:
        """The manifest of the blobs published last."""
        return Manifest(
            repo_id=self.repo_id,
            env=self.env,
            generation=generation,
            epoch=self.epoch,
            revision=revision,
            author="An Author <author@example.org>",
            committed_at=utc_text(),
            applied_at=utc_text(),
            categories={name: tuple(digest_of(blob) for blob in parts) for name, parts in self.blobs.items()},
            settings=len(self.blobs),
        )

    def by_hand(self, signed: bytes, *, hint: bool, blobs: Mapping[str, bytes] | None = None) -> None:
        """Write a manifest and blobs with bare commands, past every check of the store."""
        keys = Keys(self.env)
        with redis.Redis.from_url(self.url) as server, server.pipeline() as pipe:
            for digest, blob in (blobs or {}).items():
                pipe.set(keys.blob(digest), blob)
            pipe.set(keys.current, signed)
            if hint:
                pipe.publish(keys.channel, "hint")
            pipe.execute()

    def put(self, manifest: Manifest, blobs: Mapping[str, bytes]) -> None:
        """Stage and swap."""
        lease = self.store.acquire_lease("test", 30, after_epoch=self.epoch)
        assert lease is not None
        self.epoch = lease.epoch
        entry = LogEntry("applied", manifest.revision, str(manifest.generation), utc_text())
        try:
            self.store.stage(blobs)
            self.store.publish(lease, manifest.sign(self.key), tuple(blobs), entry, self.store.current())
        finally:
            self.store.release(lease)

    @staticmethod
    def _category(
        name: str,
        values: Mapping[str, Any],
        defaults: Mapping[str, Mapping[str, Any]],
        restart: Mapping[str, set[str]],
    ) -> Category:
        return Category(
            name=name,
            values={key: value for key, value in values.items() if not isinstance(value, Secret)},
            defaults={key: value for key, value in defaults.get(name, {}).items() if key not in values},
            secrets={key: ("string", value) for key, value in values.items() if isinstance(value, Secret)},
            restart=frozenset(restart.get(name, ())),
        )


@pytest.fixture
def publisher(redis_url: str, tmp_path: Path) -> Iterator[Publisher]:
    """Publishes into the test process's Redis."""
    made = Publisher(redis_url, tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def settings_of() -> Callable[..., ClientSettings]:
    """The complete settings of a client of a publisher's environment."""

    def make(publisher: Publisher, **more: Any) -> ClientSettings:
        return ClientSettings.resolved(
            {},
            **{
                "env": publisher.env,
                "redis_url": publisher.url,
                "service": "tester",
                "keyset": publisher.keyset,
                "verify_key": publisher.verify_key,
                "state_dir": publisher.state,
                **more,
            },
        )

    return make


@pytest.fixture
def open_client(settings_of: Callable[..., ClientSettings]) -> Iterator[Callable[..., Client]]:
    """Connects clients at a quick pace, and closes them at the end."""
    opened: list[Client] = []

    def make(publisher: Publisher, *, contracts: Any = None, pace: Pace = FAST, **more: Any) -> Client:
        client = connect_with(settings_of(publisher, **more), contracts, pace)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    return eventually


@pytest.fixture
def publisher_at(tmp_path: Path) -> Iterator[Callable[..., Publisher]]:
    """Publishers of other servers or environments; their keys lie in a folder of their own."""
    made: list[Publisher] = []

    def make(url: str, **more: Any) -> Publisher:
        folder = tmp_path / f"publisher-{len(made)}"
        folder.mkdir()
        made.append(Publisher(url, folder, **more))
        return made[-1]

    yield make
    for publisher in made:
        publisher.store.close()
