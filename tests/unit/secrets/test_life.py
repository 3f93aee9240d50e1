"""The life of a secret in a repository: recipients come and go, keys are renamed, branches merge."""

from collections.abc import Callable
from typing import Any

import pytest

from kemudi.repo.edits import set_sealed
from kemudi.repo.errors import NoMatchingIdentityError
from kemudi.repo.exposure import rotate_plan
from kemudi.repo.renewal import rebind, rekey
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.sealing import (
    open_setting,
    problems_elsewhere,
    seal_setting,
    status_of,
    stored_secrets,
    would_change,
)
from kemudi.repo.secrets import generate_identity
from kemudi.repo.sops import encrypt_values
from kemudi.schema.errors import FindingsError, RefusedError, UsageError
from kemudi.schema.secret import Secret

PASSWORD, RELAY, PIN = "MAIL_PASSWORD", "MAIL_RELAY_PASSWORD", "MAIL_PIN"
VALUES = {PASSWORD: "first-canary", RELAY: "second-canary", PIN: 1234}


def filled(vault: Any, *layers: str) -> Any:
    """Every value sealed in each layer."""
    for layer in layers:
        lines = [f"# {layer}", *(f"{key}: {vault.seal(layer, key, value)}" for key, value in VALUES.items())]
        vault.write({f"{layer}/mail.yaml": "\n".join(lines) + "\n"})
    assert vault.rules() == []
    return vault


def write(vault: Any, renewed: Any) -> None:
    """As `kemudi secret rekey` writes, in memory."""
    for each in renewed:
        path = f"{each.layer}/{each.category}.yaml"
        text = vault.files[path].decode()
        (old,) = [s.text for s in stored_secrets(vault.state, each.layer) if s.key == each.old_key]
        vault.write({path: text.replace(f"{each.old_key}: {old}", f"{each.key}: {each.text}")})


class TestRekey:
    """After the recipients changed."""

    def test_a_removed_recipient_opens_nothing_new_and_no_plaintext_changes(self, vault: Any) -> None:
        """Only the layers that they could read are sealed anew; the daemon reads all as before."""
        filled(vault, "base", "staging", "prod")
        before = dict(vault.files)
        vault.readers(staging=["daemon", "person"], prod=["daemon"])
        assert vault.rules() == [("KEM034", key) for key in VALUES]
        renewed = rekey(vault.state, [vault.identities["daemon"]])
        assert {(each.layer, each.key) for each in renewed} == {("prod", key) for key in VALUES}
        write(vault, renewed)
        assert vault.rules() == []
        assert vault.files["staging/mail.yaml"] == before["staging/mail.yaml"]
        for stored in stored_secrets(vault.state, "prod"):
            opened = open_setting(vault.state, "prod", stored.key, stored.text, [vault.identities["daemon"]])
            assert opened == Secret(VALUES[stored.key])
            with pytest.raises(NoMatchingIdentityError, match="sealed to daemon"):
                open_setting(vault.state, "prod", stored.key, stored.text, [vault.identities["person"]])

    def test_a_new_recipient_opens_what_was_there(self, vault: Any) -> None:
        """The teammate who reads already does it for the new one."""
        filled(vault, "prod")
        vault.readers(staging=["daemon"], prod=["daemon", "person", "newcomer"])
        write(vault, rekey(vault.state, [vault.identities["person"]]))
        for stored in stored_secrets(vault.state):
            opened = open_setting(
                vault.state, "prod", stored.key, stored.text, [vault.identities["newcomer"]]
            )
            assert opened == Secret(VALUES[stored.key])

    def test_all_or_nothing(self, vault: Any) -> None:
        """A copied line, and an identity that opens none of them: each line is named, no value."""
        filled(vault, "staging", "prod")
        vault.write({"prod/mail.yaml": vault.files["staging/mail.yaml"].decode()})
        with pytest.raises(RefusedError) as caught:
            rekey(vault.state, [vault.identities["daemon"]])
        assert str(caught.value).count("prod/mail.yaml:") == 3
        assert "staging/mail.yaml" not in str(caught.value)
        assert "canary" not in str(caught.value)

    def test_what_is_current_is_left_alone_unless_everything_is_asked_for(self, vault: Any) -> None:
        """A second run changes nothing."""
        filled(vault, "prod")
        assert rekey(vault.state, [vault.identities["daemon"]]) == ()
        assert len(rekey(vault.state, [vault.identities["daemon"]], everything=True)) == 3
        assert rekey(vault.state, [vault.identities["daemon"]], layer="staging", everything=True) == ()


