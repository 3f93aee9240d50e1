"""From a store to a snapshot: verify the manifest, fetch what changed, verify each blob, decode.

Nothing unverified gets past this module. It keeps no snapshot: the caller says what it has.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from kemudi.client.snapshot import CategoryData, Snapshot, Source
from kemudi.schema.errors import RefusedError
from kemudi.store.base import SnapshotReader
from kemudi.store.errors import ManifestRefusedError, RefusalReason, SnapshotRefusedError
from kemudi.store.keyfiles import KeyFile
from kemudi.store.manifest import Manifest
from kemudi.store.signing import VerifyKeys
from kemudi.store.snapshot import load_category

TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.02

Reason: TypeAlias = RefusalReason | Literal["missing", "generation", "blob"]
Fetch: TypeAlias = Callable[[Collection[str]], Mapping[str, bytes]]


class LoadRefusedError(RefusedError):
    """What is in the store cannot be trusted or used. What is in memory stays served.

    Attributes:
        reason: For the counters.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Loaded:
    """A verified snapshot, and the blobs that were fetched for it, by digest."""

    snapshot: Snapshot
    fetched: Mapping[str, bytes]


class SnapshotLoader:
    """Reads one environment.

    Args:
        env: The environment.
        verify: The pinned public keys; the file is read again when a signature is by an unknown key.
        categories: The categories to load, None for all.
        declared: Defaults that this process declares, by category.
    """

    def __init__(
        self,
        env: str,
        verify: KeyFile[VerifyKeys],
        *,
        categories: Collection[str] | None,
        declared: Mapping[str, CategoryData],
    ) -> None:
        self._env = env
        self._verify = verify
        self._categories = None if categories is None else frozenset(categories)
        self._declared = declared

    def load(self, store: SnapshotReader, have: Snapshot, refused: Snapshot | None = None) -> Loaded | None:
        """What the store has now, None when that is what the caller serves.

        A blob can go while it is fetched, because a newer snapshot replaced it: the manifest is read again.

        Args:
            store: Where to look.
            have: What the caller serves.
            refused: What it loaded before and did not serve; returned without fetching while it is current.

        Raises:
            LoadRefusedError: The manifest or a blob cannot be used, or there is none.
            StoreUnavailableError, StoreRefusedError: From the store.
        """
        known = [have] if refused is None else [have, refused]
        for tries_left in reversed(range(TRIES)):
            signed = store.current()
            if signed is None:
                raise LoadRefusedError(f"nothing is published for the environment {self._env!r}", "missing")
            if signed == have.signed:
                return None
            if refused is not None and signed == refused.signed:
                return Loaded(refused, {})
            try:
                return self.assemble(self.verified(signed, have), signed, known, store.blobs, "redis")
            except SnapshotRefusedError as error:
                if not tries_left:
                    raise LoadRefusedError(str(error), "blob") from None
                time.sleep(_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    def verified(self, signed: bytes, have: Snapshot) -> Manifest:
        """The manifest, if it may follow what the caller has. Raises LoadRefusedError."""
        try:
            manifest = self._signed_by_pinned(signed, have.repo_id or None)
        except ManifestRefusedError as error:
            raise LoadRefusedError(str(error), error.reason) from None
        if have.generation is not None and manifest.generation < have.generation:
            raise LoadRefusedError(
                f"generation {manifest.generation} is older than {have.generation}, which is served",
                "generation",
            )
        return manifest

    def assemble(
        self, manifest: Manifest, signed: bytes, known: Sequence[Snapshot], fetch: Fetch, source: Source
    ) -> Loaded:
        """The snapshot of a manifest, unchanged categories taken over. Raises SnapshotRefusedError."""
        wanted = {
            name: digests
            for name, digests in manifest.categories.items()
            if self._categories is None or name in self._categories
        }
        kept = {name: _unchanged(name, digests, known) for name, digests in wanted.items()}
        needed = {digest for name, digests in wanted.items() if kept[name] is None for digest in digests}
        blobs = fetch(needed) if needed else {}
        categories: dict[str, CategoryData] = {}
        for name, digests in wanted.items():
            categories[name] = kept[name] or CategoryData.decoded(
                load_category(name, digests, blobs), digests, self._declared.get(name)
            )
        for name, declared in self._declared.items():
            categories.setdefault(name, declared)
        snapshot = Snapshot(
            repo_id=manifest.repo_id,
            env=self._env,
            revision=manifest.revision,
            generation=manifest.generation,
            source=source,
            categories=categories,
            signed=signed,
        )
        return Loaded(snapshot, blobs)

    def _signed_by_pinned(self, signed: bytes, repo_id: str | None) -> Manifest:
        while True:
            keys = self._verify.value or VerifyKeys([])
            try:
                return Manifest.verify(signed, keys, env=self._env, repo_id=repo_id)
            except ManifestRefusedError as error:
                if error.reason != "signature" or not self._verify.reload():
                    raise


def _unchanged(name: str, digests: tuple[str, ...], known: Sequence[Snapshot]) -> CategoryData | None:
    """The category as some known snapshot has it, if it was read from these very blobs."""
    for snapshot in known:
        category = snapshot.categories.get(name)
        if category is not None and category.digests == digests:
            return category
    return None
