"""What SOPS' file MAC lets through is refused by the envelope, and says by which check."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kemudi.repo.errors import DamagedSealError, UnsealError, WrongContextError, WrongSealedTypeError
from kemudi.repo.renewal import rekey
from kemudi.repo.sealing import open_setting, same_value, seal_setting, status_of
from kemudi.repo.secrets import generate_identity, seal, unseal
from kemudi.schema.envelope import Context, Envelope, context_digest, recipients_digest
from kemudi.schema.errors import RefusedError
from kemudi.schema.secret import Secret

PASSWORD = "MAIL_PASSWORD"  # a setting's name
DAEMON = generate_identity()
PLACE = Context("0b7c1f4e", "prod", "mail", PASSWORD)
SEALED = seal(PLACE, "string", "c4nary", [DAEMON[1]])


def opens(vault: Any, layer: str, key: str, text: str) -> Secret[Any]:
    return open_setting(vault.state, layer, key, text, [vault.identities["daemon"]])


class TestTheSixHoles:
    """Each of the six changes that decrypt with exit 0 there."""

    def test_a_the_type_cannot_be_changed(self, vault: Any) -> None:
        """It is inside the ciphertext: an annotation in the clear is no envelope, another contract a wrong type."""
        text = vault.seal("prod", "MAIL_PIN", 5432)
        vault.write({"prod/mail.yaml": f"MAIL_PIN: {text[:-1]},type:str]\n"})
        assert vault.rules() == [("KEM032", "MAIL_PIN")]
        place = Context(vault.state.manifest.id, "prod", "mail", "MAIL_PIN")
        with pytest.raises(WrongSealedTypeError, match="sealed as integer, its contract says string"):
            unseal(text, place, [vault.identities["daemon"]], kind="string")

    def test_b_a_renamed_key_is_found(self, vault: Any) -> None:
        """A plain one by the contract, a sealed one by its place."""
        text = vault.seal("prod", PASSWORD, "x")
        vault.write({"prod/mail.yaml": f"MAIL_RELAY_PASSWORD: {text}\nMAIL_HOTS: mail\n"})
        assert vault.rules() == [("KEM033", "MAIL_RELAY_PASSWORD"), ("KEM020", "MAIL_HOTS")]
        with pytest.raises(WrongContextError, match="for another place"):
            opens(vault, "prod", "MAIL_RELAY_PASSWORD", text)

    def test_c_bytes_shifted_from_one_value_to_the_next_damage_both(self, vault: Any) -> None:
        """Each value is authenticated alone."""
        one, two = (
            Envelope.parse(vault.seal("prod", key, "value")) for key in (PASSWORD, "MAIL_RELAY_PASSWORD")
        )
        moved = (
            Envelope(one.at, one.rs, one.ciphertext + two.ciphertext[-3:]),
            Envelope(two.at, two.rs, two.ciphertext[:-3]),
        )
        for key, envelope in zip((PASSWORD, "MAIL_RELAY_PASSWORD"), moved, strict=True):
            with pytest.raises(DamagedSealError, match="is damaged"):
                opens(vault, "prod", key, str(envelope))

    def test_d_an_added_null_is_found(self, vault: Any) -> None:
        """Under a sensitive key it is plaintext, under an unknown one unknown, under another one a wrong type."""
        vault.write({"prod/mail.yaml": "MAIL_PASSWORD: null\nMAIL_NEW: null\nMAIL_PORT: null\n"})
        assert vault.rules() == [("KEM030", PASSWORD), ("KEM020", "MAIL_NEW"), ("KEM023", "MAIL_PORT")]

    def test_e_a_file_copied_from_staging_to_prod_is_refused(self, vault: Any) -> None:
        """Without any key by validation and status; with the daemon's by what is inside, the digest made to fit."""
        text = vault.seal("staging", PASSWORD, "x")
        vault.write({"staging/mail.yaml": f"{PASSWORD}: {text}\n", "prod/mail.yaml": f"{PASSWORD}: {text}\n"})
        assert vault.rules() == [("KEM033", PASSWORD)]
        assert [bool(line.problems) for line in status_of(vault.state)] == [False, True]
        here = Context(vault.state.manifest.id, "prod", "mail", PASSWORD)
        envelope = Envelope.parse(text)
        forged = str(Envelope(context_digest(here), envelope.rs, envelope.ciphertext))
        with pytest.raises(WrongContextError, match="was sealed for layer staging"):
            opens(vault, "prod", PASSWORD, forged)
        with pytest.raises(RefusedError, match="another place"):
            rekey(vault.state, [vault.identities["daemon"]])

    def test_f_items_of_a_list_cannot_be_swapped(self, vault: Any) -> None:
        """A structured secret is sealed whole; single sealed items of a plain list are refused."""
        text = vault.seal("prod", "MAIL_ACCOUNTS", {"users": ["first", "second"]})
        assert opens(vault, "prod", "MAIL_ACCOUNTS", text) == Secret({"users": ["first", "second"]})
        vault.write({"prod/mail.yaml": f"MAIL_TAGS: ['{SEALED}', '{SEALED}']\n"})
        assert vault.rules() == [("KEM031", "MAIL_TAGS")]