class TestSet:
    """When the same value is set again."""

    @pytest.mark.parametrize(
        ("value", "who", "changes"),
        [
            ("first-canary", "daemon", False),
            ("first-canary", "person", False),
            ("other", "daemon", True),
            ("first-canary", None, True),
            ("first-canary", "stranger", True),
        ],
    )
    def test_the_line_changes_only_when_the_value_does(
        self, vault: Any, value: str, who: str, changes: bool
    ) -> None:
        """As far as an identity is there to tell."""
        filled(vault, "prod").readers(staging=["stranger"], prod=["daemon", "person"])
        text = next(stored.text for stored in stored_secrets(vault.state) if stored.key == PASSWORD)
        identities = [vault.identities[who]] if who else []
        assert would_change(vault.state, "prod", PASSWORD, value, text, identities) is changes

    def test_members_of_an_object_have_no_order(self, vault: Any) -> None:
        """The same mapping in another order is the same value; 1 is not true."""
        text = vault.seal("prod", "MAIL_ACCOUNTS", {"a": 1, "b": 2})
        daemon = [vault.identities["daemon"]]
        assert not would_change(vault.state, "prod", "MAIL_ACCOUNTS", {"b": 2, "a": 1}, text, daemon)
        assert would_change(vault.state, "prod", "MAIL_ACCOUNTS", {"b": 2, "a": True}, text, daemon)

    @pytest.mark.parametrize(
        ("layer", "key", "value", "told"),
        [
            ("prod", "MAIL_HOST", "x", "is not sensitive"),
            ("prod", "MAIL_PASWORD", "x", "no contract has a setting"),
            ("prd", PASSWORD, "x", "there is no layer"),
            ("prod", PIN, "canary", "does not fit its contract"),
        ],
    )
    def test_what_cannot_be_sealed_is_refused_without_the_value(
        self, vault: Any, layer: str, key: str, value: str, told: str
    ) -> None:
        """Before anything is sealed."""
        with pytest.raises(UsageError, match=told) as caught:
            seal_setting(vault.state, layer, key, Secret(value))
        assert "canary" not in str(caught.value)

    def test_without_recipients_nothing_is_sealed(self, vault: Any) -> None:
        """A broken recipients.yaml is not an empty one."""
        vault.write({"recipients.yaml": "recipients: []\n"})
        with pytest.raises(FindingsError):
            seal_setting(vault.state, "prod", PASSWORD, "x")


class TestRebind:
    """A renamed setting keeps its values."""

    @pytest.mark.parametrize("moved_already", [False, True])
    def test_a_value_follows_the_name(self, vault: Any, moved_already: bool) -> None:
        """In every layer, whether the author renamed the lines already or not."""
        vault.write(
            {
                f"{layer}/mail.yaml": f"{PASSWORD}: {vault.seal(layer, PASSWORD, layer)}\n"
                for layer in ("staging", "prod")
            }
        )
        vault.contract({"SMTP_SECRET": {"type": "string", "description": "x", "x-kemudi-sensitive": True}})
        if moved_already:
            for layer in ("staging", "prod"):
                path = f"{layer}/mail.yaml"
                vault.write({path: vault.files[path].decode().replace(PASSWORD, "SMTP_SECRET")})
        renewed = rebind(vault.state, PASSWORD, "SMTP_SECRET", [vault.identities["person"]])
        assert [(each.layer, each.old_key) for each in renewed] == [
            (layer, "SMTP_SECRET" if moved_already else PASSWORD) for layer in ("staging", "prod")
        ]
        for each in renewed:
            opened = open_setting(vault.state, each.layer, each.key, each.text, [vault.identities["daemon"]])
            assert opened == Secret(each.layer)

    def test_nothing_is_bound_that_was_not_sealed_for_the_old_name(self, vault: Any) -> None:
        """A ciphertext of another layer or key under the old name is not taken along."""
        text = vault.seal("staging", PASSWORD, "x")
        vault.write({"prod/mail.yaml": f"{PASSWORD}: {text}\n"})
        with pytest.raises(UsageError, match="no layer has a line"):
            rebind(vault.state, PASSWORD, RELAY, [vault.identities["person"]])


