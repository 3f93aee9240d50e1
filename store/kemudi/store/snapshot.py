"""A category as immutable bytes: what is written, what is verified, what is read back.

A blob is canonical JSON `{"category","defaults","restart","sealed":{key:[type,base64]},"values"}`,
compressed above 16 KiB and named by the SHA-256 of its stored bytes. A category of more than 5,000 settings
is split by a hash of the key, so that a changed setting rewrites one blob and an added one does not shift
its neighbours.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Protocol
from zlib import crc32

import orjson
import zstandard

from kemudi.schema.errors import UsageError
from kemudi.schema.secret import Secret
from kemudi.store.errors import SealRefusedError, SnapshotRefusedError
from kemudi.store.values import JSON, exact_json

COMPRESS_ABOVE_BYTES: Final = 16 * 1024
MAX_BLOB_BYTES: Final = 64 * 1024 * 1024
SETTINGS_PER_BLOB: Final = 5_000
_SPLIT_FILL: Final = 4_000  # on average, so that an unlucky part stays below SETTINGS_PER_BLOB
_LEVEL: Final = 3
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_PARTS: Final = frozenset({"category", "defaults", "restart", "sealed", "values"})


class SecretSealer(Protocol):
    """What encoding needs to seal; `kemudi.store.sealing.Sealer` is one."""

    def seal(self, category: str, key: str, type_: str, plaintext: JSON) -> bytes:
        """Encrypt one setting."""

    def is_current(self, category: str, sealed: bytes) -> bool:
        """Whether the present key sealed it."""

    def open(self, category: str, key: str, type_: str, sealed: bytes) -> JSON:
        """Decrypt one setting."""


class SecretOpener(Protocol):
    """What reading needs to open secrets."""

    def open(self, category: str, key: str, type_: str, sealed: bytes) -> JSON:
        """Decrypt one setting."""


@dataclass(frozen=True, slots=True)
class Category:
    """One category of one environment, resolved.

    Attributes:
        name: The category.
        values: What a layer sets.
        defaults: The contract's defaults of settings that no layer sets.
        secrets: Sensitive settings: type and plaintext.
        restart: Settings that take effect when a process restarts.
    """

    name: str
    values: Mapping[str, JSON]
    defaults: Mapping[str, JSON]
    secrets: Mapping[str, tuple[str, Secret[Any]]]
    restart: frozenset[str]


@dataclass(frozen=True, slots=True)
class EncodedCategory:
    """A category as read back: its secrets still sealed.

    Attributes:
        name: The category.
        values: What a layer sets.
        defaults: The contract's defaults of the other settings.
        sealed: Sensitive settings: type and ciphertext.
        restart: Settings that take effect when a process restarts.
    """

    name: str
    values: Mapping[str, JSON]
    defaults: Mapping[str, JSON]
    sealed: Mapping[str, tuple[str, bytes]] = field(repr=False)
    restart: frozenset[str]


def digest_of(blob: bytes) -> str:
    """The name of a blob: the SHA-256 of its stored bytes in hex."""
    return sha256(blob).hexdigest()


def require_digests(blobs: Mapping[str, bytes]) -> None:
    """Raise UsageError unless every blob has the name that its bytes give it."""
    if any(digest_of(data) != digest for digest, data in blobs.items()):
        raise UsageError("a blob is staged under the SHA-256 of its bytes")


def encode_category(
    category: Category, sealer: SecretSealer | None, previous: Sequence[bytes] = ()
) -> tuple[bytes, ...]:
    """The blobs of a category, at least one. Equal input gives equal bytes.

    Args:
        category: What to encode.
        sealer: Seals the secrets; None where the category has none.
        previous: The category's blobs as published before: a secret whose plaintext is unchanged keeps its
            ciphertext.

    Raises:
        UsageError: A value is not JSON, a key stands twice, or a blob gets too large.
        KeysetMissingError: The category holds secrets and has no keyset.
    """
    _require_disjoint(category)
    sealed = _sealed(category, sealer, previous) if category.secrets else {}
    buckets = _buckets(category, sealed)
    return tuple(_packed(category.name, bucket) for bucket in buckets)


def decode_category(name: str, blobs: Sequence[bytes]) -> EncodedCategory:
    """Read a category's blobs, whose digests the caller has checked. Raises SnapshotRefusedError."""
    if not blobs:
        raise SnapshotRefusedError(f"the category {name!r} has no blobs")
    documents = [_document(name, blob) for blob in blobs]
    first, *others = documents
    values, defaults, sealed = first["values"], first["defaults"], dict(first["sealed"])
    restart = list(first["restart"])
    expected = len(values) + len(defaults) + len(sealed)
    for other in others:
        expected += len(other["values"]) + len(other["defaults"]) + len(other["sealed"])
        values.update(other["values"])
        defaults.update(other["defaults"])
        sealed.update(other["sealed"])
        restart += other["restart"]
    if len(values) + len(defaults) + len(sealed) != expected:
        raise SnapshotRefusedError(f"the category {name!r} holds a setting twice")
    opened = {key: _ciphertext(name, item) for key, item in sealed.items()}
    return EncodedCategory(name, values, defaults, opened, frozenset(restart))


