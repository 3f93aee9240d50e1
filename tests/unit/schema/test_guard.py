"""Plaintext where a secret belongs is refused or warned about, wherever it stands, and is in no message."""

import random
import string
from collections.abc import Callable
from typing import ClassVar

import pytest

from kemudi.schema import report
from kemudi.schema.guard import USUAL, SensitiveNames, inspect, is_quiet, looks_like
from kemudi.schema.state import ConfigState, File

Repo = Callable[..., ConfigState]
GITHUB = "ghp_" + "0a1B2c3D4e5F" * 3
RANDOM = "q7Zk2LmX9vB4tR8sW1yC6nD3"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (GITHUB, "a GitHub token"),
        ("glpat-" + "aB3" * 7, "a GitLab token"),
        ("AKIA" + "A1B2C3D4E5F6G7H8", "an AWS access key"),
        ("xoxb-123456789012-abcdef", "a Slack token"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54", "an age identity"),
        ("postgresql://app:hunter2@db.example.com/x", "an address with a password"),
        ("redis://:hunter2@cache.example.com:6379/0", "an address with a password"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "a JSON Web Token"),
        ("key=" + RANDOM, "a random key"),
        ("0f3a9c7e5b1d2f4a6c8e0b3d5f7a9c1e", "a random key"),
    ],
)
def test_a_token_is_known_by_its_form(text: str, kind: str) -> None:
    """Known prefixes, and runs of characters that no word has."""
    assert looks_like(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bolt://localhost:7687",
        "neo4j+s://graph.example.com:7687",
        "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21",
        "registry.example.com/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/var/lib/kemudi/snapshots/2026-11-23",
        "SELECT id FROM student_records_of_2026 WHERE deleted_at IS NULL",
        "aVeryLongCamelCaseNameOfAClassOrService",
        "https://example.com/docs/how-to/change-a-setting.html#first-step",
        "collaborative_filtering_recommendations_v2",
    ],
)
def test_ordinary_settings_look_like_nothing(text: str) -> None:
    """Addresses, identifiers, digests, paths and sentences."""
    assert looks_like(text) is None


def test_random_keys_are_found_nearly_always() -> None:
    """Of 500 keys of 32 base64 or hex characters, fewer than one in twenty is missed."""
    rng = random.Random(7)
    missed = 0
    for alphabet in (string.ascii_letters + string.digits + "+/", "0123456789abcdef"):
        for _ in range(250):
            missed += looks_like("".join(rng.choice(alphabet) for _ in range(32))) is None
    assert missed < 25


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("NEO4J_PASSWORD", "*PASSWORD"),
        ("password", "*PASSWORD"),
        ("smtp-api-key", "*_API_KEY"),
        ("GITHUB_TOKEN", "*_TOKEN"),
        ("TOKEN_LIMIT", None),
        ("PASSWORD_MIN_LENGTH", None),
    ],
)
def test_names_say_what_is_sensitive(name: str, pattern: str | None) -> None:
    """Case and hyphens do not count; the whole name has to fit."""
    assert USUAL.match(name) == pattern


def test_the_contract_has_the_last_word() -> None:
    """`x-kemudi-sensitive: false` takes a name off the list; a list of one's own replaces the usual one."""
    named = {"key": "RESET_TOKEN", "value": "x", "layer": "base"}
    assert inspect(sensitive=None, names=USUAL, **named).rule == "KEM030"
    assert inspect(sensitive=False, names=USUAL, **named) is None
    assert inspect(sensitive=None, names=SensitiveNames(("*_PIN",)), **named) is None
    assert (
        inspect("DOOR_PIN", "1234", sensitive=None, names=SensitiveNames(("*_PIN",)), layer="x") is not None
    )


def test_members_of_a_structured_value_are_looked_at_too() -> None:
    """A password in a mapping or in a list of mappings is one."""
    value = {"users": [{"name": "a", "password": "hunter2"}]}
    found = inspect("ACCOUNTS", value, sensitive=None, names=USUAL, layer="base")
    assert found is not None
    assert found.severity == "error"
    assert "hunter2" not in str(found)
    assert not is_quiet(b"", {"ACCOUNTS": value}, USUAL)


