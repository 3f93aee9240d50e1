"""What an identity provider answers is believed only when everything about it fits."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kemudi.cli.oidc import SECRET_VARIABLE, oidc_settings
from kemudi.console.access.oidc import (
    CLOCK_SKEW_SECONDS,
    Attempt,
    NotBelievedError,
    OidcSettings,
    Provider,
    ProviderAwayError,
    person_of,
)
from kemudi.schema.errors import UsageError
from kemudi.web.server import HttpServer, listen

CLIENT, BACK = "kemudi", "http://127.0.0.1:1/sign-in/oidc/back"


def _key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig", "alg": "ES256"})


@dataclass
class Answers:
    """A provider that says what the test wants."""

    url: str
    key: Any = field(default_factory=lambda: _key("first"))
    signed_with: Any = None
    algorithm: str = "ES256"
    claims: dict[str, Any] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": "s-1"})
    keys_asked: int = 0

    def answer(self, path: str) -> Any:
        if path == "/jwks":
            self.keys_asked += 1
            return {"keys": [self.key.as_dict(private=False)]}
        if path == "/token":
            header = {"alg": self.algorithm, "kid": (self.signed_with or self.key).kid}
            claims = {name: value for name, value in self.claims.items() if value is not None}
            allowed = [self.algorithm]
            return {
                "id_token": jwt.encode(header, claims, self.signed_with or self.key, algorithms=allowed),
                "access_token": "opaque",
            }
        if path == "/userinfo":
            return self.userinfo
        named = {"authorization": "/auth", "token": "/token", "userinfo": "/userinfo"}
        said = {f"{name}_endpoint": self.url + path for name, path in named.items()}
        return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"} | said | self.described


@pytest.fixture(scope="module")
def serving() -> Iterator[dict[str, Any]]:
    held: dict[str, Any] = {}

    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(held["answers"].answer(request.url.path))

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    server = HttpServer(app, listen("127.0.0.1", 0, who="the test"), name="provider-http")
    held["url"] = server.url
    server.start()
    yield held
    server.close()


@pytest.fixture
def attempt() -> Attempt:
    return Attempt.new()


@pytest.fixture
def answers(serving: dict[str, Any], attempt: Attempt) -> Answers:
    """Everything right."""
    made = serving["answers"] = Answers(serving["url"])
    now = int(time.time())
    made.claims = {"iss": made.url, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 60}
    made.claims["nonce"] = attempt.nonce
    return made


def _finish(answers: Answers, attempt: Attempt, provider: Provider | None = None) -> Any:
    known = provider or Provider(OidcSettings(answers.url, CLIENT))
    return known.finish(attempt, BACK, {"code": "c", "state": attempt.state})


def test_what_fits_is_believed(answers: Answers, attempt: Attempt) -> None:
    """Also within the skew of two clocks; and for several audiences that name us as the one it is for."""
    answers.claims |= {"exp": int(time.time()) - CLOCK_SKEW_SECONDS + 30}
    assert _finish(answers, attempt).login == "oidc:s-1"
    answers.claims |= {"aud": [CLIENT, "another"], "azp": CLIENT}
    assert _finish(answers, attempt).login == "oidc:s-1"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://elsewhere.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"exp": "soon"},
        {"nonce": "of-another-attempt"},
        {"nonce": None},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"at_hash": "of-another-access-token"},
    ],
    ids=str,
)
def test_a_claim_that_does_not_fit(answers: Answers, attempt: Attempt, changed: dict[str, Any]) -> None:
    """Is not believed, and the reason quotes nothing of the token."""
    answers.claims |= changed
    with pytest.raises(NotBelievedError, match=r"^the token is not valid \(\w+\)$"):
        _finish(answers, attempt)


def test_a_signature_of_somebody_else(answers: Answers, attempt: Attempt) -> None:
    """Nor a key of another name, nor our own name as a key, however well the claims fit."""
    for key, algorithm in (
        (_key("first"), "ES256"),
        (_key("stranger"), "ES256"),
        (OctKey.import_key("kemudi-but-long-enough-to-sign-with", {"kid": "first"}), "HS256"),
    ):
        answers.signed_with, answers.algorithm = key, algorithm
        with pytest.raises(NotBelievedError):
            _finish(answers, attempt)


def test_a_key_that_was_replaced_is_looked_for(answers: Answers, attempt: Attempt) -> None:
    """Known keys are kept; one that is not among them is asked for once."""
    provider = Provider(OidcSettings(answers.url, CLIENT))
    _finish(answers, attempt, provider)
    _finish(answers, attempt, provider)
    assert answers.keys_asked == 1
    answers.key = _key("second")
    _finish(answers, attempt, provider)
    assert answers.keys_asked == 2


def test_userinfo_of_somebody_else(answers: Answers, attempt: Attempt) -> None:
    """Adds nothing to who signed in."""
    answers.userinfo = {"sub": "s-2", "email": "admin@example.org", "email_verified": True}
    with pytest.raises(NotBelievedError, match="somebody else"):
        _finish(answers, attempt)


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://elsewhere.example.org"},
        {"authorization_endpoint": "http://elsewhere.example.org/auth"},
        {"authorization_endpoint": None},
    ],
    ids=str,
)
def test_a_provider_that_is_none(answers: Answers, attempt: Attempt, described: dict[str, Any]) -> None:
    """One of another name, or with an address that anybody could listen to, is not asked."""
    answers.described = described
    with pytest.raises(ProviderAwayError):
        Provider(OidcSettings(answers.url, CLIENT)).begin(attempt, BACK)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"email": "a@example.org", "email_verified": True}, "a@example.org"),
        ({"email": "a@example.org", "email_verified": "true"}, "oidc:s-1"),
        ({"email": "a@example.org"}, "oidc:s-1"),
        ({"email": "a@example.org\nx", "email_verified": True}, "oidc:s-1"),
    ],
    ids=str,
)
def test_an_address_counts_when_it_was_verified(claims: dict[str, Any], expected: str) -> None:
    """Else the person is known by the provider's own name for them, which is no address and no group."""
    assert person_of({"sub": "s-1"} | claims, "groups").login == expected


