"""Random damage to everything that is read of a secret: only clean refusals, and nothing damaged opens.

8 seconds in the suite, 10 minutes with `scripts/test --long`. A failure shows what was read; its keys are of the run.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pyrage
import pytest

from kemudi.repo.edits import render
from kemudi.repo.secrets import generate_identity, seal, unseal
from kemudi.repo.sops import encrypt_values, open_file
from kemudi.repo.textconv import shown
from kemudi.schema.documents import JSON, read_document
from kemudi.schema.envelope import (
    Context,
    Envelope,
    MalformedEnvelopeError,
    encode_payload,
)
from kemudi.schema.errors import KemudiError
from kemudi.schema.guard import USUAL, inspect, is_quiet
from kemudi.schema.sops import leaves
from kemudi.schema.state import ConfigState, File

LONG: Final = os.environ.get("KEMUDI_TEST_LONG") == "1"
SECONDS: Final = 600 / 4 if LONG else 2

IDENTITY, PUBLIC = generate_identity()
PLACE = Context("0b7c1f4e", "prod", "mail", "MAIL_PASSWORD")
VALUE = {"user": "a", "password": "c4nary", "ports": [1, 2.5, None, True]}
SEALED = seal(PLACE, "object", VALUE, [PUBLIC])
ENVELOPE = Envelope.parse(SEALED)
WORDS = [
    b"ENC[",
    b"]",
    b"kemudi:v1,",
    b"at=",
    b",",
    b"\n",
    b"\xff",
    b"-> X25519 ",
    b"---",
    b"null",
    b"1e999",
    b'"',
    b"[" * 40,
]
SOPS_VALUES = {"A": "one", "B": 2, "C": True, "L": ["x", 1.5], "M": {"n": "y"}, "P": "plain"}


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A few flips, cuts, doublings, swaps and words."""
    work = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        start = rng.randrange(len(work) + 1)
        end = min(len(work), start + rng.choice((1, 1, 3, 20)))
        kind = rng.randrange(5)
        if kind == 0 and start < len(work):
            work[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del work[start:end]
        elif kind == 2:
            work[start:start] = work[start:end]
        elif kind == 3:
            work[start:start] = rng.choice(WORDS)
        else:
            work[start:end] = bytes(rng.randrange(256) for _ in range(end - start))
    return bytes(work)


def envelope_text(data: bytes) -> None:
    """The text in the file."""
    text = data.decode("utf-8", "replace")
    shown(text, [IDENTITY], reveal=False)
    with refusals():
        assert unseal(text, PLACE, [IDENTITY]) == ("object", VALUE)
        assert text == SEALED


def age_file(data: bytes) -> None:
    """The binary behind correct base64."""
    text = str(Envelope(ENVELOPE.at, ENVELOPE.rs, data))
    with refusals(), suppress(MalformedEnvelopeError):
        assert Envelope.parse(text).stanzas >= 0
        assert unseal(text, PLACE, [IDENTITY]) == ("object", VALUE)
        assert data == ENVELOPE.ciphertext


def payload(data: bytes) -> None:
    """What somebody with the public keys alone can put inside: another value, but bound to this place all the same."""
    ciphertext = pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(PUBLIC)])
    with refusals():
        kind, value = unseal(
            str(Envelope(ENVELOPE.at, ENVELOPE.rs, ciphertext)), PLACE, [IDENTITY], kind="object"
        )
        assert kind == "object"
        assert json.loads(data)["ctx"] == list(PLACE)
        json.dumps(value)


def sops_file(data: bytes) -> None:
    """A whole file, its block included, before validation, the guard and whoever opens it."""
    ConfigState.load([File("kemudi.yaml", b"format: 1\n"), File("prod/mail.yaml", data)])
    document, _ = read_document(data, "x.yaml")
    if document is not None:
        is_quiet(data, document.values, USUAL)
        for key, value in document.values.items():
            inspect(key, value, sensitive=None, names=USUAL, layer="prod")
    with refusals():
        # Names of plain keys, the nesting of lists and nulls are outside of SOPS' MAC.
        assert scalars(open_file(data, "x.yaml", [IDENTITY])) == scalars(SOPS_VALUES)


@contextmanager
def refusals() -> Iterator[None]:
    """A refusal is fine if it does not hold the value."""
    try:
        yield
    except KemudiError as error:
        if "c4nary" in str(error):
            raise AssertionError("the message holds the value") from error


def scalars(values: JSON) -> list[JSON]:
    return [value for _, value in leaves(values) if value not in (None, "")]


def sops_text() -> bytes:
    written, block = encrypt_values(SOPS_VALUES, set(SOPS_VALUES) - {"P"}, [PUBLIC])
    return ("".join(f"{key}: {render(value)}\n" for key, value in written.items()) + block).encode()


@pytest.mark.timeout(SECONDS + 110)
@pytest.mark.parametrize(
    ("target", "sound"),
    [
        (envelope_text, SEALED.encode()),
        (age_file, ENVELOPE.ciphertext),
        (payload, encode_payload(PLACE, ENVELOPE.rs, "object", VALUE)),
        (sops_file, sops_text()),
    ],
    ids=["envelope", "age file", "payload", "sops file"],
)
def test_damage_is_refused_cleanly(target: Callable[[bytes], None], sound: bytes) -> None:
    """No exception but a refusal that holds no value, and no other value than was sealed."""
    target(sound)
    rng = random.Random()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        data = damaged(rng, sound)
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"{target.__name__}: {type(error).__name__} on {data!r}") from error