def load_category(name: str, digests: Sequence[str], blobs: Mapping[str, bytes]) -> EncodedCategory:
    """Verify each blob, then decode. Raises SnapshotRefusedError, also for a missing blob."""
    for digest in digests:
        blob = blobs.get(digest)
        if blob is None:
            raise SnapshotRefusedError(f"a blob of the category {name!r} is not in the store")
        if sha256(blob).hexdigest() != digest:
            raise SnapshotRefusedError(f"a blob of the category {name!r} is not what its digest says")
    return decode_category(name, [blobs[digest] for digest in digests])


def resealed_category(name: str, blobs: Sequence[bytes], sealer: SecretSealer) -> tuple[bytes, ...]:
    """The same category, what an older key had sealed sealed anew. A blob without such a value stays as it is.

    Raises SnapshotRefusedError for bytes that are no category, SealRefusedError for a value that does not open,
    KeysetMissingError.
    """
    return tuple(_resealed(name, blob, sealer) for blob in blobs)


def sealing_keys(name: str, blobs: Sequence[bytes]) -> tuple[str, ...]:
    """The names of the keys that a category's secrets are sealed with. Raises SnapshotRefusedError."""
    sealed = decode_category(name, blobs).sealed.values()
    # Tink's prefix of a ciphertext: one version byte, four of the key's id.
    return tuple(sorted({ciphertext[1:5].hex() for _, ciphertext in sealed}))


def _resealed(name: str, blob: bytes, sealer: SecretSealer) -> bytes:
    document = _document(name, blob)
    sealed = {key: _ciphertext(name, item) for key, item in document["sealed"].items()}
    stale = {key: item for key, item in sealed.items() if not sealer.is_current(name, item[1])}
    if not stale:
        return blob
    anew = {
        key: [type_, b64encode(sealer.seal(name, key, type_, sealer.open(name, key, type_, old))).decode()]
        for key, (type_, old) in stale.items()
    }
    bucket = {part: document[part] for part in _PARTS - {"category"}}
    return _packed(name, {**bucket, "sealed": {**document["sealed"], **anew}})


def open_secrets(encoded: EncodedCategory, opener: SecretOpener) -> dict[str, Secret[JSON]]:
    """Every secret of a category. Raises KeysetMissingError, SealRefusedError."""
    return {
        key: Secret(opener.open(encoded.name, key, type_, sealed))
        for key, (type_, sealed) in encoded.sealed.items()
    }


def _require_disjoint(category: Category) -> None:
    count = len(category.values) + len(category.defaults) + len(category.secrets)
    if len({*category.values, *category.defaults, *category.secrets}) != count:
        raise UsageError(f"the category {category.name!r} has a setting with two values")


def _sealed(
    category: Category, sealer: SecretSealer | None, previous: Sequence[bytes]
) -> dict[str, tuple[str, bytes]]:
    if sealer is None:
        raise UsageError(
            f"the category {category.name!r} holds secrets and there is nothing to seal them with"
        )
    before = _previous(category.name, previous)
    return {
        key: (
            type_,
            _kept(category.name, key, type_, secret, sealer, before)
            or sealer.seal(category.name, key, type_, secret.reveal()),
        )
        for key, (type_, secret) in category.secrets.items()
    }


def _previous(name: str, blobs: Sequence[bytes]) -> Mapping[str, tuple[str, bytes]]:
    """The ciphertexts published before; a damaged blob only costs sealing anew."""
    try:
        return decode_category(name, blobs).sealed if blobs else {}
    except SnapshotRefusedError:
        return {}


