"""A small world around a store: snapshots whose every value is one number, a leader, a reader that checks.

Also a program: `python world.py URL KEYFILE ROUNDS` leads and publishes that many snapshots, so that it can be killed
or stopped at a failpoint.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kemudi.schema.generation import Generation
from kemudi.store.errors import SnapshotRefusedError
from kemudi.store.manifest import Manifest
from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey, VerifyKeys
from kemudi.store.snapshot import Category, digest_of, encode_category, load_category
from kemudi.store.values import Lease, LogEntry

ENV = "prod"
REPO = "repo-1"
CATEGORIES = ("alpha", "beta", "gamma")


def build(number: int, epoch: int, key: SigningKey) -> tuple[bytes, dict[str, bytes]]:
    """The snapshot of one number: it stands in every category."""
    blobs: dict[str, bytes] = {}
    named: dict[str, tuple[str, ...]] = {}
    for name in CATEGORIES:
        category = Category(name, {f"{name}_{index}": number for index in range(5)}, {}, {}, frozenset())
        encoded = encode_category(category, None)
        named[name] = tuple(digest_of(blob) for blob in encoded)
        blobs |= {digest_of(blob): blob for blob in encoded}
    manifest = Manifest(
        repo_id=REPO,
        env=ENV,
        generation=Generation(0, number, 0),
        epoch=epoch,
        revision=f"{number:040x}",
        author="Ada Lovelace",
        committed_at="2026-01-01T00:00:00Z",
        applied_at="2026-01-01T00:00:01Z",
        categories=named,
        settings=15,
    )
    return manifest.sign(key), blobs


def entry(number: int) -> LogEntry:
    """The log entry of one number's snapshot."""
    return LogEntry("applied", f"{number:040x}", f"0.{number}.0", "2026-01-01T00:00:01Z")


def number_of(signed: bytes | None, keys: VerifyKeys) -> int:
    """The number that a manifest stands for; 0 for none."""
    return 0 if signed is None else Manifest.verify(signed, keys, env=ENV, repo_id=REPO).generation.depth


@dataclass
class Reader:
    """Reads as a client does, and fails on a mixture or a step back.

    Attributes:
        number: What it serves.
        history: All that it served, in order.
    """

    store: Any
    keys: VerifyKeys
    number: int = 0
    history: list[int] = field(default_factory=list)

    def read(self) -> int:
        """Read the store once, keeping what is there when a blob is gone."""
        for _ in range(3):
            signed = self.store.current()
            if signed is None:
                return self.number
            manifest = Manifest.verify(signed, self.keys, env=ENV, repo_id=REPO)
            try:
                numbers = self._numbers(manifest.categories)
            except SnapshotRefusedError:
                continue
            assert numbers == {manifest.generation.depth}, "a mixture of snapshots"
            assert manifest.generation.depth >= self.number, "a step back"
            self.number = manifest.generation.depth
            self.history.append(self.number)
            break
        return self.number

    def _numbers(self, categories: Mapping[str, tuple[str, ...]]) -> set[int]:
        blobs = self.store.blobs([digest for digests in categories.values() for digest in digests])
        loaded = [load_category(name, digests, blobs) for name, digests in categories.items()]
        return {value for category in loaded for value in category.values.values()}


def publish(store: Any, lease: Lease, key: SigningKey, number: int) -> bytes:
    """Stage and publish one number over what is current."""
    signed, blobs = build(number, lease.epoch, key)
    expected = store.current()
    store.stage(blobs)
    store.publish(lease, signed, blobs, entry(number), expected)
    return signed


def main(url: str, keyfile: str, rounds: int) -> None:
    """Lead, publish the next numbers, sweep after each."""
    key = SigningKey.load(keyfile)
    store = RedisStore(url, ENV)
    lease = store.acquire_lease("process", 0.3)
    assert lease is not None, "another leads"
    print(f"leading {lease.epoch}", flush=True)
    for _ in range(rounds):
        number = number_of(store.current(), key.verify_keys()) + 1
        publish(store, lease, key, number)
        print(f"published {number}", flush=True)
        store.sweep(build(number, lease.epoch, key)[1])
    store.release(lease)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