def test_many_lines_are_written_in_one_pass(vault: Any, tmp_path: Any) -> None:
    """Comments, quotes and order stay; a text that stands twice is refused rather than replaced twice."""
    one, two = vault.seal("prod", PASSWORD, "1"), vault.seal("prod", RELAY, "2")
    path = tmp_path / "mail.yaml"
    path.write_text(f"# top\n{PASSWORD}: '{one}'  # kept\n\n{RELAY}: \"{two}\"\n")
    new = {key: vault.seal("prod", key, "3") for key in (PASSWORD, RELAY)}
    assert set_sealed(path, new)
    assert path.read_text() == f"# top\n{PASSWORD}: '{new[PASSWORD]}'  # kept\n\n{RELAY}: \"{new[RELAY]}\"\n"
    path.write_text(f"{PASSWORD}: {one}\n{RELAY}: {one}\n")
    with pytest.raises(UsageError, match="one by one"):
        set_sealed(path, {PASSWORD: new[PASSWORD]})


def test_two_branches_that_change_different_secrets_of_one_file_merge(
    vault: Any, clone: Callable[[], Any]
) -> None:
    """With the real git, no driver: one value is one line. SOPS' file MAC conflicts here."""
    repo = clone()
    # Lines between the two: git calls neighbouring lines one place, in any file.
    filled(vault, "prod")
    text = vault.files["prod/mail.yaml"].decode()
    spaced = text.replace(f"{PIN}:", f"MAIL_HOST: mail\nMAIL_PORT: 587\nMAIL_TAGS: []\n{PIN}:")
    vault.write({"prod/mail.yaml": spaced})
    repo.commit(vault.files)
    for branch, key, value in (("one", PASSWORD, "mine"), ("two", PIN, 42)):
        repo.git("checkout", "--quiet", "-b", branch, "main")
        sealed = vault.seal("prod", key, value)
        path = repo.root / "prod/mail.yaml"
        set_sealed(path, {key: sealed})
        repo.git("commit", "--quiet", "-am", branch)
    repo.git("checkout", "--quiet", "main")
    repo.git("merge", "--quiet", "--no-edit", "one")
    repo.git("merge", "--quiet", "--no-edit", "two")
    vault.write({"prod/mail.yaml": (repo.root / "prod/mail.yaml").read_text()})
    assert vault.rules() == []
    found = {
        stored.key: open_setting(vault.state, "prod", stored.key, stored.text, [vault.identities["daemon"]])
        for stored in stored_secrets(vault.state)
    }
    assert found == {PASSWORD: Secret("mine"), RELAY: Secret("second-canary"), PIN: Secret(42)}


