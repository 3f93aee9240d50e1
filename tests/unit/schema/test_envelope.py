"""The text of a sealed value: exact, bound to its place, and silent about what it holds."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kemudi.schema.envelope import (
    LARGEST_PAYLOAD,
    PADDING,
    Context,
    Envelope,
    MalformedEnvelopeError,
    context_digest,
    decode_payload,
    encode_payload,
    is_sealed,
    recipients_digest,
)

AGE = b"age-encryption.org/v1\n"
BODY = base64.b64encode(AGE + b"canary").decode()
TEXT = f"ENC[kemudi:v1,at=00ff00ff,rs=12345678,{BODY}]"
PLACE = Context("0b7c1f4e", "prod", "neo4j", "NEO4J_PASSWORD")

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
contexts = st.builds(Context, texts, texts, texts, texts)
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


def test_text_and_envelope_are_the_same_thing() -> None:
    """What is parsed prints as it was."""
    envelope = Envelope.parse(TEXT)
    assert (envelope.at, envelope.rs, envelope.ciphertext) == ("00ff00ff", "12345678", AGE + b"canary")
    assert str(envelope) == TEXT
    assert is_sealed(TEXT)
    assert len(envelope.fingerprint()) == 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ENC[",
        "ENC[canary]",
        TEXT + " ",
        TEXT + "\n",
        " " + TEXT,
        TEXT.replace("v1", "v2"),
        TEXT.replace("at=00ff00ff", "at=00FF00FF"),
        TEXT.replace("at=00ff00ff", "at=00ff00f"),
        TEXT.replace("rs=12345678,", ""),
        TEXT.replace(BODY, BODY[:-3]),
        TEXT.replace(BODY, BODY[:9] + "\n" + BODY[9:]),
        TEXT.replace(BODY, BODY[:9] + "*" + BODY[10:]),
        TEXT.replace(BODY, base64.b64encode(b"not age").decode()),
        TEXT.replace(BODY, base64.b64encode(AGE + b"ca").decode()[:-2] + "B="),
        TEXT.replace(BODY, "QUFB" * 100_000),
        "ENC[AES256_GCM,data:abc,iv:x,tag:y,type:str]",
    ],
    ids=range(17),
)
def test_a_damaged_text_is_refused_without_being_quoted(text: str) -> None:
    """Cut, wrapped, spaced, of another version or another tool: one error, never with the text in it."""
    with pytest.raises(MalformedEnvelopeError) as caught:
        Envelope.parse(text)
    assert "canary" not in str(caught.value)
    assert BODY[:12] not in str(caught.value)


@given(contexts, contexts)
def test_every_part_of_a_place_counts(one: Context, other: Context) -> None:
    """Two places have one digest only if they are the same place; the parts cannot be shifted."""
    assert (context_digest(one) == context_digest(other)) == (one == other)


def test_parts_of_a_place_cannot_be_shifted_into_each_other() -> None:
    """Lengths are part of the digest."""
    assert context_digest(Context("a", "bc", "d", "e")) != context_digest(Context("ab", "c", "d", "e"))
    assert context_digest(Context("", "a", "", "")) != context_digest(Context("a", "", "", ""))


@given(st.lists(texts, max_size=5), st.randoms())
def test_recipients_are_a_set(keys: list[str], random: Any) -> None:
    """Neither order nor repetition changes the digest; one key more or less does."""
    shuffled = [*keys, *keys[:1]]
    random.shuffle(shuffled)
    assert recipients_digest(shuffled) == recipients_digest(keys)
    assert recipients_digest([*keys, "another key"]) != recipients_digest(keys)


@settings(max_examples=200)
@given(contexts, st.sampled_from(["string", "integer", "object"]), values)
def test_a_payload_comes_back_as_it_went_in(context: Context, kind: str, value: Any) -> None:
    """Context, type and value, in a multiple of the padding, equal for equal content."""
    payload = encode_payload(context, "0a1b2c3d", kind, value)
    assert len(payload) % PADDING == 0
    found = decode_payload(payload)
    assert found == (context, "0a1b2c3d", kind, value)
    assert json.dumps(found[3], sort_keys=True) == json.dumps(value, sort_keys=True)
    assert encode_payload(context, "0a1b2c3d", kind, value) == payload


def test_the_length_of_a_short_secret_does_not_show() -> None:
    """All lengths of one step of the padding make payloads of one length."""
    sizes = {len(encode_payload(PLACE, "0a1b2c3d", "string", "x" * length)) for length in range(28, 92)}
    assert len(sizes) == 1


def test_a_payload_is_bounded_and_finite() -> None:
    """64 KiB, and no NaN."""
    with pytest.raises(ValueError, match="at most"):
        encode_payload(PLACE, "0a1b2c3d", "string", "x" * LARGEST_PAYLOAD)
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_payload(PLACE, "0a1b2c3d", "number", float("nan"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"canary",
        b"{}",
        b'{"v":2,"ctx":["a","b","c","d"],"rs":"0a1b2c3d","t":"string","x":"canary"}',
        b'{"v":1,"ctx":["a","b","c"],"rs":"0a1b2c3d","t":"string","x":"canary"}',
        b'{"v":1,"ctx":["a","b","c",1],"rs":"0a1b2c3d","t":"string","x":"canary"}',
        b'{"v":1,"ctx":["a","b","c","d"],"t":"string","x":"canary"}',
        b'{"v":1,"ctx":["a","b","c","d"],"rs":7,"t":"string","x":"canary"}',
        b'{"v":1,"ctx":["a","b","c","d"],"rs":"0a1b2c3d","t":1,"x":"canary"}',
        b'{"v":1,"ctx":["a","b","c","d"],"rs":"0a1b2c3d","t":"string"}',
        b"[" * 50_000,
        b"\xff",
    ],
    ids=range(12),
)
def test_another_content_is_refused_without_being_quoted(data: bytes) -> None:
    """What was inside is a secret even if it is not ours."""
    with pytest.raises(ValueError, match="sealed value") as caught:
        decode_payload(data)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
