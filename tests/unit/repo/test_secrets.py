"""Sealed values open at their own place, for their recipients, with their type; anything else says what is wrong."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kemudi.repo.errors import (
    DamagedSealError,
    NoMatchingIdentityError,
    UnsealError,
    WrongContextError,
    WrongSealedTypeError,
)
from kemudi.repo.secrets import generate_identity, load_identities, public_key, save_identity, seal, unseal
from kemudi.schema.envelope import Context, Envelope, context_digest, recipients_digest
from kemudi.schema.errors import RefusedError, UsageError

REPO = "00000000-0000-4000-8000-000000000000"
PLACE = Context(REPO, "dev", "neo4j", "NEO4J_PASSWORD")
VALUE = "c4nary-plaintext"
DAEMON, RECOVERY, STRANGER = generate_identity(), generate_identity(), generate_identity()
SEALED = seal(PLACE, "string", VALUE, [DAEMON[1], RECOVERY[1]])

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(values, st.sampled_from(["string", "integer", "number", "boolean", "object"]))
@settings(max_examples=60, deadline=None)
def test_what_is_sealed_is_what_is_opened(value, kind: str) -> None:
    """Any JSON value, with its type: an integer stays one."""
    found_kind, found = unseal(seal(PLACE, kind, value, [DAEMON[1]]), PLACE, [DAEMON[0]])
    assert (found_kind, found, type(found)) == (kind, value, type(value))


@pytest.mark.parametrize("identity", [DAEMON, RECOVERY])
def test_every_recipient_opens_it(identity: tuple[str, str]) -> None:
    """Alone, or with other identities beside."""
    assert unseal(SEALED, PLACE, [identity[0]]) == ("string", VALUE)
    assert unseal(SEALED, PLACE, [STRANGER[0], identity[0]]) == ("string", VALUE)


def test_the_text_says_for_whom_and_where_and_nothing_else() -> None:
    """CI compares these two digests without any key; the length of the value does not show."""
    envelope = Envelope.parse(SEALED)
    assert envelope.at == context_digest(PLACE)
    assert envelope.rs == recipients_digest([RECOVERY[1], DAEMON[1], DAEMON[1]])
    # The library adds random stanzas to the header, so only the bodies behind it can be compared.
    bodies = {len(_body(Envelope.parse(seal(PLACE, "string", "x" * n, [DAEMON[1]])))) for n in range(64)}
    assert len(bodies) == 2
    assert VALUE not in SEALED
    assert base64.b64encode(VALUE.encode()).decode()[:10] not in SEALED


def _body(envelope: Envelope) -> bytes:
    return envelope.ciphertext[envelope.ciphertext.index(b"\n---") :].split(b"\n", 2)[2]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (PLACE._replace(layer="prod"), "layer dev"),
        (PLACE._replace(key="NEO4J_USER"), "key NEO4J_PASSWORD"),
        (PLACE._replace(category="sync"), "category neo4j"),
        (PLACE._replace(repo_id="11111111-0000-4000-8000-000000000000"), "another repository"),
    ],
)
def test_a_ciphertext_opens_at_no_other_place(place: Context, told: str) -> None:
    """Neither as it is, nor with the digest in the clear made to fit."""
    with pytest.raises(WrongContextError, match="another place"):
        unseal(SEALED, place, [DAEMON[0]])
    envelope = Envelope.parse(SEALED)
    forged = str(Envelope(context_digest(place), envelope.rs, envelope.ciphertext))
    with pytest.raises(WrongContextError, match=told) as caught:
        unseal(forged, place, [DAEMON[0]])
    assert caught.value.exit_code == 5
    _no_value(caught.value)


def test_who_could_open_it_is_named(tmp_path: Path) -> None:
    """By the names of recipients.yaml; never a value, never a key."""
    readers = {"daemon-dev": DAEMON[1], "recovery": RECOVERY[1]}
    for identities in ([STRANGER[0]], [STRANGER[0], generate_identity()[0]], []):
        with pytest.raises(NoMatchingIdentityError, match="sealed to daemon-dev, recovery") as caught:
            unseal(SEALED, PLACE, identities, readers=readers)
        _no_value(caught.value)
    with pytest.raises(
        NoMatchingIdentityError, match=r"others than recipients\.yaml names now \(daemon-dev\)"
    ):
        unseal(SEALED, PLACE, [STRANGER[0]], readers={"daemon-dev": DAEMON[1]})
    with pytest.raises(
        NoMatchingIdentityError, match=r"the identity here does not open NEO4J_PASSWORD in dev$"
    ):
        unseal(SEALED, PLACE, [STRANGER[0]])


def test_another_type_than_the_contract_has_is_refused() -> None:
    """The type was sealed with the value."""
    assert unseal(SEALED, PLACE, [DAEMON[0]], kind="string")[0] == "string"
    with pytest.raises(WrongSealedTypeError, match="sealed as string, its contract says integer") as caught:
        unseal(SEALED, PLACE, [DAEMON[0]], kind="integer")
    _no_value(caught.value)


def test_every_flipped_byte_is_found() -> None:
    """Header, stanzas, MAC, body: an error of this module, never a wrong value."""
    envelope = Envelope.parse(SEALED)
    data = envelope.ciphertext
    for position in range(22, len(data), 3):
        broken = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(UnsealError) as caught:
            unseal(str(Envelope(envelope.at, envelope.rs, broken)), PLACE, [DAEMON[0]])
        _no_value(caught.value)
    for length in range(22, len(data), 25):
        with pytest.raises(UnsealError):
            unseal(str(Envelope(envelope.at, envelope.rs, data[:length])), PLACE, [DAEMON[0]])


@pytest.mark.parametrize(
    "text", ["", "ENC[", "ENC[kemudi:v1,at=,rs=,]", "c4nary-plaintext", SEALED[:-1], SEALED + "x"]
)
def test_what_is_no_sealed_value_is_damaged(text: str) -> None:
    """The text is not repeated: it may be the secret itself."""
    with pytest.raises(DamagedSealError) as caught:
        unseal(text, PLACE, [DAEMON[0]])
    _no_value(caught.value)


def test_an_age_file_that_is_not_ours_is_damaged() -> None:
    """Somebody has encrypted something else for the right recipient."""
    import pyrage

    ciphertext = pyrage.encrypt(b"c4nary-plaintext", [pyrage.x25519.Recipient.from_str(DAEMON[1])])
    text = str(Envelope(context_digest(PLACE), "00000000", ciphertext))
    with pytest.raises(DamagedSealError) as caught:
        unseal(text, PLACE, [DAEMON[0]])
    _no_value(caught.value)


def test_nobody_to_seal_to_and_malformed_keys_are_errors_of_usage() -> None:
    """Exit 2; an SSH key of the recipients file is as good as an age key."""
    with pytest.raises(UsageError, match="nobody"):
        seal(PLACE, "string", VALUE, [])
    for key in ("age1xx", "ssh-ed25519 AAAA", "nonsense", DAEMON[0]):
        with pytest.raises(UsageError, match="public key") as caught:
            seal(PLACE, "string", VALUE, [key])
        _no_value(caught.value)
    with pytest.raises(UsageError, match="identity is malformed") as caught:
        unseal(SEALED, PLACE, ["AGE-SECRET-KEY-1NONSENSE"])
    assert "NONSENSE" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x" * 70_000])
def test_a_value_that_cannot_be_sealed_is_not_repeated(value) -> None:
    """Not finite, or too large."""
    with pytest.raises(UsageError, match="cannot be sealed") as caught:
        seal(PLACE, "string", value, [DAEMON[1]])
    assert len(str(caught.value)) < 200


def test_an_identity_file_is_private(tmp_path: Path) -> None:
    """Written 0600 and once; refused as soon as others may read it."""
    path = tmp_path / "identity.txt"
    save_identity(path, DAEMON[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_identities(path) == (DAEMON[0],)
    with pytest.raises(UsageError, match="no key is overwritten"):
        save_identity(path, RECOVERY[0])
    for mode in (0o640, 0o604, 0o660, 0o666):
        path.chmod(mode)
        with pytest.raises(RefusedError, match=f"{mode:04o}") as caught:
            load_identities(path)
        assert str(caught.value.hint) == f"chmod 600 {path}"


def test_an_identity_file_may_hold_several_and_comments(tmp_path: Path) -> None:
    """As `age-keygen` writes it: during a rotation there are two."""
    path = tmp_path / "identity.txt"
    path.write_text(f"# created: now\n# public key: {DAEMON[1]}\n{DAEMON[0]}\n\n{RECOVERY[0]}\n")
    path.chmod(0o600)
    assert load_identities(path) == (DAEMON[0], RECOVERY[0])


@pytest.mark.parametrize("content", ["", "# only a comment\n", "AGE-SECRET-KEY-1NONSENSE\n"])
def test_an_identity_file_without_an_identity_is_an_error_of_usage(tmp_path: Path, content: str) -> None:
    """The content is not repeated."""
    path = tmp_path / "identity.txt"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        load_identities(path)
    assert "NONSENSE" not in str(caught.value)


def test_a_missing_identity_file_or_a_folder_is_an_error_of_usage(tmp_path: Path) -> None:
    """With its path."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match=str(path)):
            load_identities(path)


def test_the_public_key_follows_from_the_identity() -> None:
    """So that a daemon can say which recipient it is."""
    assert public_key(DAEMON[0]) == DAEMON[1]


def _no_value(error: Exception) -> None:
    shown = f"{error!s} {error!r} {getattr(error, 'hint', '')} {error.__cause__!r}"
    assert VALUE not in shown
    assert "AGE-SECRET" not in shown