@pytest.mark.parametrize(
    ("claim", "expected"),
    [(["a", 1, "b"], ("a", "b")), ("a", ("a",)), (None, ()), ({"a": 1}, ())],
    ids=str,
)
def test_groups_as_they_come(claim: Any, expected: tuple[str, ...]) -> None:
    """A list, one name, or nothing."""
    assert person_of({"sub": "s-1", "teams": claim}, "teams").groups == expected


def test_the_secret_comes_from_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file first; without either there is none. What is missing or half is an error of the call."""
    issuer, file = "https://id.example.org", tmp_path / "secret"
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    plain = oidc_settings(issuer, CLIENT, None, "groups")
    assert plain is not None
    assert plain.client_secret is None
    monkeypatch.setenv(SECRET_VARIABLE, "kemudi-canary-variable-a20c77")
    file.write_text("kemudi-canary-file-19bd3f\n")
    by_variable, by_file = (oidc_settings(issuer, CLIENT, each, "groups") for each in (None, file))
    for settings, secret in ((by_variable, "variable-a20c77"), (by_file, "file-19bd3f")):
        assert settings is not None
        assert settings.client_secret is not None
        assert settings.client_secret.reveal() == f"kemudi-canary-{secret}"
        assert secret not in repr(settings)
    assert oidc_settings("", "", None, "groups") is None
    file.write_text("\n")
    for wrong in ((issuer, "", None), ("", CLIENT, None), (issuer, CLIENT, file), (issuer, CLIENT, tmp_path)):
        with pytest.raises(UsageError):
            oidc_settings(*wrong, "groups")
    with pytest.raises(UsageError):
        oidc_settings("http://id.example.org", CLIENT, None, "groups")
