"""Files of SOPS: read with the MAC enforced, written so that the real SOPS opens them, judged without a key."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kemudi.repo.edits import render, set_value
from kemudi.repo.errors import DamagedSealError, NoMatchingIdentityError
from kemudi.repo.sealing import open_stored, seal_setting, stored_secrets
from kemudi.repo.secrets import generate_identity, open_anywhere, unseal
from kemudi.repo.sops import encrypt_values, open_file
from kemudi.repo.sops_exchange import exported, imported, without_block, written_out
from kemudi.schema.envelope import Context, Envelope, context_digest, encode_payload, recipients_digest
from kemudi.schema.errors import UsageError
from kemudi.schema.sops import SopsEnvelope

VALUES = {
    "NAME": "line one\nline two ünïcode",
    "PORT": 5432,
    "RATE": 1.5,
    "SMALL": 1e-7,
    "BIG": 1e21,
    "LARGE": 9007199254740992,
    "NEGATIVE": -7,
    "YES": True,
    "NO": False,
    "EMPTY": "",
    "NOTHING": None,
    "NUMBERS": "0123",
    "LIST": [1, "two", 3.25, ["x"], {"deep": "y"}],
    "MAP": {"inner": {"a:b": "c", "n": 1}, "empty": {}},
}
IDENTITY, PUBLIC = generate_identity()
OTHER, OTHER_PUBLIC = generate_identity()
PIN, PASSWORD = "MAIL_PIN", "MAIL_PASSWORD"  # settings' names


def program() -> str:
    """The real sops of the wheel."""
    return shutil.which("sops", path=str(Path(sys.executable).parent)) or "sops"


@pytest.fixture
def sops(tmp_path: Path) -> Any:
    """Run the real sops in a folder with an identity."""
    (tmp_path / "keys.txt").write_text(IDENTITY + "\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SOPS_")}
        env = kept | {"SOPS_AGE_KEY_FILE": str(tmp_path / "keys.txt"), "SOPS_DISABLE_VERSION_CHECK": "1"}
        argv = [program(), *arguments]
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return run


def same(found: Any, wanted: Any) -> bool:
    """Equal in type, but for what YAML of sops writes as an integer."""
    return yaml.safe_dump(found, sort_keys=False) == yaml.safe_dump(wanted, sort_keys=False)


@pytest.mark.parametrize("rule", ["", "encrypted_regex: ^(NAME|MAP|LIST)$", "unencrypted_regex: ^MAP$"])
@pytest.mark.parametrize("only_encrypted", [False, True])
def test_what_the_real_sops_wrote_is_read(sops: Any, tmp_path: Path, rule: str, only_encrypted: bool) -> None:
    """Every type, with plain parts and without, the MAC over all or over what is encrypted."""
    lines = [f"  - age: {PUBLIC},{OTHER_PUBLIC}", *([f"    {rule}"] if rule else [])]
    lines += ["    mac_only_encrypted: true"] if only_encrypted else []
    (tmp_path / ".sops.yaml").write_text("creation_rules:\n" + "\n".join(lines) + "\n")
    plain = "# a comment\n" + "".join(f"{key}: {render(value)}\n" for key, value in VALUES.items())
    (tmp_path / "plain.yaml").write_text(plain)
    done = sops("encrypt", "plain.yaml")
    assert done.returncode == 0, done.stderr
    assert same(open_file(done.stdout.encode(), "x.yaml", [OTHER, IDENTITY]), VALUES)
    with pytest.raises(NoMatchingIdentityError, match=PUBLIC):
        open_file(done.stdout.encode(), "x.yaml", [generate_identity()[0]])


@pytest.mark.parametrize("secret", [set(VALUES), {"NAME", "LIST"}, set()])
def test_the_real_sops_reads_what_is_written(sops: Any, tmp_path: Path, secret: set[str]) -> None:
    """Its own check of the MAC and of the rule which keys are encrypted; and it can edit on."""
    written, block = encrypt_values(VALUES, secret or {"NONE"}, [PUBLIC, OTHER_PUBLIC])
    text = "".join(f"{key}: {render(value)}\n" for key, value in written.items()) + block
    (tmp_path / "w.yaml").write_text(text)
    done = sops("decrypt", "w.yaml")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["MAP"] == VALUES["MAP"]
    assert open_file(text.encode(), "w.yaml", [IDENTITY]) == VALUES
    assert sops("set", "w.yaml", '["PORT"]', "5433").returncode == 0
    assert open_file((tmp_path / "w.yaml").read_bytes(), "w.yaml", [IDENTITY])["PORT"] == 5433


def test_any_change_of_the_file_is_found() -> None:
    """A plain value, a swap, a removed key, another time: the MAC or a value's own tag."""
    values = {"A": "one", "B": "two", "PLAIN": 5}
    written, block = encrypt_values(values, {"A", "B"}, [PUBLIC])
    for changed in (
        written | {"PLAIN": 6},
        written | {"A": written["B"], "B": written["A"]},
        {key: written[key] for key in ("A", "PLAIN")},
        {key: written[key] for key in ("B", "A", "PLAIN")},
        written | {"A": "one"} | {"B": "plain"},
    ):
        text = "".join(f"{key}: {render(value)}\n" for key, value in changed.items()) + block
        with pytest.raises(DamagedSealError, match=r"x\.yaml was changed"):
            open_file(text.encode(), "x.yaml", [IDENTITY])
    text = "".join(f"{key}: {render(value)}\n" for key, value in written.items()) + block
    year = text[text.index('lastmodified: "') + 15 :][:4]
    with pytest.raises(DamagedSealError):
        open_file(text.replace(f'"{year}-', '"1999-').encode(), "x.yaml", [IDENTITY])


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"pgp": [{"fp": "85D7"}]}, "PGP"),
        ({"kms": [{"arn": "arn:x"}], "age": []}, "AWS KMS"),
        ({"hc_vault": [{"x": "y"}]}, "HashiCorp Vault"),
        ({"shamir_threshold": 2}, "Shamir"),
        ({"key_groups": [{"age": []}]}, "Shamir"),
    ],
)
def test_anything_but_age_is_refused_and_the_way_out_is_named(
    vault: Any, block: dict[str, Any], told: str
) -> None:
    """In validation, without a key."""
    text = yaml.safe_dump({"MAIL_HOST": "x", "sops": block})
    vault.write({"prod/mail.yaml": text})
    (finding,) = vault.state.findings
    assert (finding.rule, finding.key) == ("KEM036", "sops")
    assert told in finding.message
    assert "sops decrypt" in finding.hint
    with pytest.raises(UsageError, match=told):
        open_file(text.encode(), "prod/mail.yaml", [IDENTITY])


