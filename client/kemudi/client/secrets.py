"""Opening sealed settings, when they are read and not before."""

from typing import Any

from kemudi.client.errors import SecretUnreadableError
from kemudi.client.frozen import freeze
from kemudi.client.keyfiles import KeyFile
from kemudi.client.snapshot import Sealed, Snapshot
from kemudi.schema.secret import Secret
from kemudi.store.errors import KeysetMissingError, SealRefusedError
from kemudi.store.sealing import KeysetBundle, Sealer


class SecretReader:
    """Opens secrets with the keysets of this process.

    Args:
        keysets: The keyset file. It is read again when a secret does not open and the file was replaced.
    """

    __slots__ = ("_keysets",)

    def __init__(self, keysets: KeyFile[KeysetBundle]) -> None:
        self._keysets = keysets

    def open(self, snapshot: Snapshot, category: str, key: str, sealed: Sealed) -> Secret[Any]:
        """The secret. Raises SecretUnreadableError."""
        while True:
            try:
                return self._opened(snapshot, category, key, sealed)
            except SecretUnreadableError:
                if not self._keysets.reload():
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
        sealer = Sealer(keysets, repo_id=snapshot.repo_id, env=snapshot.env)
        try:
            return Secret(freeze(sealer.open(category, key, sealed.type, sealed.ciphertext)))
        except KeysetMissingError:
            why = f"its keyset file covers {', '.join(keysets.categories) or 'no category'}"
        except SealRefusedError:
            why = "no key of its keyset fits"
        raise SecretUnreadableError(key, category, why)
