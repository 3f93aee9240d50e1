"""Sessions on the server: the cookie is a random name for one, and its file holds digests of such names only."""

import base64
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from kemudi.console.access.people import Person
from kemudi.console.private_files import read_json, write_json
from kemudi.schema.errors import UsageError

LIFETIME_SECONDS: Final = 12 * 3600
MOST: Final = 5000
_MASK_BYTES: Final = 32

Source = Literal["link", "password", "oidc"]
"""A one-time link of this machine, a local user's password, or an identity provider."""


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser.

    Attributes:
        person: Whose.
        source: How it began.
        ends: Seconds since 1970.
        issuer: The identity provider that said who it is; empty for the other sources.
    """

    person: Person
    source: Source
    ends: float
    issuer: str = ""


class Sessions:
    """Every session, kept over a restart in `path`. Safe to use from several threads.

    Args:
        path: The file.
        clock: Seconds since 1970.
        issuer: The identity provider that is trusted now; empty without one. What another one said of somebody
            counts no more: sessions that began there are ended.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, *, issuer: str = "") -> None:
        self._path = path
        self._clock = clock
        self._issuer = issuer
        self._lock = threading.Lock()
        self._by_digest = _read(path)
        self._end_of_other_issuers()

    def begin(self, person: Person, source: Source) -> str:
        """Make a session; return its id, which goes into the cookie and is kept nowhere."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._drop_ended()
            issuer = self._issuer if source == "oidc" else ""
            ends = self._clock() + LIFETIME_SECONDS
            self._by_digest[_digest(session)] = Session(person, source, ends, issuer)
            self._save()
        return session

    def find(self, session: str) -> Session | None:
        """The session of an id; None when it never was, has ended or was ended."""
        found = self._by_digest.get(_digest(session))
        return found if found is not None and found.ends > self._clock() else None

    def end(self, session: str) -> None:
        """Sign out: from now on the cookie names nothing."""
        with self._lock:
            if self._by_digest.pop(_digest(session), None) is not None:
                self._save()

    def others(self, session: str) -> int:
        """How many more browsers the same person is signed in with, in the same way."""
        return len(self._others(session))

    def end_others(self, session: str) -> int:
        """Sign the same person out everywhere else; return how many sessions that ended."""
        with self._lock:
            found = self._others(session)
            for digest in found:
                del self._by_digest[digest]
            if found:
                self._save()
        return len(found)

    def _others(self, session: str) -> list[str]:
        digest, now = _digest(session), self._clock()
        mine = self._by_digest.get(digest)
        if mine is None or mine.ends <= now:
            return []
        return [
            other
            for other, found in tuple(self._by_digest.items())
            if other != digest
            and found.ends > now
            and (found.person.login, found.source) == (mine.person.login, mine.source)
        ]

    def _end_of_other_issuers(self) -> None:
        kept = {
            digest: found
            for digest, found in self._by_digest.items()
            if found.source != "oidc" or (found.issuer and found.issuer == self._issuer)
        }
        if len(kept) != len(self._by_digest):
            self._by_digest = kept
            self._save()

    def _drop_ended(self) -> None:
        now = self._clock()
        kept = {digest: found for digest, found in self._by_digest.items() if found.ends > now}
        # The oldest make room: a flood of sign-ins must not fill the disk.
        self._by_digest = dict(list(kept.items())[-(MOST - 1) :])

    def _save(self) -> None:
        write_json(
            self._path,
            [{"sha256": digest, **asdict(found)} for digest, found in self._by_digest.items()],
        )


def csrf_token(session: str) -> str:
    """A token for the forms of a session, spelled anew each time: a compressed page does not give it away."""
    mask = secrets.token_bytes(_MASK_BYTES)
    masked = bytes(a ^ b for a, b in zip(mask, _csrf_key(session), strict=True))
    return base64.urlsafe_b64encode(mask + masked).decode()


def is_csrf_token(session: str, token: str) -> bool:
    """Whether a form came from a page of this session."""
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        return False
    if len(raw) != 2 * _MASK_BYTES:
        return False
    opened = bytes(a ^ b for a, b in zip(raw[:_MASK_BYTES], raw[_MASK_BYTES:], strict=True))
    return hmac.compare_digest(opened, _csrf_key(session))


def _csrf_key(session: str) -> bytes:
    return hmac.new(session.encode(), b"kemudi form", sha256).digest()


def _digest(session: str) -> str:
    return sha256(session.encode()).hexdigest()


def _read(path: Path) -> dict[str, Session]:
    try:
        return {entry["sha256"]: _session(entry) for entry in read_json(path, default=[])}
    except (UsageError, KeyError, TypeError, ValueError):
        return {}  # everybody signs in again


def _session(entry: dict[str, Any]) -> Session:
    person = entry["person"]
    return Session(
        Person(person["login"], person["name"], person["email"], tuple(person["groups"])),
        entry["source"],
        float(entry["ends"]),
        entry.get("issuer", ""),  # not in files of earlier versions
    )
