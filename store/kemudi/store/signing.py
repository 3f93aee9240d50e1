"""Ed25519 keys: the daemon signs with one, readers pin the public halves of those they trust."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kemudi.store.errors import KeyFileRefusedError
from kemudi.store.private_files import read_key_file, write_key_file

_RAW_BYTES: Final = 32
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _key_id(public: Ed25519PublicKey) -> str:
    return sha256(b"kemudi verify key\x00" + _raw(public)).hexdigest()[:16]


class VerifyKeys:
    """One or more pinned public keys. A signature by any of them counts, so keys rotate with overlap."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys: Mapping[str, Ed25519PublicKey] = MappingProxyType({_key_id(key): key for key in keys})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read one or more PEM public keys, or one raw key of 32 bytes. Raises KeyFileRefusedError."""
        path = Path(path)
        data = read_key_file(path, private=False)
        if len(data) == _RAW_BYTES:
            return cls([Ed25519PublicKey.from_public_bytes(data)])
        blocks = [match.group(0) for match in _PEM.finditer(data)]
        keys = [cls._public(path, block) for block in blocks]
        if not keys:
            raise KeyFileRefusedError(f"no Ed25519 public key in {path}")
        return cls(keys)

    @staticmethod
    def _public(path: Path, block: bytes) -> Ed25519PublicKey:
        try:
            key = serialization.load_pem_public_key(block)
        except Exception:  # noqa: BLE001 - the parser raises many types, and their texts may quote the file
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileRefusedError(f"{path} holds something other than Ed25519 public keys")
        return key

    def save(self, path: Path | str) -> None:
        """Write every key as PEM, mode 0644. Raises KeyFileRefusedError."""
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        data = b"".join(key.public_bytes(*form) for key in self._keys.values())
        write_key_file(Path(path), data, private=False)

    def merged(self, other: "VerifyKeys") -> "VerifyKeys":
        """The keys of both, for a rotation with overlap."""
        return VerifyKeys([*self.public_keys, *other.public_keys])

    @property
    def public_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """The pinned keys."""
        return tuple(self._keys.values())

    @property
    def ids(self) -> frozenset[str]:
        """The short names of the pinned keys."""
        return frozenset(self._keys)

    def verifies(self, key_id: str, signature: bytes, message: bytes) -> bool:
        """Whether the pinned key of that name made the signature over exactly this message."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __repr__(self) -> str:
        return f"VerifyKeys({', '.join(sorted(self._keys))})"


class SigningKey:
    """The daemon's private key. Never printed; kept in a file of mode 0600."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = _key_id(key.public_key())

    @classmethod
    def generate(cls) -> Self:
        """A new key from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a PKCS #8 PEM or 32 raw bytes from a file of mode 0600. Raises KeyFileRefusedError."""
        path = Path(path)
        data = read_key_file(path, private=True)
        try:
            if len(data) == _RAW_BYTES:
                return cls(Ed25519PrivateKey.from_private_bytes(data))
            key = serialization.load_pem_private_key(data, password=None)
        except Exception:  # noqa: BLE001 - the parser raises many types, and their texts may quote the file
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileRefusedError(f"{path} is no unencrypted Ed25519 private key (PEM or 32 raw bytes)")
        return cls(key)

    def save(self, path: Path | str) -> None:
        """Write PKCS #8 PEM, mode 0600. Raises KeyFileRefusedError."""
        data = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_key_file(Path(path), data, private=True)

    def verify_keys(self) -> VerifyKeys:
        """The public half, to pin in readers."""
        return VerifyKeys([self._key.public_key()])

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature. Callers put their domain into the message."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (repr(self),))