class TestInARepository:
    """What validation, and so CI, the daemon and every write, says."""

    CONTRACT: ClassVar = {
        "SMTP_PASSWORD": {"type": "string", "default": ""},
        "SMTP_HOST": {"type": "string", "default": ""},
        "SMTP_PORT": {"type": "integer", "default": 25},
    }

    def state(self, repo: Repo, make_contract: Callable[..., str], text: str, **more: str) -> ConfigState:
        contract = make_contract(self.CONTRACT)
        return repo({"contracts/mail.schema.json": contract, "dev/mail.yaml": text, **more})

    def test_a_name_on_the_list_is_an_error_until_the_contract_says_more(
        self, repo: Repo, make_contract: Callable[..., str]
    ) -> None:
        """Only the environment of the layer is affected, and its value is not served."""
        state = self.state(repo, make_contract, "SMTP_PASSWORD: hunter2\n")
        (finding,) = state.findings
        assert (finding.rule, finding.line, finding.severity) == ("KEM030", 1, "error")
        assert state.findings_for("prod") == ()
        assert "hunter2" not in report.as_text(state.findings, report.source_of(state))
        said = self.CONTRACT | {
            "SMTP_PASSWORD": {"type": "string", "default": "", "x-kemudi-sensitive": False}
        }
        text = make_contract(said).encode()
        state = state.update({"contracts/mail.schema.json": File("contracts/mail.schema.json", text)})
        assert state.findings == ()

    def test_a_token_under_another_key_is_a_warning_that_stops_nothing(
        self, repo: Repo, make_contract: Callable[..., str]
    ) -> None:
        """It is served, and named; neither message nor source line shows it."""
        state = self.state(repo, make_contract, f"SMTP_HOST: {GITHUB}\n")
        (finding,) = state.findings
        assert (finding.rule, finding.severity) == ("KEM035", "warning")
        assert state.findings_for("dev") == ()
        assert state.resolve("dev")["mail"].settings["SMTP_HOST"].value == GITHUB
        assert GITHUB not in report.as_text(state.findings, report.source_of(state))

    @pytest.mark.parametrize(
        "line", [f"SMTP_PORT: {GITHUB}", f"SMTP_HOSTS: {GITHUB}", "OTHER_PASSWORD: canary-1"]
    )
    def test_no_other_finding_about_the_line_shows_it(
        self, repo: Repo, make_contract: Callable[..., str], line: str
    ) -> None:
        """A wrong type and an unknown key usually quote the value and show the line."""
        state = self.state(repo, make_contract, f"{line}\n")
        said = report.as_text(state.findings, report.source_of(state)) + str(
            report.as_json(state.findings, 1)
        )
        assert len(state.findings) == 2
        assert GITHUB not in said
        assert "canary" not in said

    def test_a_default_in_a_contract_is_looked_at_too(
        self, repo: Repo, make_contract: Callable[..., str]
    ) -> None:
        """A contract is in git like any file."""
        contract = make_contract({"SMTP_PASSWORD": {"type": "string", "default": "hunter2"}})
        state = repo({"contracts/mail.schema.json": contract})
        assert [(each.file, each.rule) for each in state.findings] == [
            ("contracts/mail.schema.json", "KEM030")
        ]
        assert "hunter2" not in report.as_text(state.findings, report.source_of(state))

    def test_a_list_of_names_in_the_manifest_replaces_the_usual_one(
        self, repo: Repo, make_contract: Callable[..., str]
    ) -> None:
        """A change of the list alone checks every file and contract again."""
        state = self.state(repo, make_contract, "SMTP_PASSWORD: hunter2\nSMTP_HOST: mail\n")
        manifest = state.files["kemudi.yaml"].data + b'\nsensitive_names: ["*_HOST"]\n'
        state = state.update({"kemudi.yaml": File("kemudi.yaml", manifest)})
        assert [(each.key, each.rule) for each in state.findings] == [("SMTP_HOST", "KEM030")]
