"""The text of a sealed value, and what can be said of it without any key.

`ENC[kemudi:v1,at=<8 hex>,rs=<8 hex>,<base64 of a binary age file>]`: `at` is the digest of the place that the value
was sealed for, `rs` that of the recipients. Both stand in the clear, so a copied or stale ciphertext is found by
whoever holds no key; what is inside the age file decides after it was opened. No cryptography here.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from kemudi.schema.documents import JSON
from kemudi.schema.sentences import sentence

PREFIX: Final = "ENC["
PADDING: Final = 64
"""Payloads are padded to a multiple of this many bytes, so that a ciphertext does not tell the length."""

LARGEST_PAYLOAD: Final = 64 * 1024

_LONGEST: Final = 256 * 1024
_AGE: Final = b"age-encryption.org/v1\n"
_STANZA: Final = re.compile(rb"^-> (\S+)", re.MULTILINE)
_FORM: Final = re.compile(
    r"ENC\[kemudi:v1,at=([0-9a-f]{8}),rs=([0-9a-f]{8}),([A-Za-z0-9+/]+={0,2})\]", re.ASCII
)


class MalformedEnvelopeError(ValueError):
    """The text is not a sealed value. The message never holds the text."""


class Context(NamedTuple):
    """The place that a value is sealed for."""

    repo_id: str
    layer: str
    category: str
    key: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """One sealed value.

    Attributes:
        at: 8 hex digits, `context_digest` of the place.
        rs: 8 hex digits, `recipients_digest` of the recipients.
        ciphertext: A binary age file.
    """

    at: str
    rs: str
    ciphertext: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. Raises MalformedEnvelopeError."""
        if len(text) > _LONGEST:
            raise MalformedEnvelopeError(sentence("a sealed value is longer than 256 KiB"))
        found = _FORM.fullmatch(text)
        if found is None:
            raise MalformedEnvelopeError(
                sentence("a sealed value is written ENC[kemudi:v1,at=…,rs=…,…] on one line")
            )
        at, rs, body = found.groups()
        try:
            ciphertext = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise MalformedEnvelopeError(sentence("the base64 of a sealed value is damaged")) from None
        if base64.b64encode(ciphertext).decode() != body:
            raise MalformedEnvelopeError(sentence("the base64 of a sealed value is damaged"))
        if not ciphertext.startswith(_AGE):
            raise MalformedEnvelopeError(sentence("a sealed value does not hold an age file"))
        return cls(at, rs, ciphertext)

    def __str__(self) -> str:
        body = base64.b64encode(self.ciphertext).decode()
        return f"ENC[kemudi:v1,at={self.at},rs={self.rs},{body}]"

    @property
    def stanzas(self) -> int:
        """How many recipients the age header holds, which needs no key; random filler is not counted."""
        header = self.ciphertext[: self.ciphertext.find(b"\n---")]
        return sum(not kind.endswith(b"-grease") for kind in _STANZA.findall(header))

    def fingerprint(self) -> str:
        """8 hex digits of the ciphertext's SHA-256: tells two ciphertexts apart without a key."""
        return hashlib.sha256(self.ciphertext).hexdigest()[:8]


def is_sealed(value: object) -> bool:
    """Whether a value looks like a sealed one, damaged or not."""
    return isinstance(value, str) and value.startswith(PREFIX)


def context_digest(context: Context) -> str:
    """8 hex digits that change with any part of the place."""
    return _digest(context)


def recipients_digest(keys: Iterable[str]) -> str:
    """8 hex digits of a set of public keys; neither order nor repetition counts."""
    return _digest(sorted(set(keys)))


def encode_payload(context: Context, recipients: str, kind: str, value: JSON) -> bytes:
    """What goes into the age file: canonical JSON of place, recipients, type and value, padded to `PADDING` bytes.

    `recipients` is the digest that stands in the clear too, so that it cannot be altered there.
    Raises ValueError for a value that is not finite JSON, or a payload of more than `LARGEST_PAYLOAD` bytes.
    """
    content: dict[str, JSON] = {
        "v": 1,
        "ctx": list(context),
        "rs": recipients,
        "t": kind,
        "x": value,
        "p": "",
    }
    bare = len(_canonical(content))
    if bare > LARGEST_PAYLOAD:
        raise ValueError(f"a sealed value may have at most {LARGEST_PAYLOAD:,} bytes")
    content["p"] = " " * (-bare % PADDING)
    return _canonical(content)


def decode_payload(data: bytes) -> tuple[Context, str, str, JSON]:
    """Place, digest of the recipients, type and value. Raises ValueError, never with the content in its message."""
    try:
        content = json.loads(data)
        version, context = content["v"], Context(*content["ctx"])
        recipients, kind, value = content["rs"], content["t"], content["x"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("the content of a sealed value is not a payload of Kemudi") from None
    if version != 1 or not all(isinstance(part, str) for part in (*context, recipients, kind)):
        raise ValueError("the content of a sealed value has an unknown form")
    return context, recipients, kind, value


def _canonical(content: JSON) -> bytes:
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _digest(parts: Iterable[str]) -> str:
    # Length-prefixed, so that no two lists of parts have one spelling.
    spelled = b"".join(b"%d:%s" % (len(part.encode()), part.encode()) for part in parts)
    return hashlib.sha256(spelled).hexdigest()[:8]