class TestInAConfigRepo:
    """A values file of SOPS beside others."""

    def file(
        self, vault: Any, values: dict[str, Any], secret: set[str], who: tuple[str, ...] | None = None
    ) -> str:
        names = who or ("daemon", "person")
        written, block = encrypt_values(values, secret, [vault.publics[name] for name in names])
        return "".join(f"{key}: {render(value)}\n" for key, value in written.items()) + block

    def test_it_is_resolved_and_opened_like_any_other(self, vault: Any) -> None:
        """Its settings are envelopes until somebody with an identity has checked the MAC."""
        text = self.file(
            vault, {PASSWORD: "x", PIN: 7, "MAIL_HOST": "mail", "MAIL_TAGS": ["a"]}, {PASSWORD, PIN}
        )
        vault.write({"prod/mail.yaml": text})
        assert vault.rules() == []
        resolved = vault.state.resolve("prod")["mail"].settings
        assert {type(resolved[key].value) for key in (PASSWORD, PIN, "MAIL_HOST")} == {SopsEnvelope}
        opened = {
            each.key: open_stored(vault.state, each, [vault.identities["person"]]).reveal()
            for each in stored_secrets(vault.state)
        }
        assert opened == {PASSWORD: "x", PIN: 7}

    def test_what_is_wrong_is_found_without_a_key(self, vault: Any) -> None:
        """Plaintext under a sensitive key, an unknown key, other recipients, a plain value of a wrong type."""
        text = self.file(
            vault, {PASSWORD: "canary", "MAIL_HOTS": "x", "MAIL_PORT": "y"}, {"MAIL_HOTS"}, ("daemon",)
        )
        vault.write({"prod/mail.yaml": text})
        assert sorted(vault.rules()) == [
            ("KEM020", "MAIL_HOTS"),
            ("KEM023", "MAIL_PORT"),
            ("KEM030", PASSWORD),
            ("KEM034", "sops"),
        ]
        assert "canary" not in str(vault.state.findings)

    def test_no_command_breaks_its_mac(self, vault: Any, tmp_path: Path) -> None:
        """An edit of one line is refused and the way is named."""
        path = tmp_path / "mail.yaml"
        path.write_text(self.file(vault, {PASSWORD: "x"}, {PASSWORD}))
        with pytest.raises(UsageError, match="whose MAC any edit would break"):
            set_value(path, "MAIL_HOST", "x")

    def test_it_is_taken_over_in_place_and_given_out_again(self, vault: Any) -> None:
        """Sealed lines, plain ones for what is no secret; comments stay, encrypted ones go, nothing else changes."""
        values = {PASSWORD: "x", "MAIL_HOST": "mail", PIN: 7}
        text = "# kept\n" + self.file(vault, values, {PASSWORD, PIN, "MAIL_HOST"})
        mark = "#ENC[AES256_GCM,data:QQ==,iv:QQ==,tag:QQ==,type:comment]"
        text = text.replace(f"{PIN}:", f"{mark}\n{PIN}:")
        vault.write({"prod/mail.yaml": text})
        daemon = [vault.identities["daemon"]]
        lines = imported(vault.state, "prod", "mail", text.encode(), "mail.yaml", daemon)
        after = written_out(lines, without_block(text, "mail.yaml"), "mail.yaml")
        assert [line.split(":")[0] for line in after.splitlines()] == ["# kept", PASSWORD, "MAIL_HOST", PIN]
        vault.write({"prod/mail.yaml": after})
        assert vault.rules() == []
        again = exported(vault.state, "prod", "mail", daemon)
        assert open_file(again.encode(), "x", [vault.identities["person"]]) == values
        assert 'MAIL_HOST: "mail"\n' in again

    @pytest.mark.parametrize(
        ("values", "told"),
        [({"UNKNOWN": "canary"}, "no setting UNKNOWN"), ({PIN: "canary"}, "MAIL_PIN of x does not fit")],
    )
    def test_what_the_contract_does_not_know_is_not_taken_over(
        self, vault: Any, values: dict[str, Any], told: str
    ) -> None:
        """Named by key, never by value."""
        text = self.file(vault, values, set(values))
        with pytest.raises(UsageError, match=told) as caught:
            imported(vault.state, "prod", "mail", text.encode(), "x", [vault.identities["daemon"]])
        assert "canary" not in str(caught.value)


