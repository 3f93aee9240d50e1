"""Secrets at rest: opened in their place alone, never printed, keys kept to their categories."""

import copy
import json
import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemudi.schema.errors import UsageError
from kemudi.store.errors import KeyFileRefusedError, KeysetMissingError, SealRefusedError
from kemudi.store.private_files import write_key_file
from kemudi.store.sealing import Keyset, KeysetBundle, SealContext, Sealer

CONTEXT = SealContext("repo-1", "prod", "neo4j", "NEO4J_PASSWORD", "string")
KEYSET = Keyset.generate()
TEXT = st.text(max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_round_trip(value: Any) -> None:
    """Every JSON value comes back as it was, its type included."""
    opened = KEYSET.open(CONTEXT, KEYSET.seal(CONTEXT, value))
    assert json.dumps(opened, sort_keys=True) == json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("name", [item.name for item in fields(SealContext)])
def test_other_place(name: str) -> None:
    """A ciphertext copied to another repo, environment, category, key or type does not open."""
    sealed = KEYSET.seal(CONTEXT, "hunter2")
    with pytest.raises(SealRefusedError):
        KEYSET.open(replace(CONTEXT, **{name: "other"}), sealed)


@given(st.lists(TEXT, min_size=5, max_size=5), st.lists(TEXT, min_size=5, max_size=5))
def test_contexts_are_apart(one: list[str], other: list[str]) -> None:
    """No two contexts have the same associated data, wherever their parts are cut."""
    left, right = SealContext(*one), SealContext(*other)
    assert (left.associated_data() == right.associated_data()) == (left == right)


def test_shifted_parts() -> None:
    """Moving text over a boundary of two parts gives another context."""
    shifted = replace(CONTEXT, category="neo4jN", key="EO4J_PASSWORD")
    assert shifted.associated_data() != CONTEXT.associated_data()


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_altered(position: int, change: int) -> None:
    """No byte of a ciphertext can be altered; the error names the setting and quotes nothing."""
    sealed = bytearray(KEYSET.seal(CONTEXT, "hunter2"))
    sealed[position % len(sealed)] ^= change
    with pytest.raises(SealRefusedError, match="NEO4J_PASSWORD") as caught:
        KEYSET.open(CONTEXT, bytes(sealed))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_length_is_hidden() -> None:
    """Passwords of up to 62 characters have ciphertexts of one length."""
    assert len({len(KEYSET.seal(CONTEXT, "x" * length)) for length in range(63)}) == 1
    assert len(KEYSET.seal(CONTEXT, "x" * 63)) - len(KEYSET.seal(CONTEXT, "x")) == 64


def test_fresh_nonces() -> None:
    """The same plaintext never has the same ciphertext twice."""
    assert len({KEYSET.seal(CONTEXT, "hunter2") for _ in range(100)}) == 100


def test_rotation() -> None:
    """After a rotation old ciphertexts open and new ones are told apart; after retiring, old ones do not open."""
    old = KEYSET.seal(CONTEXT, "hunter2")
    rotated = KEYSET.rotated()
    new = rotated.seal(CONTEXT, "hunter2")
    assert rotated.open(CONTEXT, old) == rotated.open(CONTEXT, new) == "hunter2"
    assert (rotated.is_current(old), rotated.is_current(new)) == (False, True)
    with pytest.raises(SealRefusedError):
        KEYSET.open(CONTEXT, new)
    retired = rotated.retired()
    assert retired.open(CONTEXT, new) == "hunter2"
    with pytest.raises(SealRefusedError):
        retired.open(CONTEXT, old)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**64, -(2**63) - 1, "\ud800", {1: 2}, (1,), b"x"]
)
def test_no_json(value: Any) -> None:
    """What JSON does not carry exactly is refused."""
    with pytest.raises(UsageError):
        KEYSET.seal(CONTEXT, value)


