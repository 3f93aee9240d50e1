"""Values files that SOPS encrypted, as far as they can be judged without a key: who reads them, what is in them.

Only age is read. The whole file is bound together by one MAC, so no value of it is served before that was checked by
whoever holds an identity; what SOPS leaves open (a file copied to another layer) stays open. No cryptography here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kemudi.schema.documents import JSON, Document
from kemudi.schema.envelope import Envelope, recipients_digest
from kemudi.schema.sentences import sentence

BLOCK: Final = "sops"
"""The top-level key that makes a values file one of SOPS."""

VALUE: Final = re.compile(
    r"ENC\[AES256_GCM,data:([A-Za-z0-9+/=]*),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:([a-z]+)\]",
    re.ASCII,
)

_OTHERS: Final = {
    "kms": "AWS KMS",
    "gcp_kms": "GCP KMS",
    "azure_kv": "Azure Key Vault",
    "hc_vault": "HashiCorp Vault",
    "hckms": "Huawei Cloud KMS",
    "pgp": "PGP",
    "key_groups": sentence("key groups (Shamir's secret sharing)"),
}
_EXTERNAL: Final = sentence(
    "only age is read: decrypt it with sops itself, then seal its secrets: "
    "sops decrypt FILE > PLAIN, `kemudi secret set` for each, delete PLAIN"
)


@dataclass(frozen=True, slots=True)
class SopsEnvelope(Envelope):
    """One setting of a SOPS file, encrypted or not: it is served after the MAC of its file was checked.

    `ciphertext` is the value as it stands in the file, as canonical JSON, so that a fingerprint tells two apart.

    Attributes:
        key: The setting.
        file: All bytes of the file.
    """

    key: str = ""
    file: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return f"ENC[sops,{self.fingerprint()}]"


@dataclass(frozen=True, slots=True)
class SopsBlock:
    """What the `sops:` block of a file says.

    Attributes:
        age: Public key and the data key sealed to it, armored.
        mac: Encrypted like a value.
        modified: Goes into the MAC as it is written.
        only_encrypted: Whether the MAC leaves plain values out.
    """

    age: tuple[tuple[str, str], ...]
    mac: str
    modified: str
    only_encrypted: bool

    @property
    def digest(self) -> str:
        """`recipients_digest` of the age keys."""
        return recipients_digest(key for key, _ in self.age)


class SopsError(ValueError):
    """A `sops:` block that is not read. The message says why; `hint` what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def is_sops(document: Document | None) -> bool:
    """Whether a values file is one of SOPS."""
    return document is not None and isinstance(document.values.get(BLOCK), dict)


def read_block(values: Mapping[str, JSON]) -> SopsBlock:
    """The block of a file's values. Raises SopsError for anything but age."""
    block = values.get(BLOCK)
    if not isinstance(block, dict):
        raise SopsError(sentence("there is no sops block"))
    others = [name for field_, name in _OTHERS.items() if block.get(field_)]
    if others or block.get("shamir_threshold"):
        raise SopsError(
            sentence(
                "the file is encrypted with %(others)s", others=", ".join(others) or _OTHERS["key_groups"]
            ),
            _EXTERNAL,
        )
    mac, modified = block.get("mac"), block.get("lastmodified")
    if not isinstance(mac, str) or not VALUE.fullmatch(mac) or not isinstance(modified, str):
        raise SopsError(
            sentence("the sops block has no mac, so nobody could tell whether the file was changed")
        )
    age = tuple(_age_keys(block.get("age")))
    if not age:
        raise SopsError(sentence("the sops block names no age recipient"), _EXTERNAL)
    return SopsBlock(age, mac, modified, block.get("mac_only_encrypted") is True)


def leaves(value: JSON, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], JSON]]:
    """Every scalar with the keys that lead to it, in the order of the file; a list adds nothing to the path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def holds_encrypted(value: JSON) -> bool:
    """Whether some part of a value is encrypted."""
    return any(is_encrypted(leaf) for _, leaf in leaves(value))


def is_encrypted(value: JSON) -> bool:
    """Whether a scalar is one that SOPS encrypted."""
    return isinstance(value, str) and VALUE.fullmatch(value) is not None


def envelope_of(document: Document, block: SopsBlock, key: str) -> SopsEnvelope:
    """One setting of a SOPS file."""
    text = json.dumps(document.values[key], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return SopsEnvelope("", block.digest, text.encode("utf-8", "surrogatepass"), key, document.data)


def stands_plain(value: JSON) -> bool:
    """Whether text of a value, or a number, stands in the file for all to read. SOPS leaves empty text as it is."""
    return any(leaf not in (None, "") and not is_encrypted(leaf) for _, leaf in leaves(value))


def _age_keys(listed: Any) -> Iterator[tuple[str, str]]:
    for each in listed if isinstance(listed, list) else ():
        if (
            isinstance(each, dict)
            and isinstance(each.get("recipient"), str)
            and isinstance(each.get("enc"), str)
        ):
            yield each["recipient"], each["enc"]