@pytest.mark.age
class TestAge:
    """The real age opens what is sealed, and what it sealed is opened."""

    PLACE = Context("0b7c1f4e", "prod", "mail", PASSWORD)

    def test_age_opens_an_envelope(self, vault: Any, tmp_path: Path) -> None:
        """In an emergency the recovery key and the age program are enough."""
        (tmp_path / "key.txt").write_text(vault.identities["person"] + "\n")
        text = seal_setting(vault.state, "prod", PASSWORD, "from-kemudi")
        argv = ["age", "--decrypt", "--identity", str(tmp_path / "key.txt")]
        done = subprocess.run(argv, input=Envelope.parse(text).ciphertext, capture_output=True, check=True)
        assert b'"x":"from-kemudi"' in done.stdout

    def test_what_age_sealed_is_opened(self) -> None:
        """Several recipients, an SSH key among them; the number of stanzas is counted right."""
        private = Ed25519PrivateKey.generate()
        form = Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        ssh = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        keys = [PUBLIC, OTHER_PUBLIC, ssh]
        payload = encode_payload(self.PLACE, recipients_digest(keys), "string", "from-age")
        argv = ["age", "--encrypt", *(word for key in keys for word in ("--recipient", key))]
        done = subprocess.run(argv, input=payload, capture_output=True, check=True)
        envelope = Envelope(context_digest(self.PLACE), recipients_digest(keys), done.stdout)
        assert envelope.stanzas == 3
        for identity in (IDENTITY, OTHER, private.private_bytes(*form).decode()):
            assert unseal(str(envelope), self.PLACE, [identity]) == ("string", "from-age")
        assert open_anywhere(envelope, [IDENTITY])[0] == self.PLACE
