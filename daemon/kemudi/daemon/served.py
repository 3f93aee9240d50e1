"""What Redis serves, compared with what was published: learned at start, checked for drift, put back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kemudi.daemon.attempt import Snapshot, Stopped
from kemudi.daemon.bench import Bench
from kemudi.daemon.conditions import Reason
from kemudi.schema.failpoints import failpoint
from kemudi.store.errors import FencedError, ManifestRefusedError, SnapshotRefusedError, StaleError
from kemudi.store.manifest import Manifest
from kemudi.store.snapshot import decode_category, digest_of, sealing_keys
from kemudi.store.values import DriftItem, LogEntry

_MOST_ITEMS: Final = 200


@dataclass(frozen=True, slots=True)
class Learned:
    """What a look at the pointer taught.

    Attributes:
        foreign: Bytes stand there that no trusted key has signed for this place: drift.
        regressed: A manifest of ours stands there that is older than what was published: drift.
    """

    foreign: bool = False
    regressed: bool = False


def learn(bench: Bench) -> Learned:
    """Take over what Redis serves, if it is ours and not older than what is known here."""
    data = bench.store.current()
    bench.pointer = data
    snapshot = bench.snapshot
    if data is None or (snapshot is not None and snapshot.signed == data):
        return Learned()
    try:
        manifest = Manifest.verify(data, bench.trusted, env=bench.env)
    except ManifestRefusedError as error:
        if error.reason == "version":
            raise Stopped(Reason.MANIFEST_REFUSED, str(error)) from error
        return Learned(foreign=True)
    if manifest.repo_id != bench.repo_id:
        text = f"Redis serves {bench.env} of another config repo ({manifest.repo_id}); use another database"
        raise Stopped(Reason.MANIFEST_REFUSED, text)
    applied = bench.applied
    if applied is not None and manifest.generation < applied.generation:
        return Learned(regressed=True)
    bench.snapshot = _adopted(bench, manifest, data)
    bench.settled = None
    return Learned()


def _adopted(bench: Bench, manifest: Manifest, signed: bytes) -> Snapshot:
    found = bench.store.blobs(manifest.digests)
    sound = {digest: blob for digest, blob in found.items() if digest_of(blob) == digest}
    blobs, counts, keys = {}, {}, {}
    for name, digests in manifest.categories.items():
        if all(digest in sound for digest in digests):
            blobs[name] = tuple(sound[digest] for digest in digests)
            counts[name], keys[name] = _looked_into(name, blobs[name])
    before = bench.snapshot
    shared = {}
    if before is not None:
        # What another daemon published, or sealed anew: categories with the same bytes need no second encoding.
        shared = {
            name: item for name, item in before.resolved.items() if before.blobs.get(name) == blobs.get(name)
        }
    revision = manifest.revision
    return Snapshot(
        manifest,
        signed,
        bench.base_of(revision),
        blobs,
        shared,
        counts,
        bench.held_in(revision),
        sealed_with=keys,
    )


def _looked_into(name: str, blobs: tuple[bytes, ...]) -> tuple[int, tuple[str, ...]]:
    """How many settings a category has, and which keys at rest its secrets are sealed with."""
    try:
        encoded = decode_category(name, blobs)
    except SnapshotRefusedError:
        return 0, ()
    count = len(encoded.values) + len(encoded.defaults) + len(encoded.sealed)
    return count, sealing_keys(name, blobs)


def inspect(bench: Bench) -> tuple[DriftItem, ...]:
    """Compare Redis with what is applied. Nothing is applied: nothing can drift."""
    snapshot = bench.snapshot
    if snapshot is None:
        return ()
    known: Mapping[str, bytes] = dict.fromkeys(snapshot.manifest.digests, b"") | snapshot.by_digest
    return bench.store.inspect(snapshot.signed, known)


def repair(bench: Bench, items: tuple[DriftItem, ...]) -> None:
    """Put back what is applied: every blob, then the pointer. Raises Stopped when this daemon may not."""
    snapshot, lease = bench.snapshot, bench.keeper.lease
    if snapshot is None or lease is None:
        raise Stopped(Reason.NOT_LEADER, "another daemon repairs what Redis serves")
    failpoint("daemon.repair")
    blobs = snapshot.by_digest
    incomplete = frozenset(snapshot.manifest.digests) - blobs.keys()
    if incomplete:
        # Learned from a damaged Redis: the steps build these categories anew from git.
        bench.snapshot, bench.settled = None, None
        return
    bench.store.stage(blobs)
    entry = LogEntry(
        kind="repaired",
        revision=snapshot.manifest.revision,
        generation=str(snapshot.manifest.generation),
        at=bench.wall(),
        reason=described(items),
        holder=lease.holder,
        epoch=lease.epoch,
        changed=tuple(sorted({item.category for item in items if item.category})),
    )
    observed = bench.store.current()
    # Without `expected` every blob is persisted again, also those that the pointer names already.
    expected = None if observed == snapshot.signed else observed
    try:
        report = bench.store.publish(lease, snapshot.signed, blobs.keys(), entry, expected)
    except FencedError as error:
        bench.keeper.drop()
        raise Stopped(Reason.FENCED, str(error)) from error
    except StaleError as error:
        raise Stopped(Reason.STALE, str(error)) from error
    bench.pointer = snapshot.signed
    if report.already_current:
        bench.store.append_log(entry)


def described(items: tuple[DriftItem, ...]) -> str:
    """One line for the log: what was found, by name."""
    shown = [f"{item.kind} {item.key or item.category or ''}".strip() for item in items[:20]]
    more = f" and {len(items) - 20} more" if len(items) > 20 else ""
    return f"drift: {', '.join(shown)}{more}"


def bounded(items: tuple[DriftItem, ...]) -> tuple[DriftItem, ...]:
    """What the status shows: enough to see the pattern."""
    return items[:_MOST_ITEMS]
