"""Sign-in by an OpenID Connect provider: authorization code with PKCE, each answer checked before it is believed."""

import base64
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kemudi.console.access.people import Person
from kemudi.schema.errors import UsageError
from kemudi.schema.secret import Secret

CLOCK_SKEW_SECONDS: Final = 60
"""By how much the provider's clock and ours may differ."""
KNOWN_SECONDS: Final = 600
"""How long what the provider says of itself, and its keys, are used before they are asked for again."""
SCOPES: Final = ("openid", "profile", "email")
MOST_GROUPS: Final = 500
_TIMEOUT_SECONDS: Final = 5.0
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NOT_IN_A_COMMIT: Final = re.compile(r"[<>\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Which provider, and as whom the console asks it. Raises UsageError for an issuer without https.

    Attributes:
        issuer: As the provider writes itself.
        client_id: The console's name there.
        client_secret: None for a client that has PKCE alone.
        groups_claim: Which claim lists the groups.
    """

    issuer: str
    client_id: str
    client_secret: Secret[str] | None = None
    groups_claim: str = "groups"

    def __post_init__(self) -> None:
        if not is_safe(self.issuer):
            raise UsageError(
                f"the issuer {self.issuer!r} is no https:// address",
                hint="http:// is taken on this machine's own addresses only.",
            )

    @property
    def provider(self) -> str:
        """The provider's host, for people."""
        return urlsplit(self.issuer).netloc


class ProviderAwayError(Exception):
    """The provider does not answer, or not as one."""


class NotBelievedError(Exception):
    """What came back is not what was asked for. Its text names the flaw in our words, for the audit log."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in on its way, known by a random text that only the browser keeps, in a cookie.

    What travels by other ways is derived from it, so nothing is stored here, and an answer that somebody else
    began does not fit.
    """

    known_by: str

    @classmethod
    def new(cls) -> "Attempt":
        """One that nobody knows of."""
        return cls(secrets.token_urlsafe(32))

    @property
    def state(self) -> str:
        """Comes back with the code."""
        return self._derived(b"state")

    @property
    def nonce(self) -> str:
        """Comes back inside the signed token."""
        return self._derived(b"nonce")

    @property
    def verifier(self) -> str:
        """Shown to the provider's token endpoint alone (PKCE)."""
        return self._derived(b"verifier")

    def _derived(self, use: bytes) -> str:
        digest = hmac.new(self.known_by.encode("utf-8", "replace"), b"kemudi oidc " + use, sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Provider:
    """An OpenID Connect provider. It is asked first when somebody signs in; safe to use from several threads."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def begin(self, attempt: Attempt, redirect_uri: str) -> str:
        """Where the browser goes to sign in. Raises ProviderAwayError also for a provider that has just gone away.

        A browser that is sent there anyway would show a page of its own, without the other ways of signing in.
        """
        with self._lock:
            self._metadata = None
        # Some providers tell groups only when asked for this, and others refuse what they do not know.
        groups = ("groups",) if "groups" in self._described().get("scopes_supported", ()) else ()
        address: str = prepare_grant_uri(
            self._endpoint("authorization_endpoint"),
            self._settings.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join((*SCOPES, *groups)),
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return address

    def finish(self, attempt: Attempt, redirect_uri: str, answer: Mapping[str, str]) -> Person:
        """Who signed in, by the query that the browser came back with.

        Raises ProviderAwayError, and NotBelievedError for whatever does not fit.
        """
        code = self._code(attempt, answer)
        tokens = self._tokens(attempt, redirect_uri, code)
        claims = self._claims(attempt, tokens)
        return person_of({**claims, **self._userinfo(claims, tokens)}, self._settings.groups_claim)

    def end(self, redirect_uri: str) -> str | None:
        """Where the session at the provider itself is ended, if it says so. Raises ProviderAwayError."""
        if not is_safe(self._described().get("end_session_endpoint")):
            return None
        query = {"client_id": self._settings.client_id, "post_logout_redirect_uri": redirect_uri}
        return f"{self._endpoint('end_session_endpoint')}?{urlencode(query)}"

    def _code(self, attempt: Attempt, answer: Mapping[str, str]) -> str:
        state = answer.get("state", "").encode("utf-8", "replace")
        if not attempt.known_by or not hmac.compare_digest(state, attempt.state.encode()):
            raise NotBelievedError("begun elsewhere, or too long ago")
        # RFC 9207: an answer of another provider, sent on to us.
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:
            raise NotBelievedError("another issuer answered")
        if "code" not in answer:
            raise NotBelievedError(
                "denied" if answer.get("error") == "access_denied" else "no code came back"
            )
        return answer["code"]

    def _tokens(self, attempt: Attempt, redirect_uri: str, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers, proof = self._authenticated()
        tokens = _asked("POST", self._endpoint("token_endpoint"), data=form | proof, headers=headers)
        if not isinstance(tokens.get("id_token"), str):
            raise NotBelievedError("the provider gave no token for the code")
        return tokens

    def _authenticated(self) -> tuple[dict[str, str], dict[str, str]]:
        """How the console proves to be itself: a header, and fields of the form."""
        client, secret = self._settings.client_id, self._settings.client_secret
        if secret is None:
            return {}, {"client_id": client}
        methods = self._described().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_basic" not in methods:
            return {}, {"client_id": client, "client_secret": secret.reveal()}
        pair = f"{quote(client, safe='')}:{quote(secret.reveal(), safe='')}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}

    def _claims(self, attempt: Attempt, tokens: Mapping[str, Any]) -> dict[str, Any]:
        try:
            token = self._opened(tokens["id_token"])
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self._settings.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
                params={
                    "nonce": attempt.nonce,
                    "client_id": self._settings.client_id,
                    "access_token": tokens.get("access_token"),
                },
            )
            claims.validate(now=int(self._clock()), leeway=CLOCK_SKEW_SECONDS)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise NotBelievedError(f"the token is not valid ({type(error).__name__})") from None
        return dict(claims)

    def _opened(self, token: str) -> jwt.Token:
        """A token whose signature is right. A key that is not known is looked for once: providers replace theirs."""
        try:
            return jwt.decode(token, self._keyset(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            with self._lock:
                self._keys = None
            return jwt.decode(token, self._keyset(), algorithms=_ALGORITHMS)

    def _userinfo(self, claims: Mapping[str, Any], tokens: Mapping[str, Any]) -> dict[str, Any]:
        """What the provider says of somebody outside the token, where it has such an address."""
        if not is_safe(self._described().get("userinfo_endpoint")) or not tokens.get("access_token"):
            return {}
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        said = _asked("GET", self._endpoint("userinfo_endpoint"), headers=headers)
        if said.get("sub") != claims["sub"]:
            raise NotBelievedError("the provider spoke of somebody else")
        return said

    def _endpoint(self, name: str) -> str:
        address = self._described().get(name)
        if not isinstance(address, str) or not is_safe(address):
            raise ProviderAwayError(f"it names no usable {name}")
        return address

    def _described(self) -> dict[str, Any]:
        """What the provider says of itself (discovery)."""
        with self._lock:
            known = self._metadata
        if known is None or known[0] < self._clock() - KNOWN_SECONDS:
            said = _asked("GET", self._settings.issuer.rstrip("/") + _WELL_KNOWN)
            if said.get("issuer") != self._settings.issuer:
                raise ProviderAwayError("it calls itself by another issuer")
            known = (self._clock(), said)
            with self._lock:
                self._metadata = known
        return known[1]

    def _keyset(self) -> KeySet:
        with self._lock:
            known = self._keys
        if known is None or known[0] < self._clock() - KNOWN_SECONDS:
            document: Any = _asked("GET", self._endpoint("jwks_uri"))
            known = (self._clock(), KeySet.import_key_set(document))
            with self._lock:
                self._keys = known
        return known[1]


def is_safe(address: object) -> bool:
    """Whether what is sent there can be read on the way by nobody."""
    if not isinstance(address, str):
        return False
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def person_of(claims: Mapping[str, Any], groups_claim: str) -> Person:
    """Somebody by what a provider said.

    An address that the provider did not verify is nobody's: anybody could have typed it, and roles hang on it.
    """
    login = f"oidc:{claims['sub']}"
    email = claims.get("email") if claims.get("email_verified") is True else None
    if not isinstance(email, str) or "@" not in email or _NOT_IN_A_COMMIT.search(email):
        email = None
    shown = (claims.get(name) for name in ("name", "preferred_username"))
    name = next((text for text in map(_one_line, shown) if text), email or _one_line(claims["sub"]))
    address = email or f"{sha256(login.encode()).hexdigest()[:12]}@oidc.invalid"
    return Person(email or login, name, address, _groups(claims.get(groups_claim)))


def _groups(claim: Any) -> tuple[str, ...]:  # as the provider said it
    listed = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return tuple(each for each in listed if isinstance(each, str))[:MOST_GROUPS]


def _one_line(text: Any) -> str:  # as the provider said it
    return _NOT_IN_A_COMMIT.sub(" ", text).strip()[:200] if isinstance(text, str) else ""


def _asked(method: str, address: str, **sent: Any) -> dict[str, Any]:  # for httpx
    """One request to the provider. Raises ProviderAwayError; NotBelievedError when it refuses what was sent."""
    try:
        # A way out through a proxy is for addresses elsewhere.
        with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=address.startswith("https:")) as http:
            answer = http.request(method, address, **sent)
            if answer.status_code in {400, 401, 403}:
                raise NotBelievedError(f"the provider refused with {answer.status_code}")
            document = answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderAwayError(type(error).__name__) from None
    if not isinstance(document, dict):
        raise ProviderAwayError("it answers with no object")
    return document