def _kept(
    category: str,
    key: str,
    type_: str,
    secret: Secret[Any],
    sealer: SecretSealer,
    before: Mapping[str, tuple[str, bytes]],
) -> bytes | None:
    """The ciphertext of before, if it holds this plaintext under the present key."""
    type_before, ciphertext = before.get(key, ("", b""))
    if type_before != type_ or not sealer.is_current(category, ciphertext):
        return None
    try:
        plaintext = sealer.open(category, key, type_, ciphertext)
    except SealRefusedError:
        return None
    return ciphertext if Secret(_canonical(plaintext)) == Secret(_canonical(secret.reveal())) else None


def _canonical(value: Any) -> bytes:
    return orjson.dumps(exact_json(value), option=orjson.OPT_SORT_KEYS)


def _buckets(category: Category, sealed: Mapping[str, tuple[str, bytes]]) -> list[dict[str, Any]]:
    count = len(category.values) + len(category.defaults) + len(sealed)
    parts = 1
    while count > SETTINGS_PER_BLOB and count > parts * _SPLIT_FILL:
        parts *= 2
    buckets: list[dict[str, Any]] = [
        {"defaults": {}, "restart": [], "sealed": {}, "values": {}} for _ in range(parts)
    ]

    def bucket(key: str) -> dict[str, Any]:
        return buckets[crc32(key.encode("utf-8", "surrogatepass")) % parts if parts > 1 else 0]

    for key, value in category.values.items():
        bucket(key)["values"][key] = exact_json(value)
    for key, value in category.defaults.items():
        bucket(key)["defaults"][key] = exact_json(value)
    for key, (type_, ciphertext) in sealed.items():
        bucket(key)["sealed"][key] = [type_, b64encode(ciphertext).decode()]
    for key in sorted(category.restart):
        bucket(key)["restart"].append(key)
    return buckets


def _packed(name: str, bucket: dict[str, Any]) -> bytes:
    try:
        text = orjson.dumps({"category": name, **bucket}, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        text = None
    if text is None:
        raise UsageError(f"a setting of the category {name!r} cannot be written as JSON")
    if len(text) > MAX_BLOB_BYTES:
        raise UsageError(f"the category {name!r} is larger than {MAX_BLOB_BYTES} bytes")
    return (
        text if len(text) <= COMPRESS_ABOVE_BYTES else zstandard.ZstdCompressor(level=_LEVEL).compress(text)
    )


def _document(name: str, blob: bytes) -> dict[str, Any]:
    text = _unpacked(name, blob)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or not document.keys() >= _PARTS or document["category"] != name:
        raise SnapshotRefusedError(f"a blob of the category {name!r} is malformed")
    maps = (document["values"], document["defaults"], document["sealed"])
    if not all(isinstance(part, dict) for part in maps) or not _is_names(document["restart"]):
        raise SnapshotRefusedError(f"a blob of the category {name!r} is malformed")
    return document


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _unpacked(name: str, blob: bytes) -> bytes:
    """The JSON text. A frame must say its size beforehand, so that a bomb is refused before it is opened."""
    if len(blob) > MAX_BLOB_BYTES:
        raise SnapshotRefusedError(f"a blob of the category {name!r} is too large")
    if not blob.startswith(_ZSTD_MAGIC):
        return blob
    try:
        size = zstandard.get_frame_parameters(blob).content_size
        if size <= MAX_BLOB_BYTES:  # an unknown size is the largest number there is
            return zstandard.ZstdDecompressor().decompress(blob, allow_extra_data=False)
    except zstandard.ZstdError:
        raise SnapshotRefusedError(f"a blob of the category {name!r} is malformed") from None
    raise SnapshotRefusedError(f"a blob of the category {name!r} is too large")


def _ciphertext(name: str, item: object) -> tuple[str, bytes]:
    match item:
        case [str(type_), str(text)]:
            try:
                return type_, b64decode(text, validate=True)
            except ValueError:
                pass
    raise SnapshotRefusedError(f"a sealed value of the category {name!r} is malformed")


def settings_in(categories: Iterable[Category]) -> int:
    """How many settings a snapshot of these categories holds."""
    return sum(len(item.values) + len(item.defaults) + len(item.secrets) for item in categories)
