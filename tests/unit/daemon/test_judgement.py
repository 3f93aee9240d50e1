"""Whether a revision runs everywhere, and who may ask for what: pure functions of what is known."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from kemudi.daemon.auth import Gatekeeper, is_signed, load_secret
from kemudi.daemon.conditions import Reason, conditions_of
from kemudi.daemon.convergence import judge
from kemudi.daemon.status import AppliedStatus, EnvironmentStatus
from kemudi.schema.errors import UsageError
from kemudi.schema.findings import Finding
from kemudi.schema.generation import Generation
from kemudi.store.values import Acknowledgement

ORDER = ["r1", "r2", "r3"]


def contains(wanted: str) -> Any:
    return lambda revision: ORDER.index(revision) >= ORDER.index(wanted)


def status(revision: str | None, *, rejected: str | None = None) -> EnvironmentStatus:
    applied = (
        None if revision is None else AppliedStatus(revision, Generation(0, ORDER.index(revision), 0), "")
    )
    reason = Reason.VALIDATION_FAILED if rejected else Reason.APPLIED
    errors = (Finding("f", 1, 2, "KEM023", message="no"),) if rejected else ()
    return EnvironmentStatus(
        "dev", rejected or revision, applied, conditions_of(reason, "", served=True), errors, rejected
    )


def client(name: str, revision: str, state: Any = "current") -> Acknowledgement:
    return Acknowledgement("s", name, revision, f"0.{ORDER.index(revision)}.0", state)


@pytest.mark.parametrize(
    ("served", "clients", "state"),
    [
        ("r2", [], "applied"),
        ("r3", [], "applied"),
        ("r1", [], "timeout"),
        (None, [], "timeout"),
        ("r2", [client("a", "r2")], "applied"),
        ("r3", [client("a", "r2"), client("b", "r3")], "applied"),
        ("r3", [client("a", "r1"), client("b", "r3")], "timeout"),
        ("r2", [client("a", "r1", "refused")], "refused"),
        ("r2", [client("a", "r1", "refused"), client("b", "r1")], "timeout"),
        ("r2", [client("a", "r1", "refused"), client("b", "r2")], "refused"),
    ],
)
def test_r2_has_converged(served: str | None, clients: list[Acknowledgement], state: str) -> None:
    """Applied, and every live client runs it or a descendant; none counts."""
    found = judge("r2", status(served), clients, contains("r2"))
    assert found.state == state
    assert found.converged is (state == "applied")
    assert found.as_json()["laggards"] == [
        f"s/{each.instance}" for each in clients if each.revision == "r1" and each.state == "current"
    ]


def test_what_was_rejected_is_told_with_its_errors() -> None:
    """And only of the revision that was asked for."""
    found = judge("r3", status("r1", rejected="r3"), [], contains("r3"))
    assert found.state == "rejected"
    assert found.errors[0]["file"] == "f"
    assert judge("r2", status("r1", rejected="r3"), [], contains("r2")).state == "timeout"


class TestGatekeeper:
    """By method, path and headers."""

    @pytest.mark.parametrize(
        ("method", "path", "headers", "status"),
        [
            ("GET", "/status", {}, None),
            ("GET", "/status", {"host": "localhost:8422"}, None),
            ("GET", "/status", {"host": "[::1]:8422"}, None),
            ("GET", "/status", {"host": "127.0.0.1.evil.example"}, 403),
            ("GET", "/status", {"host": "evil.example:8422"}, 403),
            ("POST", "/reconcile", {"content-type": "application/json"}, None),
            ("POST", "/reconcile", {"content-type": "application/json; charset=utf-8"}, None),
            ("POST", "/reconcile", {}, None),
            ("POST", "/reconcile", {"content-length": "3"}, 415),
            ("POST", "/reconcile", {"transfer-encoding": "chunked"}, 415),
            ("POST", "/reconcile", {"content-type": "text/plain"}, 415),
            ("POST", "/reconcile", {"content-type": "application/json", "origin": "null"}, 403),
            ("DELETE", "/pause", {"content-type": "application/x-www-form-urlencoded"}, 415),
            ("POST", "/hooks/git", {"content-type": "text/plain", "host": "hooks.example.org"}, None),
            ("GET", "/healthz", {"host": "pod-7"}, None),
        ],
    )
    def test_on_loopback(self, method: str, path: str, headers: dict[str, str], status: int | None) -> None:
        """Pages of other sites get nothing, this machine everything."""
        refusal = Gatekeeper(None, loopback=True).judge(method, path, headers)
        assert (refusal.status if refusal else None) == status

    @pytest.mark.parametrize(
        ("header", "passes"),
        [
            ("Bearer correct-horse-battery", True),
            ("bearer correct-horse-battery", True),
            ("Bearer correct-horse-batter", False),
            ("Basic correct-horse-battery", False),
            ("Bearer", False),
            ("", False),
            ("Bearer \u00fc", False),
        ],
    )
    def test_with_a_token(self, header: str, passes: bool) -> None:
        """Exactly the token."""
        gate = Gatekeeper(b"correct-horse-battery", loopback=False)
        refusal = gate.judge("GET", "/status", {"authorization": header, "host": "anything"})
        assert (refusal is None) is passes


def test_webhooks_are_signed_as_git_hosts_do() -> None:
    """GitHub, Gitea and Forgejo sign the body; GitLab sends the secret."""
    secret, body = b"0123456789abcdef", b"{}"
    digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
    assert is_signed(secret, {"x-hub-signature-256": f"sha256={digest}"}, body)
    assert is_signed(secret, {"x-gitea-signature": digest}, body)
    assert is_signed(secret, {"x-forgejo-signature": digest}, body)
    assert is_signed(secret, {"x-gitlab-token": secret.decode()}, body)
    assert not is_signed(secret, {"x-hub-signature-256": f"sha256={digest}"}, body + b" ")
    assert not is_signed(secret, {"x-hub-signature-256": "sha256=", "x-gitlab-token": ""}, body)
    assert not is_signed(secret, {}, body)


def test_a_secret_file_is_private_and_long_enough(tmp_path: Path) -> None:
    """An empty file is not "no secret"."""
    path = tmp_path / "secret"
    path.write_text("short\n")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="fewer than 16"):
        load_secret(path)
    path.write_text("long enough to be one\n")
    assert load_secret(path) == b"long enough to be one"
    assert load_secret(None) is None
