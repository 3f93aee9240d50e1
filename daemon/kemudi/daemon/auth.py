"""Who may ask the daemon for what: a bearer token, no cross-site requests, and signed webhooks."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from kemudi.schema.errors import UsageError
from kemudi.store.private_files import read_key_file

MIN_SECRET: Final = 16
_SAFE: Final = frozenset({"GET", "HEAD"})
_OPEN: Final = frozenset({"/healthz"})
_WEBHOOK: Final = "/hooks/git"
_LOCAL_HOST: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: an HTTP status and a sentence."""

    status: int
    detail: str


def load_secret(path: Path | None) -> bytes | None:
    """A shared secret from a file of mode 0600. Raises UsageError when it is too short to be one."""
    if path is None:
        return None
    secret = read_key_file(path, private=True).strip()
    if len(secret) < MIN_SECRET:
        raise UsageError(f"the secret in {path} has fewer than {MIN_SECRET} characters")
    return secret


class Gatekeeper:
    """Judges a request by its head alone.

    Args:
        token: What callers must send, None on loopback.
        loopback: Only this machine can reach the port, so the caller must have named this machine: a page that
            rebinds its own name to 127.0.0.1 sends that name.
    """

    def __init__(self, token: bytes | None, *, loopback: bool) -> None:
        # Only a digest stays in memory; comparing digests also hides the length.
        self._token = None if token is None else sha256(token).digest()
        self._local_names_only = loopback and token is None

    def judge(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """None when the request may go on to its handler."""
        if path in _OPEN or path == _WEBHOOK:
            return None
        if self._local_names_only and not _LOCAL_HOST.fullmatch(headers.get("host", "localhost")):
            return Refusal(403, "this daemon answers to localhost only")
        if self._token is not None and not self._holds_token(headers.get("authorization", "")):
            return Refusal(401, "this daemon wants a bearer token")
        return None if method in _SAFE else _cross_site(headers)

    def _holds_token(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        given = sha256(token.strip().encode("utf-8", "replace")).digest()
        assert self._token is not None  # noqa: S101  # the caller asked
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)


def _cross_site(headers: Mapping[str, str]) -> Refusal | None:
    """Whether a page of another site could have sent this: by its origin, or by a body that needs no preflight."""
    if "origin" in headers:
        return Refusal(403, "requests from web pages are not answered here")
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (empty and not kind):
        return Refusal(415, "send JSON (Content-Type: application/json)")
    return None


def is_signed(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a webhook proves knowledge of the secret, as GitHub, Gitea, Forgejo or GitLab do."""
    expected = hmac.new(secret, body, sha256).hexdigest()
    for name in ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature"):
        given = headers.get(name, "").removeprefix("sha256=")
        if given:
            return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
    token = headers.get("x-gitlab-token", "")
    return bool(token) and hmac.compare_digest(token.encode("utf-8", "replace"), secret)
