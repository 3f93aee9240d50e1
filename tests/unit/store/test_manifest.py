"""The signed pointer: what is trusted, and in which order it is looked at."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemudi.schema.errors import UsageError
from kemudi.schema.generation import Generation
from kemudi.store import manifest as module
from kemudi.store.errors import ManifestRefusedError
from kemudi.store.manifest import Manifest
from kemudi.store.signing import SigningKey

KEY = SigningKey.generate()
PINNED = KEY.verify_keys()
MANIFEST = Manifest(
    repo_id="repo-1",
    env="prod",
    generation=Generation(1, 42, 3),
    epoch=7,
    revision="ab" * 20,
    author="Ada Lovelace",
    committed_at="2026-01-01T00:00:00Z",
    applied_at="2026-01-01T00:00:01Z",
    categories={"sync": ("0" * 64,), "neo4j": ("1" * 64, "2" * 64)},
    settings=20,
)


def resigned(payload: bytes, key: SigningKey = KEY, version: int = 1) -> bytes:
    """A wire form with a valid signature over any payload."""
    return module.signed_text(payload, key, version)


def refusal(data: bytes, *, env: str = "prod", repo_id: str | None = None) -> str:
    with pytest.raises(ManifestRefusedError) as caught:
        Manifest.verify(data, PINNED, env=env, repo_id=repo_id)
    return caught.value.reason


def test_round_trip() -> None:
    """What was signed is what is read, in every field."""
    assert Manifest.verify(MANIFEST.sign(KEY), PINNED, env="prod", repo_id="repo-1") == MANIFEST
    assert MANIFEST.digests == {"0" * 64, "1" * 64, "2" * 64}


def test_deterministic() -> None:
    """Equal manifests have equal bytes, whatever order their categories were given in."""
    turned = replace(MANIFEST, categories=dict(reversed(MANIFEST.categories.items())))
    assert turned.sign(KEY) == MANIFEST.sign(KEY)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_altered_byte_is_refused(position: int, change: int) -> None:
    """No byte of it can be altered."""
    data = bytearray(MANIFEST.sign(KEY))
    data[position % len(data)] ^= change
    assert refusal(bytes(data)) in {"format", "signature", "version"}


@given(st.integers(0, 10_000))
def test_any_shortened_form_is_refused(length: int) -> None:
    """No end of it can be cut off, and nothing appended."""
    data = MANIFEST.sign(KEY)
    assert refusal(data[: length % len(data)]) in {"format", "signature"}
    assert refusal(data + b"\n") == "signature"


def test_unknown_key() -> None:
    """A valid signature by a key that is not pinned counts for nothing, also under a pinned key's name."""
    other = SigningKey.generate()
    data = MANIFEST.sign(other)
    assert refusal(data) == "signature"
    assert refusal(data.replace(other.key_id.encode(), KEY.key_id.encode(), 1)) == "signature"


def test_rotation() -> None:
    """With two keys pinned, a manifest by either is read."""
    new = SigningKey.generate()
    both = PINNED.merged(new.verify_keys())
    for key in (KEY, new):
        assert Manifest.verify(MANIFEST.sign(key), both, env="prod") == MANIFEST


def test_domain() -> None:
    """A signature over the bare payload, made for another purpose, is none for a manifest."""
    header, _, payload = MANIFEST.sign(KEY).partition(b"\n")
    elsewhere = module.b64encode(KEY.sign(payload))
    assert refusal(b" ".join([*header.split(b" ")[:3], elsewhere]) + b"\n" + payload) == "signature"


def test_other_place() -> None:
    """A manifest of another environment or config repo is refused, though its signature is right."""
    assert refusal(MANIFEST.sign(KEY), env="dev") == "environment"
    assert refusal(MANIFEST.sign(KEY), repo_id="repo-2") == "repository"


def test_newer_versions() -> None:
    """A newer wire form or manifest is refused with the advice to upgrade, not misread."""
    payload = MANIFEST.sign(KEY).partition(b"\n")[2]
    assert refusal(resigned(payload, version=2)) == "version"
    document = orjson.loads(payload)
    assert refusal(resigned(orjson.dumps(document | {"version": 2}))) == "version"
    with pytest.raises(ManifestRefusedError) as caught:
        Manifest.verify(resigned(payload, version=2), PINNED, env="prod")
    assert "upgrade" in (caught.value.hint or "")


def test_fields_of_later_versions_are_ignored() -> None:
    """A field more, under the same version, changes nothing."""
    document = orjson.loads(MANIFEST.sign(KEY).partition(b"\n")[2])
    data = resigned(orjson.dumps(document | {"later": 1}))
    assert Manifest.verify(data, PINNED, env="prod") == MANIFEST


@pytest.mark.parametrize(
    "change",
    [
        {"env": 1},
        {"env": None},
        {"generation": [1, 2, 3]},
        {"generation": "1.2"},
        {"epoch": -1},
        {"epoch": True},
        {"epoch": 1.0},
        {"settings": "1"},
        {"categories": []},
        {"categories": {"sync": []}},
        {"categories": {"sync": "0" * 64}},
        {"categories": {"sync": ["../../etc"]}},
        {"categories": {"sync": [1]}},
        {"revision": 5},
    ],
)
def test_malformed_fields(change: dict[str, object]) -> None:
    """A signed but malformed manifest is refused, and cannot be signed by us."""
    document = orjson.loads(MANIFEST.sign(KEY).partition(b"\n")[2])
    assert refusal(resigned(orjson.dumps(document | change))) == "format"


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"{", b"\xff", b"1"])
def test_malformed_payloads(payload: bytes) -> None:
    """A signed payload that is no JSON object is refused."""
    assert refusal(resigned(payload)) == "format"


@pytest.mark.parametrize("data", [b"", b"{}", b"kemudi-manifest", b"\n", b"\xff" * 100])
def test_garbage(data: bytes) -> None:
    """Garbage is refused, and claims nothing."""
    assert refusal(data) == "format"
    assert Manifest.unverified(data) is None


def test_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer that no snapshot needs is not even looked at."""
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert refusal(MANIFEST.sign(KEY)) == "format"


def test_unverified() -> None:
    """What it claims can be had without a key, to find blobs."""
    found = Manifest.unverified(MANIFEST.sign(SigningKey.generate()))
    assert found is not None
    assert found.digests == MANIFEST.digests


def test_malformed_is_not_signed() -> None:
    """The daemon cannot publish what readers would refuse."""
    with pytest.raises(UsageError):
        replace(MANIFEST, categories={"sync": ()}).sign(KEY)


def test_messages_quote_nothing() -> None:
    """No refusal shows a byte of what it refuses."""
    canary = "c4n4ry"
    for data in (
        replace(MANIFEST, env=canary, author=canary).sign(KEY),
        resigned(canary.encode()),
        canary.encode(),
        replace(MANIFEST, repo_id=canary).sign(KEY),
    ):
        with pytest.raises(ManifestRefusedError) as caught:
            Manifest.verify(data, PINNED, env="prod", repo_id="repo-1")
        assert canary not in f"{caught.value} {caught.value.hint}"
        assert caught.value.__cause__ is None
