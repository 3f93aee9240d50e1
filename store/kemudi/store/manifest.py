"""The signed pointer to the current snapshot of one environment.

Wire form: one header line, then canonical JSON. The signature covers a domain prefix and every byte after the
header line, so nothing is parsed before it is verified, and `redis-cli GET` shows it readably::

    kemudi-manifest 1 <key id> <base64 signature>
    {"applied_at":…,"categories":{"sync":["<sha256>"]},"env":"prod","generation":"0.12.0",…,"version":1}
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

import orjson

from kemudi.schema.errors import UsageError
from kemudi.schema.generation import Generation
from kemudi.store.errors import ManifestRefusedError
from kemudi.store.keys import is_digest
from kemudi.store.signing import SigningKey, VerifyKeys

VERSION: Final = 1
MAX_BYTES: Final = 16 * 1024 * 1024
_DOMAIN: Final = b"kemudi signed manifest, version 1\x00"
_HEADER: Final = re.compile(rb"kemudi-manifest ([0-9]{1,6}) ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)")
_UPGRADE: Final = "upgrade kemudi in this process; until then it keeps what it has"


def _refused_format(detail: str) -> ManifestRefusedError:
    return ManifestRefusedError(f"the manifest in the store is malformed: {detail}", reason="format")


def signed_text(payload: bytes, key: SigningKey, version: int = VERSION) -> bytes:
    """The wire form of a payload: its header line with the signature, then itself."""
    signature = b64encode(key.sign(_DOMAIN + payload)).decode()
    return f"kemudi-manifest {version} {key.key_id} {signature}\n".encode() + payload


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is current, where it comes from, and the digests that prove it.

    Attributes:
        repo_id: The config repo's own id, from its `kemudi.yaml`.
        env: The environment.
        generation: The snapshot's place in order.
        epoch: The fencing token of the leader that published it.
        revision: Full commit SHA, or `worktree@<12 hex>`.
        author: Who made the revision, as git says.
        committed_at: RFC 3339, UTC.
        applied_at: RFC 3339, UTC.
        categories: Each category's blobs in order, by SHA-256 in hex.
        settings: How many settings the snapshot holds.
        version: Of this format.
    """

    repo_id: str
    env: str
    generation: Generation
    epoch: int
    revision: str
    author: str
    committed_at: str
    applied_at: str
    categories: Mapping[str, tuple[str, ...]]
    settings: int
    version: int = field(default=VERSION)

    @property
    def digests(self) -> frozenset[str]:
        """Every blob that the snapshot needs."""
        return frozenset(digest for digests in self.categories.values() for digest in digests)

    def sign(self, key: SigningKey) -> bytes:
        """The wire form; equal input gives equal bytes. Raises UsageError for a malformed field."""
        payload = orjson.dumps(self._document(), option=orjson.OPT_SORT_KEYS)
        try:
            self._from_document(orjson.loads(payload))
        except ManifestRefusedError as error:
            raise UsageError(f"this manifest cannot be signed: {error}") from None
        return signed_text(payload, key)

    @classmethod
    def verify(cls, data: bytes, keys: VerifyKeys, *, env: str, repo_id: str | None = None) -> Self:
        """Read the wire form, trusting nothing before its signature. Raises ManifestRefusedError.

        Args:
            data: The bytes from the store.
            keys: The pinned keys; a signature by any of them counts.
            env: The environment that the caller reads.
            repo_id: The config repo that it must come from, where the caller knows it.
        """
        payload, version, key_id, signature = cls._split(data)
        if version != VERSION:
            raise ManifestRefusedError(
                f"the manifest in the store has format {version}, this process reads {VERSION}",
                reason="version",
                hint=_UPGRADE,
            )
        if not keys.verifies(key_id, signature, _DOMAIN + payload):
            known = "with a wrong signature" if key_id in keys.ids else f"by an unknown key {key_id}"
            raise ManifestRefusedError(
                f"the manifest in the store is signed {known}",
                reason="signature",
                hint="compare the pinned verify key (KEMUDI_VERIFY_KEY) with the daemon's",
            )
        manifest = cls._parsed(payload)
        manifest.require_place(env, repo_id)
        return manifest

    @classmethod
    def unverified(cls, data: bytes) -> Self | None:
        """What the bytes claim, for finding the blobs they name. Never serve from it. None if malformed."""
        try:
            return cls._parsed(cls._split(data)[0])
        except ManifestRefusedError:
            return None

    @staticmethod
    def _split(data: bytes) -> tuple[bytes, int, str, bytes]:
        if len(data) > MAX_BYTES:
            raise _refused_format("too large")
        header, _, payload = data.partition(b"\n")
        found = _HEADER.fullmatch(header)
        if found is None:
            raise _refused_format("no header")
        version, key_id, signature = found.groups()
        try:
            return payload, int(version), key_id.decode(), b64decode(signature, validate=True)
        except ValueError:
            raise _refused_format("no signature") from None

    @classmethod
    def _parsed(cls, payload: bytes) -> Self:
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise _refused_format("not a JSON object")
        if document.get("version") != VERSION:
            raise ManifestRefusedError(
                "the manifest in the store has a newer version than this process reads",
                reason="version",
                hint=_UPGRADE,
            )
        return cls._from_document(document)

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Self:
        texts = ("repo_id", "env", "revision", "author", "committed_at", "applied_at")
        numbers = ("epoch", "settings")
        for name in texts:
            if not isinstance(document.get(name), str):
                raise _refused_format(f"no text in {name}")
        for name in numbers:
            if type(document.get(name)) is not int or document[name] < 0:
                raise _refused_format(f"no number in {name}")
        try:
            generation = Generation.parse(document["generation"])
        except (KeyError, TypeError, ValueError):
            raise _refused_format("no generation") from None
        return cls(
            **{name: document[name] for name in (*texts, *numbers)},
            generation=generation,
            categories=cls._categories(document.get("categories")),
        )

    @staticmethod
    def _categories(value: object) -> Mapping[str, tuple[str, ...]]:
        if not isinstance(value, dict):
            raise _refused_format("no categories")
        for digests in value.values():
            if not isinstance(digests, list) or not digests:
                raise _refused_format("a category without blobs")
            if not all(isinstance(digest, str) and is_digest(digest) for digest in digests):
                raise _refused_format("a blob that is not named by a digest")
        return MappingProxyType({name: tuple(digests) for name, digests in value.items()})

    def require_place(self, env: str, repo_id: str | None) -> None:
        """Raise ManifestRefusedError unless it belongs to this environment and, if known, config repo."""
        if self.env != env:
            raise ManifestRefusedError(
                f"the manifest in the store is of another environment than {env!r}", reason="environment"
            )
        if repo_id is not None and self.repo_id != repo_id:
            raise ManifestRefusedError(
                "the manifest in the store comes from another config repo", reason="repository"
            )

    def _document(self) -> dict[str, Any]:
        return {
            "applied_at": self.applied_at,
            "author": self.author,
            "categories": {name: list(digests) for name, digests in self.categories.items()},
            "committed_at": self.committed_at,
            "env": self.env,
            "epoch": self.epoch,
            "generation": str(self.generation),
            "repo_id": self.repo_id,
            "revision": self.revision,
            "settings": self.settings,
            "version": self.version,
        }
