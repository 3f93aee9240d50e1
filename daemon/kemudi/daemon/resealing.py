"""After the key at rest was switched: what is served is sealed anew, also while the newest commit is bad."""

from dataclasses import replace

from kemudi.daemon.attempt import Snapshot, Stopped
from kemudi.daemon.bench import Bench
from kemudi.daemon.conditions import Reason
from kemudi.schema.failpoints import failpoint
from kemudi.schema.generation import Generation
from kemudi.store.errors import FencedError, KeysetMissingError, SealRefusedError, StaleError
from kemudi.store.snapshot import digest_of, resealed_category, sealing_keys
from kemudi.store.values import LogEntry


def reseal(bench: Bench) -> bool:
    """Publish what is served under the key that seals now, as the next serial. Returns whether there was any need.

    The plaintexts are the same, so readers are told of no change; the higher generation lets them acknowledge. Raises
    Stopped, StoreUnavailableError, StoreRefusedError.
    """
    snapshot, bundle = bench.snapshot, bench.keysets.value
    if snapshot is None or bundle is None:
        return False
    due = [
        name
        for name, keys in snapshot.sealed_with.items()
        if keys and name in bundle.categories and set(keys) != {bundle.keyset(name).sealing_id}
    ]
    fresh = {name: blobs for name in due if (blobs := _resealed(bench, snapshot, name))}
    if not fresh:
        return False
    failpoint("daemon.reseal")
    _publish(bench, snapshot, fresh)
    return True


def _resealed(bench: Bench, snapshot: Snapshot, name: str) -> tuple[bytes, ...]:
    """The category's blobs sealed anew; nothing where this daemon lacks the key that sealed them.

    That is the keyset file of a daemon that was left out of a rotation. What is served stays as it is.
    """
    sealer = bench.sealer
    assert sealer is not None  # noqa: S101  # the caller has looked
    try:
        return resealed_category(name, snapshot.blobs[name], sealer)
    except (SealRefusedError, KeysetMissingError):
        return ()


def _publish(bench: Bench, snapshot: Snapshot, fresh: dict[str, tuple[bytes, ...]]) -> None:
    lease, applied = bench.keeper.lease, bench.applied
    if lease is None or applied is None:
        raise Stopped(Reason.NOT_LEADER, "the lease ended before what is served was sealed anew")
    was = applied.generation
    manifest = replace(
        snapshot.manifest,
        generation=Generation(was.era, was.depth, bench.take_serial(was.serial + 1)),
        epoch=lease.epoch,
        applied_at=bench.wall(),
        categories={
            **snapshot.manifest.categories,
            **{name: tuple(digest_of(blob) for blob in blobs) for name, blobs in fresh.items()},
        },
    )
    signed = manifest.sign(bench.signer)
    entry = LogEntry(
        kind="resealed",
        revision=manifest.revision,
        generation=str(manifest.generation),
        at=manifest.applied_at,
        reason="the key at rest was switched",
        author=manifest.author,
        holder=lease.holder,
        epoch=lease.epoch,
        changed=tuple(sorted(fresh)),
    )
    sealed_anew = replace(
        snapshot,
        manifest=manifest,
        signed=signed,
        blobs={**snapshot.blobs, **fresh},
        sealed_with={
            **snapshot.sealed_with,
            **{name: sealing_keys(name, blobs) for name, blobs in fresh.items()},
        },
    )
    try:
        bench.store.stage({digest_of(blob): blob for blobs in fresh.values() for blob in blobs})
        bench.store.publish(lease, signed, manifest.digests, entry, bench.pointer)
    except FencedError as error:
        bench.keeper.drop()
        raise Stopped(Reason.FENCED, str(error)) from error
    except StaleError as error:
        raise Stopped(Reason.STALE, str(error)) from error
    bench.pointer, bench.snapshot, bench.reserved = signed, sealed_anew, None