class TestRotatePlan:
    """Who could read what, from git history alone."""

    def test_everything_that_a_recipient_could_ever_read_is_listed(
        self, vault: Any, clone: Callable[[], Any]
    ) -> None:
        """Also on a branch, also what was taken out since, also after they left; by name and by key."""
        repo = clone()
        repo.commit(filled(vault, "staging").files)
        vault.write({"staging/mail.yaml": f"{PIN}: {vault.seal('staging', PIN, 7)}\n"})
        repo.commit(vault.files)
        repo.git("checkout", "--quiet", "-b", "side")
        side = dict(vault.files) | {"prod/mail.yaml": f"{RELAY}: {vault.seal('prod', RELAY, 'x')}\n".encode()}
        on_side = repo.commit(side)
        repo.git("checkout", "--quiet", "main")
        vault.readers(staging=["daemon"], prod=["daemon"])
        write(vault, rekey(vault.state, [vault.identities["daemon"]]))
        vault.write({"staging/mail.yaml": f"{RELAY}: {vault.seal('staging', RELAY, 'after')}\n"})
        repo.commit(vault.files)
        with ConfigRepository.open(repo.root) as repository:
            found = rotate_plan(repository, "person")
            assert found == rotate_plan(repository, vault.publics["person"])
            everything = rotate_plan(repository, "daemon")
            with pytest.raises(UsageError, match="never a recipient; history knows: daemon, person"):
                rotate_plan(repository, "nobody")
        listed = {(each.layer, each.key): each for each in found}
        assert set(listed) == {("staging", PASSWORD), ("staging", RELAY), ("staging", PIN), ("prod", RELAY)}
        assert all(each.certain for each in found)
        assert listed["prod", RELAY].last == on_side
        assert listed["staging", PIN].versions == 2
        assert listed["staging", RELAY].versions == 1
        assert {(each.layer, each.key): each.versions for each in everything}["staging", RELAY] == 2

    def test_a_file_of_sops_counts_too(self, vault: Any, clone: Callable[[], Any]) -> None:
        """It names its readers itself, also such as recipients.yaml never had."""
        repo = clone()
        stranger = generate_identity()[1]
        written, block = encrypt_values({PASSWORD: "x", "MAIL_HOST": "y"}, {PASSWORD}, [stranger])
        text = f"{PASSWORD}: {written[PASSWORD]}\nMAIL_HOST: y\n{block}"
        repo.commit(vault.write({"prod/mail.yaml": text}).files)
        with ConfigRepository.open(repo.root) as repository:
            found = rotate_plan(repository, stranger)
            assert rotate_plan(repository, "person") == ()
        assert [(each.layer, each.key, each.certain) for each in found] == [("prod", PASSWORD, True)]

    def test_an_unknown_set_of_recipients_counts_as_readable(
        self, vault: Any, clone: Callable[[], Any]
    ) -> None:
        """History that was rewritten cannot say who it was: better one secret too many."""
        repo = clone()
        filled(vault, "prod")
        vault.readers(staging=["daemon"], prod=["daemon"])
        repo.commit(vault.files)
        with ConfigRepository.open(repo.root) as repository:
            found = rotate_plan(repository, "daemon")
        assert [each.certain for each in found] == [False, False, False]


def test_status_names_every_line_and_what_is_wrong_with_it(vault: Any) -> None:
    """Plaintext, damage, a copy, stale recipients: by rule, without any key and without a value."""
    text = vault.seal("prod", PASSWORD, "x")
    vault.write({"prod/mail.yaml": f"{PASSWORD}: {text}\n{RELAY}: canary\n{PIN}: {text}\n"})
    lines = {line.stored.key: line for line in status_of(vault.state)}
    assert {key: [each.rule for each in line.problems] for key, line in lines.items()} == {
        PASSWORD: [],
        RELAY: ["KEM030"],
        PIN: ["KEM033"],
    }
    assert lines[PASSWORD].readers == ("daemon", "person")
    assert "canary" not in str(lines)


def test_status_also_names_what_is_at_no_sealed_line(vault: Any) -> None:
    """A key that is sensitive by its name, a sealed value where none belongs, a file that cannot be read."""
    text = vault.seal("prod", PASSWORD, "x")
    vault.write(
        {"prod/mail.yaml": f"MAIL_HOST: {text}\nMAIL_API_KEY: canary\n", "staging/mail.yaml": "a: [\n"}
    )
    found = problems_elsewhere(vault.state)
    assert [(each.file, each.rule) for each in found] == [
        ("prod/mail.yaml", "KEM031"),
        ("prod/mail.yaml", "KEM030"),
        ("staging/mail.yaml", "KEM003"),
    ]
    assert [each.rule for each in problems_elsewhere(vault.state, "staging")] == ["KEM003"]
    assert "canary" not in str(found)
