"""Opening sealed settings, when they are read and not before."""

from typing import Any, Final

from kemudi.client.errors import SecretUnreadableError
from kemudi.client.frozen import freeze
from kemudi.client.snapshot import Sealed, Snapshot
from kemudi.schema.secret import Secret
from kemudi.store.errors import KeysetMissingError, SealRefusedError
from kemudi.store.keyfiles import KeyFile
from kemudi.store.sealing import KeysetBundle, Sealer

_KEPT: Final = 3


class SecretReader:
    """Opens secrets with the keysets of this process.

    Keysets that this process held before are kept in memory: a view that was taken before a rotation can still be read
    after it.

    Args:
        keysets: The keyset file. It is read again when it was replaced: by `refresh`, or when a secret does not open.
    """

    __slots__ = ("_before", "_keysets")

    def __init__(self, keysets: KeyFile[KeysetBundle]) -> None:
        self._keysets = keysets
        self._before: tuple[KeysetBundle, ...] = ()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys of the file as it was read last, each as `<category>:<8 hex>`."""
        keysets = self._keysets.value
        return () if keysets is None else keysets.key_ids

    def refresh(self) -> bool:
        """Read the file again if it was replaced. True when there are other keysets now. One caller at a time."""
        before = self._keysets.value
        if not self._keysets.reload():
            return False
        if before is not None:
            self._before = (before, *self._before)[:_KEPT]
        return True

    def open(self, snapshot: Snapshot, category: str, key: str, sealed: Sealed) -> Secret[Any]:
        """The secret. Raises SecretUnreadableError."""
        while True:
            try:
                return self._opened(snapshot, category, key, sealed)
            except SecretUnreadableError:
                if not self.refresh():
                    raise

    def try_open(self, snapshot: Snapshot, category: str, key: str, sealed: Sealed) -> Secret[Any] | None:
        """The secret, None where it cannot be opened."""
        try:
            return self.open(snapshot, category, key, sealed)
        except SecretUnreadableError:
            return None

    def _opened(self, snapshot: Snapshot, category: str, key: str, sealed: Sealed) -> Secret[Any]:
        keysets = self._keysets.value
        if keysets is None:
            raise SecretUnreadableError(key, category, "it has no keyset")
        for bundle in (keysets, *self._before):
            sealer = Sealer(bundle, repo_id=snapshot.repo_id, env=snapshot.env)
            try:
                return Secret(freeze(sealer.open(category, key, sealed.type, sealed.ciphertext)))
            except (KeysetMissingError, SealRefusedError):
                continue
        if category in keysets.categories:
            raise SecretUnreadableError(key, category, "no key of its keyset fits")
        covered = ", ".join(keysets.categories) or "no category"
        raise SecretUnreadableError(key, category, f"its keyset file covers {covered}")
