"""What differs between the store and what was published: a pure function of both."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from kemudi.store.errors import SnapshotRefusedError
from kemudi.store.manifest import Manifest
from kemudi.store.snapshot import EncodedCategory, decode_category, digest_of
from kemudi.store.values import DriftItem


@dataclass(frozen=True, slots=True)
class ObservedBlob:
    """A blob as found.

    Attributes:
        data: Its bytes, None for a missing one or another type of key.
        expires: It has an expiry, so it will be missing soon.
    """

    data: bytes | None
    expires: bool


def drift_order(item: DriftItem) -> tuple[str, str, str]:
    """The manifest and the log first, then by category and key."""
    return item.category or "", item.key or "", item.kind


def manifest_drift(expected: bytes, observed: bytes | None) -> Iterator[DriftItem]:
    """How the pointer differs."""
    if observed is None:
        yield DriftItem(None, None, "manifest-missing")
    elif observed != expected:
        yield DriftItem(None, None, "manifest-altered")


def log_drift(kind: str) -> Iterator[DriftItem]:
    """How the log differs, from the type of its key."""
    if kind == "none":
        yield DriftItem(None, None, "log-missing")
    elif kind != "stream":
        yield DriftItem(None, None, "log-altered")


def owners(expected: bytes, digests: Collection[str]) -> dict[str, str]:
    """Each blob's category, as the published manifest says; "" for a blob that it does not name."""
    manifest = Manifest.unverified(expected)
    named = {} if manifest is None else manifest.categories
    found = {digest: category for category, items in named.items() for digest in items}
    return found | {digest: "" for digest in digests if digest not in found}


def blob_drift(
    category: str, digest: str, observed: ObservedBlob, published: Collection[str] | Mapping[str, bytes]
) -> Iterator[DriftItem]:
    """How one blob differs; the settings by name where both contents can be read."""
    if observed.data is None:
        yield DriftItem(category, None, "blob-missing")
        return
    if digest_of(observed.data) != digest:
        before = published.get(digest) if isinstance(published, Mapping) else None
        yield from _altered(category, before, observed.data)
    if observed.expires:
        yield DriftItem(category, None, "blob-expiring")


def _altered(category: str, before: bytes | None, after: bytes) -> Iterator[DriftItem]:
    items: list[DriftItem] = []
    if before is not None:
        try:
            old, new = decode_category(category, [before]), decode_category(category, [after])
        except SnapshotRefusedError:
            pass
        else:
            items = list(_settings(category, old, new))
    yield from items or [DriftItem(category, None, "blob-altered")]


def _settings(category: str, old: EncodedCategory, new: EncodedCategory) -> Iterator[DriftItem]:
    before, after = _flat(old), _flat(new)
    for key in sorted(before.keys() | after.keys()):
        if key not in after:
            yield DriftItem(category, key, "setting-removed")
        elif key not in before:
            yield DriftItem(category, key, "setting-added")
        elif before[key] != after[key]:
            yield DriftItem(category, key, "setting-altered")


def _flat(category: EncodedCategory) -> dict[str, str]:
    """Each setting with all that is said of it, in a form where 1, 1.0 and true differ."""
    parts = {
        "value": category.values,
        "default": category.defaults,
        "sealed": category.sealed,
    }
    flat = {key: f"{part} {value!r}" for part, items in parts.items() for key, value in items.items()}
    return {key: f"{text} restart={key in category.restart}" for key, text in flat.items()}
