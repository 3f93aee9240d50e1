"""A category as bytes: exact, stable, split, bounded, verified."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kemudi.schema.errors import UsageError
from kemudi.schema.secret import Secret
from kemudi.store import snapshot
from kemudi.store.errors import KeysetMissingError, SealRefusedError, SnapshotRefusedError
from kemudi.store.sealing import KeysetBundle, Sealer
from kemudi.store.snapshot import (
    COMPRESS_ABOVE_BYTES,
    SETTINGS_PER_BLOB,
    Category,
    decode_category,
    digest_of,
    encode_category,
    load_category,
    open_secrets,
    require_digests,
    settings_in,
)

BUNDLE = KeysetBundle.generate(["sync", "neo4j"])
SEALER = Sealer(BUNDLE, repo_id="repo-1", env="prod")
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


def category(
    values: Mapping[str, Any],
    secrets: Mapping[str, Any] | None = None,
    *,
    restart: frozenset[str] = frozenset(),
) -> Category:
    sealed = {key: ("string", Secret(value)) for key, value in (secrets or {}).items()}
    return Category("sync", dict(values), {}, sealed, restart)


def exact(value: Any) -> str:
    """A text in which 1, 1.0 and true differ, and the order of keys does not count."""
    return json.dumps(value, sort_keys=True)


@given(st.dictionaries(TEXT, VALUES, max_size=8), st.dictionaries(TEXT, VALUES, max_size=3))
def test_round_trip(values: dict[str, Any], secrets: dict[str, Any]) -> None:
    """Every JSON value comes back exactly, plain or secret: 1 and 1.0 and true stay apart."""
    secrets = {key: value for key, value in secrets.items() if key not in values}
    made = category(values, secrets, restart=frozenset(values))
    blobs = encode_category(made, SEALER)
    read = decode_category("sync", blobs)
    assert exact(read.values) == exact(values)
    opened = {key: item.reveal() for key, item in open_secrets(read, SEALER).items()}
    assert exact(opened) == exact(secrets)
    assert read.restart == frozenset(values)


@pytest.mark.parametrize(
    "number", [1.0, 1, 0.1, 1e16, 1e22, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 1, -(2**63)]
)
def test_numbers(number: float) -> None:
    """An integer stays one and a float stays one, to the last bit."""
    (blob,) = encode_category(category({"X": number}), None)
    assert repr(decode_category("sync", [blob]).values["X"]) == repr(number)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        2**64,
        {"a": -(2**63) - 1},
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        (1,),
        b"x",
        Secret("x"),
    ],
    ids=range(10),
)
def test_no_json(value: Any) -> None:
    """What JSON would lose or change is refused, unprinted."""
    for made in (category({"X": value}), replace(category({}), defaults={"X": value})):
        with pytest.raises(UsageError):
            encode_category(made, None)


def test_canonical() -> None:
    """Equal content has equal bytes, whatever order it came in; other content has other bytes."""
    one = encode_category(category({"A": 1, "B": {"x": 1, "y": 2}}, restart=frozenset("AB")), None)
    other = encode_category(category({"B": {"y": 2, "x": 1}, "A": 1}, restart=frozenset("BA")), None)
    assert one == other
    assert encode_category(category({"A": 1.0, "B": {"x": 1, "y": 2}}), None) != one
    assert list(orjson.loads(one[0])) == ["category", "defaults", "restart", "sealed", "values"]


def test_compression() -> None:
    """Above 16 KiB a blob is compressed, and comes back the same."""
    values = {f"KEY_{number}": "x" * 50 for number in range(1000)}
    (blob,) = encode_category(category(values), None)
    assert len(blob) < COMPRESS_ABOVE_BYTES
    assert decode_category("sync", [blob]).values == values


class TestSplit:
    VALUES: ClassVar = {f"KEY_{number:05d}": number for number in range(2 * SETTINGS_PER_BLOB)}

    def test_limit(self) -> None:
        """5,000 settings are one blob, one more are two."""
        items = list(self.VALUES.items())
        assert len(encode_category(category(dict(items[:SETTINGS_PER_BLOB])), None)) == 1
        assert len(encode_category(category(dict(items[: SETTINGS_PER_BLOB + 1])), None)) == 2

    def test_round_trip(self) -> None:
        """A split category is read as one, and no part exceeds the limit."""
        restart = frozenset(list(self.VALUES)[::7])
        blobs = encode_category(replace(category(self.VALUES, {"TOKEN": "x"}), restart=restart), SEALER)
        read = decode_category("sync", blobs)
        assert read.values == self.VALUES
        assert read.restart == restart
        assert open_secrets(read, SEALER)["TOKEN"].reveal() == "x"
        assert all(len(decode_category("sync", [blob]).values) <= SETTINGS_PER_BLOB for blob in blobs)

    def test_one_change_is_one_blob(self) -> None:
        """A changed, an added and a removed setting each rewrite one of the blobs."""
        before = encode_category(category(self.VALUES), None)
        changed = self.VALUES | {"KEY_00042": -1}
        added = self.VALUES | {"KEY_AAA": 1}
        removed = {key: value for key, value in self.VALUES.items() if key != "KEY_00042"}
        for values in (changed, added, removed):
            after = encode_category(category(values), None)
            assert len(set(before) - set(after)) == 1

    def test_setting_in_two_parts(self) -> None:
        """Parts that hold a setting twice are refused: which one is right is unknown."""
        blobs = [*encode_category(category({"A": 1}), None), *encode_category(category({"A": 2}), None)]
        with pytest.raises(SnapshotRefusedError, match="twice"):
            decode_category("sync", blobs)


class TestSecrets:
    def test_unchanged_keeps_its_ciphertext(self) -> None:
        """Publishing again rewrites nothing; a changed secret rewrites itself alone."""
        before = encode_category(category({"A": 1}, {"ONE": "1", "TWO": 2}), SEALER)
        assert encode_category(category({"A": 1}, {"ONE": "1", "TWO": 2}), SEALER, before) == before
        after = encode_category(category({"A": 1}, {"ONE": "1", "TWO": 3}), SEALER, before)
        old, new = (decode_category("sync", blobs).sealed for blobs in (before, after))
        assert old["ONE"] == new["ONE"]
        assert old["TWO"] != new["TWO"]

    @pytest.mark.parametrize(("was", "becomes"), [(1, 1.0), (1, True), (0, False), ("1", 1), (0.0, -0.0)])
    def test_kinds_of_one(self, was: Any, becomes: Any) -> None:
        """A secret whose type changed is not taken for unchanged."""
        before = encode_category(category({}, {"ONE": was}), SEALER)
        after = encode_category(category({}, {"ONE": becomes}), SEALER, before)
        assert repr(open_secrets(decode_category("sync", after), SEALER)["ONE"].reveal()) == repr(becomes)

    def test_contract_type_counts(self) -> None:
        """The same text under another contract type is sealed anew: the type is part of its place."""
        made = category({}, {"ONE": "1"})
        before = encode_category(made, SEALER)
        retyped = replace(made, secrets={"ONE": ("number", Secret("1"))})
        after = encode_category(retyped, SEALER, before)
        assert open_secrets(decode_category("sync", after), SEALER)["ONE"].reveal() == "1"

    def test_rotation_seals_anew(self) -> None:
        """After a rotation of the keyset nothing stays under the old key."""
        made = category({}, {"ONE": "1"})
        before = encode_category(made, SEALER)
        rotated = Sealer(
            BUNDLE.with_keyset("sync", BUNDLE.keyset("sync").rotated()), repo_id="repo-1", env="prod"
        )
        after = encode_category(made, rotated, before)
        assert after != before
        with pytest.raises(SealRefusedError):
            open_secrets(decode_category("sync", after), SEALER)

    @pytest.mark.parametrize("previous", [[b"garbage"], [b""], [b"\x28\xb5\x2f\xfd"]], ids=range(3))
    def test_damaged_previous(self, previous: list[bytes]) -> None:
        """Previous blobs that cannot be read, or do not open, only cost sealing anew."""
        made = category({}, {"ONE": "1"})
        foreign = Sealer(BUNDLE, repo_id="repo-2", env="prod")
        for blobs in (previous, encode_category(made, foreign)):
            after = encode_category(made, SEALER, blobs)
            assert open_secrets(decode_category("sync", after), SEALER)["ONE"].reveal() == "1"

    def test_missing_keyset(self) -> None:
        """A category with secrets and no keyset says which one, when writing and when reading."""
        made = category({}, {"ONE": "1"})
        other = Sealer(BUNDLE.subset(["neo4j"]), repo_id="repo-1", env="prod")
        with pytest.raises(KeysetMissingError, match="sync"):
            encode_category(made, other)
        with pytest.raises(UsageError, match="nothing to seal"):
            encode_category(made, None)
        read = decode_category("sync", encode_category(made, SEALER))
        with pytest.raises(KeysetMissingError, match="sync"):
            open_secrets(read, other)

    def test_no_keyset_needed_without_secrets(self) -> None:
        """A category without secrets needs none."""
        other = Sealer(KeysetBundle({}), repo_id="repo-1", env="prod")
        assert open_secrets(decode_category("sync", encode_category(category({"A": 1}), other)), other) == {}

    def test_nothing_shows(self) -> None:
        """No blob, repr or error holds a plaintext, and none tells its length."""
        made = category({}, {"ONE": "hunter2-canary"})
        blobs = encode_category(made, SEALER)
        read = decode_category("sync", blobs)
        for text in (repr(made), repr(read), repr(open_secrets(read, SEALER)), repr(blobs)):
            assert "canary" not in text
        longer = encode_category(category({}, {"ONE": "hunter2-canary-longer"}), SEALER)
        assert len(longer[0]) == len(blobs[0])


class TestRefusals:
    BLOB = encode_category(category({"A": 1}, {"S": "x"}), SEALER)[0]

    def refuse(self, *blobs: bytes) -> str:
        with pytest.raises(SnapshotRefusedError) as caught:
            decode_category("sync", blobs)
        assert caught.value.__cause__ is None
        return str(caught.value)

    def test_other_category(self) -> None:
        """A blob of another category is not read as this one."""
        renamed = replace(category({"A": 1}), name="neo4j")
        self.refuse(*encode_category(renamed, None))

    def test_no_blobs(self) -> None:
        """A category without blobs is refused."""
        self.refuse()

    @pytest.mark.parametrize(
        "change",
        [
            {"values": []},
            {"defaults": None},
            {"sealed": []},
            {"sealed": {"S": "x"}},
            {"sealed": {"S": ["string", "not base64 €"]}},
            {"sealed": {"S": ["string", "A"]}},
            {"sealed": {"S": ["string"]}},
            {"sealed": {"S": [1, "QQ=="]}},
            {"restart": {}},
            {"restart": [1]},
            {"category": 1},
        ],
        ids=range(11),
    )
    def test_malformed_parts(self, change: dict[str, Any]) -> None:
        """Each part has its shape."""
        self.refuse(orjson.dumps(orjson.loads(self.BLOB) | change))

    @pytest.mark.parametrize("part", ["category", "defaults", "restart", "sealed", "values"])
    def test_missing_parts(self, part: str) -> None:
        """No part may be missing."""
        document = orjson.loads(self.BLOB)
        del document[part]
        self.refuse(orjson.dumps(document))

    @pytest.mark.parametrize(
        "blob", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfdx"]
    )
    def test_garbage(self, blob: bytes) -> None:
        """Garbage is refused without quoting it."""
        self.refuse(blob)

    def test_bombs(self) -> None:
        """A frame that unpacks to more than a blob may hold is refused before it is unpacked."""
        bomb = zstandard.ZstdCompressor().compress(b" " * (snapshot.MAX_BLOB_BYTES + 1))
        assert len(bomb) < 10_000
        assert "too large" in self.refuse(bomb)

    def test_frames_of_unknown_size(self) -> None:
        """A frame that does not say its size is refused: its size is found out only by unpacking."""
        stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
        assert "too large" in self.refuse(stream.compress(self.BLOB) + stream.flush())

    def test_lying_frames(self) -> None:
        """Bytes after the frame, or a second frame, are refused."""
        frame = zstandard.ZstdCompressor().compress(self.BLOB)
        self.refuse(frame + b"x")
        self.refuse(frame + frame)
        self.refuse(frame[:-1])

    def test_size_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What could not be read back is not written."""
        monkeypatch.setattr(snapshot, "MAX_BLOB_BYTES", 100)
        with pytest.raises(UsageError, match="larger than"):
            encode_category(category({"A": "x" * 100}), None)
        assert "too large" in self.refuse(b"{" * 101)

    def test_two_values(self) -> None:
        """A setting is a value, a default or a secret: one of them."""
        with pytest.raises(UsageError, match="two values"):
            encode_category(replace(category({"A": 1}), defaults={"A": 2}), None)


class TestVerifiedLoad:
    BLOB = encode_category(category({"A": 1}), None)[0]

    def test_right(self) -> None:
        """Bytes that match their digest are read."""
        digest = digest_of(self.BLOB)
        assert load_category("sync", [digest], {digest: self.BLOB}).values == {"A": 1}

    def test_wrong(self) -> None:
        """Altered and missing bytes are refused."""
        digest = digest_of(self.BLOB)
        with pytest.raises(SnapshotRefusedError, match="digest"):
            load_category("sync", [digest], {digest: self.BLOB.replace(b"1", b"2")})
        with pytest.raises(SnapshotRefusedError, match="not in the store"):
            load_category("sync", [digest], {})

    def test_names(self) -> None:
        """A mapping of digests to bytes is checked in one go."""
        require_digests({digest_of(self.BLOB): self.BLOB})
        with pytest.raises(UsageError):
            require_digests({"0" * 64: self.BLOB})


def test_count() -> None:
    """Values, defaults and secrets are counted alike."""
    made = replace(category({"A": 1}, {"S": "x"}), defaults={"B": 1, "C": 2})
    assert settings_in([made, category({"D": 1})]) == 5
