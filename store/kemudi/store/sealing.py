"""Secrets at rest in the store: AES-256-GCM, a Tink keyset per category, each value bound to its place.

The daemon holds the keysets of every category, a service those of its own. The associated data names the
format, the config repo, environment, category, key and type, each with its length, so a sealed value opens
nowhere else. The plaintext is canonical JSON, padded with blanks to multiples of 64 bytes, so its length
does not show.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import orjson
import tink
from tink import aead, secret_key_access

from kemudi.store.errors import KeyFileRefusedError, KeysetMissingError, SealRefusedError
from kemudi.store.private_files import read_key_file, write_key_file
from kemudi.store.values import JSON, exact_json

FORMAT: Final = 1
_DOMAIN: Final = "kemudi sealed value, version 1"
_PAD: Final = 64
_KEY_ID_BYTES: Final = 5  # Tink's prefix of a ciphertext: one version byte, four of the key's id

aead.register()


@dataclass(frozen=True, slots=True)
class SealContext:
    """The place that a sealed value belongs to.

    Attributes:
        repo_id: The config repo.
        env: The environment.
        category: The category.
        key: The setting.
        type: The JSON Schema type that its contract names.
    """

    repo_id: str
    env: str
    category: str
    key: str
    type: str

    def associated_data(self) -> bytes:
        """Each part with its length before it: no two contexts share these bytes."""
        parts = (_DOMAIN, self.repo_id, self.env, self.category, self.key, self.type)
        encoded = [part.encode() for part in parts]
        return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


class Keyset:
    """The keys of one category: one seals, each of them opens. Immutable; never printed."""

    __slots__ = ("_aead", "_document", "_primary")

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Take Tink's JSON form of a keyset. Raises KeyFileRefusedError."""
        text = json.dumps(document)
        try:
            handle = tink.json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
            self._aead: Any = handle.primitive(aead.Aead)
            self._primary = b"\x01" + int(document["primaryKeyId"]).to_bytes(4, "big")
        except Exception:  # noqa: BLE001 - Tink and protobuf raise many types, and their texts may quote keys
            broken = True
        else:
            broken = False
        if broken:
            raise KeyFileRefusedError("a keyset is not a Tink AEAD keyset in JSON form")
        self._document = document

    @classmethod
    def generate(cls) -> Self:
        """A keyset of one new AES-256-GCM key."""
        handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        return cls(json.loads(tink.json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN)))

    def added(self) -> "Keyset":
        """With a new key that opens and does not seal yet: the first step of a rotation."""
        fresh = Keyset.generate().as_json()
        while f"{fresh['primaryKeyId']:08x}" in self.key_ids:
            fresh = Keyset.generate().as_json()
        return Keyset({**self._document, "key": [*self._document["key"], *fresh["key"]]})

    def switched(self) -> "Keyset":
        """With the newest key sealing from now on; what the older ones sealed still opens."""
        return Keyset({**self._document, "primaryKeyId": self._document["key"][-1]["keyId"]})

    def rotated(self) -> "Keyset":
        """With a new key that seals at once, for where nobody else reads."""
        return self.added().switched()

    def retired(self) -> "Keyset":
        """With only the key that seals: older ciphertexts open no more."""
        primary = self._document["primaryKeyId"]
        keys = [entry for entry in self._document["key"] if entry["keyId"] == primary]
        return Keyset({**self._document, "key": keys})

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The names of the keys, oldest first: 8 hex digits, in the clear in each ciphertext."""
        return tuple(f"{entry['keyId']:08x}" for entry in self._document["key"])

    @property
    def sealing_id(self) -> str:
        """The name of the key that seals now."""
        return f"{self._document['primaryKeyId']:08x}"

    def as_json(self) -> dict[str, Any]:
        """Tink's JSON form, keys in the clear: for the keyset file alone."""
        return dict(self._document)

    def seal(self, context: SealContext, plaintext: JSON) -> bytes:
        """Encrypt a JSON value for one place. Raises UsageError for what is not JSON."""
        text = orjson.dumps(exact_json(plaintext), option=orjson.OPT_SORT_KEYS)
        padded = text.ljust(-(-len(text) // _PAD) * _PAD)
        return bytes(self._aead.encrypt(padded, context.associated_data()))

    def open(self, context: SealContext, sealed: bytes) -> JSON:
        """The value that was sealed for this place. Raises SealRefusedError."""
        try:
            value: JSON = orjson.loads(self._aead.decrypt(sealed, context.associated_data()))
        except (tink.TinkError, orjson.JSONDecodeError):
            opened = False
        else:
            opened = True
        if not opened:
            raise SealRefusedError(
                f"the sealed value of {context.key!r} in {context.category!r} does not open here",
                hint="it was altered, moved from another place, or sealed with a key that this keyset lacks",
            )
        return value

    def is_current(self, sealed: bytes) -> bool:
        """Whether the key that seals now made this ciphertext."""
        return sealed[:_KEY_ID_BYTES] == self._primary

    def __repr__(self) -> str:
        return f"Keyset({len(self._document['key'])} keys)"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (repr(self),))


class KeysetBundle:
    """The keysets that one process holds, by category. Immutable; kept in a file of mode 0600."""

    __slots__ = ("_keysets",)

    def __init__(self, keysets: Mapping[str, Keyset]) -> None:
        self._keysets = MappingProxyType(dict(keysets))

    @classmethod
    def generate(cls, categories: Iterable[str]) -> Self:
        """A new keyset for each category."""
        return cls({category: Keyset.generate() for category in categories})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read the file. Raises KeyFileRefusedError."""
        path = Path(path)
        try:
            document = orjson.loads(read_key_file(path, private=True))
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("keysets"), dict):
            raise KeyFileRefusedError(f"{path} is not a keyset file")
        if document.get("format") != FORMAT:
            raise KeyFileRefusedError(f"{path} has a format that this kemudi does not read")
        return cls({str(category): Keyset(keyset) for category, keyset in document["keysets"].items()})

    def save(self, path: Path | str) -> None:
        """Write the file, mode 0600. Raises KeyFileRefusedError."""
        keysets = {category: keyset.as_json() for category, keyset in self._keysets.items()}
        document = {"format": FORMAT, "keysets": keysets}
        option = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        write_key_file(Path(path), orjson.dumps(document, option=option), private=True)

    def subset(self, categories: Collection[str]) -> "KeysetBundle":
        """What a service gets: the keysets of its categories. Raises KeysetMissingError."""
        return KeysetBundle({category: self.keyset(category) for category in categories})

    def extended(self, categories: Iterable[str]) -> "KeysetBundle":
        """With a new keyset for each category that has none."""
        missing = [category for category in categories if category not in self._keysets]
        return KeysetBundle({**self._keysets, **{category: Keyset.generate() for category in missing}})

    def with_keyset(self, category: str, keyset: Keyset) -> "KeysetBundle":
        """With this keyset for the category, such as a rotated one."""
        return KeysetBundle({**self._keysets, category: keyset})

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories whose secrets this process can open, sorted."""
        return tuple(sorted(self._keysets))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The names of all keys, each as `<category>:<8 hex>`, sorted."""
        return tuple(
            sorted(f"{category}:{name}" for category, keys in self._keysets.items() for name in keys.key_ids)
        )

    def keyset(self, category: str) -> Keyset:
        """The keyset of one category. Raises KeysetMissingError."""
        found = self._keysets.get(category)
        if found is None:
            raise KeysetMissingError(category)
        return found

    def __repr__(self) -> str:
        return f"KeysetBundle({', '.join(self.categories)})"


class Sealer:
    """Seals and opens the secrets of one environment of one config repo."""

    __slots__ = ("_bundle", "env", "repo_id")

    def __init__(self, bundle: KeysetBundle, *, repo_id: str, env: str) -> None:
        self._bundle = bundle
        self.repo_id = repo_id
        self.env = env

    def _context(self, category: str, key: str, type_: str) -> SealContext:
        return SealContext(self.repo_id, self.env, category, key, type_)

    def seal(self, category: str, key: str, type_: str, plaintext: JSON) -> bytes:
        """Encrypt one setting. Raises KeysetMissingError."""
        return self._bundle.keyset(category).seal(self._context(category, key, type_), plaintext)

    def open(self, category: str, key: str, type_: str, sealed: bytes) -> JSON:
        """Decrypt one setting. Raises KeysetMissingError, SealRefusedError."""
        return self._bundle.keyset(category).open(self._context(category, key, type_), sealed)

    def is_current(self, category: str, sealed: bytes) -> bool:
        """Whether the category's present key sealed it, or it is due for sealing anew."""
        return self._bundle.keyset(category).is_current(sealed)