def test_recipients_cannot_be_denied_in_the_clear(vault: Any) -> None:
    """An envelope for a stranger alone, its digest made to look like that of the recipients."""
    stranger = generate_identity()[1]
    place = Context(vault.state.manifest.id, "prod", "mail", PASSWORD)
    keys = vault.state.recipients.keys_for_layer("prod", vault.state.manifest)
    alone = Envelope.parse(seal(place, "string", "x", [stranger]))
    vault.write(
        {"prod/mail.yaml": f"{PASSWORD}: {Envelope(alone.at, recipients_digest(keys), alone.ciphertext)}\n"}
    )
    (finding,) = vault.state.findings
    assert finding.rule == "KEM034"
    assert "holds 1" in finding.message
    three = Envelope.parse(seal(place, "string", "x", [*keys, stranger]))
    vault.write(
        {"prod/mail.yaml": f"{PASSWORD}: {Envelope(three.at, recipients_digest(keys), three.ciphertext)}\n"}
    )
    assert vault.rules() == [("KEM034", PASSWORD)]
    with pytest.raises(DamagedSealError, match="other recipients"):
        opens(vault, "prod", PASSWORD, str(Envelope(three.at, recipients_digest(keys), three.ciphertext)))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(SEALED) - 1), st.characters(codec="ascii"))
def test_no_changed_character_opens(position: int, character: str) -> None:
    """Wherever it stands: the frame, both digests, the base64."""
    changed = SEALED[:position] + character + SEALED[position + 1 :]
    if changed != SEALED:
        with pytest.raises(UnsealError):
            unseal(changed, PLACE, [DAEMON[0]])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_changed_byte_of_the_ciphertext_opens(data: st.DataObject) -> None:
    """Flipped, cut out or doubled: header, stanzas, filler, body."""
    envelope = Envelope.parse(SEALED)
    body = bytearray(envelope.ciphertext)
    start = data.draw(st.integers(22, len(body) - 1))
    change: Callable[[], None] = data.draw(
        st.sampled_from(
            [
                lambda: body.__setitem__(start, body[start] ^ data.draw(st.integers(1, 255))),
                lambda: body.__delitem__(start),
                lambda: body.insert(start, body[start] ^ 0x55),
                lambda: body.__delitem__(slice(start, None)),
            ]
        )
    )
    change()
    if bytes(body) != envelope.ciphertext:
        with pytest.raises(UnsealError):
            unseal(str(Envelope(envelope.at, envelope.rs, bytes(body))), PLACE, [DAEMON[0]])


@pytest.fixture
def anything(vault: Any) -> tuple[Any, str]:
    """A state with a sensitive setting of any type, and an identity that opens it."""
    vault.contract({"ANYTHING": {"description": "Any JSON.", "x-kemudi-sensitive": True}})
    assert vault.rules() == []
    return vault.state, vault.identities["person"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=("Cs",))),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
)
def test_set_then_get_is_the_identity_for_every_json_value(anything: tuple[Any, str], value: Any) -> None:
    """Through the functions of the commands, type for type."""
    state, identity = anything
    text = seal_setting(state, "prod", "ANYTHING", Secret(value))
    assert same_value(open_setting(state, "prod", "ANYTHING", text, [identity]), Secret(value))