class TestBundle:
    def test_file(self, tmp_path: Path) -> None:
        """A saved bundle opens what the first one sealed; its file is the owner's alone."""
        bundle = KeysetBundle.generate(["neo4j", "sync"])
        bundle.save(tmp_path / "keyset")
        assert (tmp_path / "keyset").stat().st_mode & 0o777 == 0o600
        again = KeysetBundle.load(str(tmp_path / "keyset"))
        assert again.categories == ("neo4j", "sync")
        sealed = bundle.keyset("neo4j").seal(CONTEXT, "hunter2")
        assert again.keyset("neo4j").open(CONTEXT, sealed) == "hunter2"
        with pytest.raises(SealRefusedError):
            again.keyset("sync").open(CONTEXT, sealed)

    def test_open_file(self, tmp_path: Path) -> None:
        """A keyset file that others can read is refused."""
        KeysetBundle.generate(["sync"]).save(tmp_path / "keyset")
        (tmp_path / "keyset").chmod(0o640)
        with pytest.raises(KeyFileRefusedError, match="open to others"):
            KeysetBundle.load(tmp_path / "keyset")

    @pytest.mark.parametrize(
        "content",
        [
            b"hunter2",
            b"[]",
            b'{"format": 2, "keysets": {}}',
            b'{"format": 1}',
            b'{"format": 1, "keysets": {"sync": {"hunter2": 1}}}',
            b'{"format": 1, "keysets": {"sync": 7}}',
            b'{"format": 1, "keysets": {"sync": {"primaryKeyId": 1, "key": [{"keyData": {"value": "hunter2"}}]}}}',
        ],
        ids=range(7),
    )
    def test_malformed_file(self, tmp_path: Path, content: bytes) -> None:
        """A malformed file is refused without quoting it."""
        write_key_file(tmp_path / "keyset", content, private=True)
        with pytest.raises(KeyFileRefusedError) as caught:
            KeysetBundle.load(tmp_path / "keyset")
        assert "hunter2" not in str(caught.value)
        assert caught.value.__context__ is None

    def test_subset(self) -> None:
        """A service's bundle holds its categories and no other key."""
        bundle = KeysetBundle.generate(["neo4j", "sync"])
        part = bundle.subset(["sync"])
        assert part.categories == ("sync",)
        with pytest.raises(KeysetMissingError, match="neo4j") as caught:
            part.keyset("neo4j")
        assert caught.value.category == "neo4j"
        with pytest.raises(KeysetMissingError):
            bundle.subset(["feature_flag"])

    def test_extension(self) -> None:
        """A new category gets a keyset; those that have one keep it."""
        bundle = KeysetBundle.generate(["sync"])
        extended = bundle.extended(["sync", "neo4j"])
        assert extended.keyset("sync") is bundle.keyset("sync")
        assert extended.categories == ("neo4j", "sync")

    def test_rotation_of_one(self) -> None:
        """A bundle takes a rotated keyset for one category."""
        bundle = KeysetBundle.generate(["sync", "neo4j"])
        rotated = bundle.with_keyset("sync", bundle.keyset("sync").rotated())
        assert rotated.keyset("neo4j") is bundle.keyset("neo4j")
        assert "2 keys" in repr(rotated.keyset("sync"))


def test_never_printed() -> None:
    """No form of a keyset, a bundle or a sealer shows key material."""
    bundle = KeysetBundle.generate(["sync"])
    keyset = bundle.keyset("sync")
    material = keyset.as_json()["key"][0]["keyData"]["value"]
    sealer = Sealer(bundle, repo_id="r", env="e")
    for text in (repr(keyset), str(bundle), f"{sealer}", repr(pickle.loads(pickle.dumps(keyset)))):
        assert material not in text
    for item in (keyset, bundle):
        with pytest.raises(TypeError):
            json.dumps(item)
        with pytest.raises(TypeError):
            orjson.dumps(item)
    assert material not in repr(copy.copy(keyset))
