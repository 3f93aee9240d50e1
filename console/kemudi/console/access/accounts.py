"""Local users with argon2 hashes, and bearer tokens for machines with SHA-256 digests: two files, read when asked."""

import hmac
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kemudi.console.access.people import ORDER, Person
from kemudi.console.private_files import locked, read_json, write_json
from kemudi.schema.errors import UsageError
from kemudi.schema.manifest import Role, RoleGrant

USERS: Final = "users.json"
TOKENS: Final = "tokens.json"
SHORTEST_PASSWORD: Final = 12
TOKEN_PREFIX: Final = "kemudi_"  # noqa: S105  # it makes a leaked token easy to find, and is none
_LONGEST_PASSWORD: Final = 1024

_HASHER: Final = PasswordHasher()
_NOBODY: Final = _HASHER.hash(secrets.token_urlsafe(16))
_ONE_AT_A_TIME: Final = threading.Semaphore(2)  # each check takes 64 MiB


@dataclass(frozen=True, slots=True)
class Token:
    """What a bearer token allows; no environments or categories means all of them."""

    name: str
    grant: RoleGrant


def set_user(state: Path, person: Person, password: str) -> None:
    """Add a local user, or replace one. Raises UsageError for a short password."""
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise UsageError(f"a password has at least {SHORTEST_PASSWORD} characters")
    path = state / USERS
    entry = {"name": person.name, "email": person.email, "argon2": _HASHER.hash(password)}
    with locked(path):
        write_json(path, {**read_json(path, default={}), person.login: entry})


def remove_user(state: Path, login: str) -> bool:
    """Remove a local user; False when there is none."""
    path = state / USERS
    with locked(path):
        users = read_json(path, default={})
        if login not in users:
            return False
        write_json(path, {name: entry for name, entry in users.items() if name != login})
    return True


def check_password(state: Path, login: str, password: str) -> Person | None:
    """The local user of this name and password. It takes as long for a name that is not known."""
    entry = read_json(state / USERS, default={}).get(login)
    with _ONE_AT_A_TIME:
        fits = _fits(entry["argon2"] if entry else _NOBODY, password[:_LONGEST_PASSWORD])
    if entry is None or not fits:
        return None
    if _HASHER.check_needs_rehash(entry["argon2"]):
        _renew(state / USERS, login, entry["argon2"], password)
    return Person(login, entry["name"], entry["email"])


def _renew(path: Path, login: str, stored: str, password: str) -> None:
    """Hash a password anew, since what a hash costs was raised meanwhile; not one that was replaced meanwhile."""
    with _ONE_AT_A_TIME:
        renewed = _HASHER.hash(password[:_LONGEST_PASSWORD])
    with locked(path):
        users = read_json(path, default={})
        if users.get(login, {}).get("argon2") == stored:
            write_json(path, {**users, login: users[login] | {"argon2": renewed}})


def users(state: Path) -> tuple[Person, ...]:
    """Every local user, by login; nothing of their passwords."""
    found = read_json(state / USERS, default={})
    return tuple(Person(login, entry["name"], entry["email"]) for login, entry in sorted(found.items()))


def has_users(state: Path) -> bool:
    """Whether anybody can sign in with a password."""
    return bool(read_json(state / USERS, default={}))


def user_exists(state: Path, login: str) -> bool:
    """Whether a local user is still there."""
    return login in read_json(state / USERS, default={})


def add_token(state: Path, name: str, grant: RoleGrant, *, days: int) -> str:
    """Make a token that ends after some days; return it, for the only time. Raises UsageError for a taken name."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    path = state / TOKENS
    ends = datetime.fromtimestamp(datetime.now(UTC).timestamp() + days * 86400, UTC)
    entry = {
        "sha256": sha256(token.encode()).hexdigest(),
        "role": grant.role,
        "environments": list(grant.environments),
        "categories": list(grant.categories),
        "ends": ends.isoformat(timespec="seconds"),
    }
    with locked(path):
        tokens = read_json(path, default={})
        if name in tokens:
            raise UsageError(
                f"there is a token {name!r} already", hint="Remove it first, or choose another name."
            )
        write_json(path, {**tokens, name: entry})
    return token


def remove_token(state: Path, name: str) -> bool:
    """Revoke a token; False when there is none. It is refused from the next request on."""
    path = state / TOKENS
    with locked(path):
        tokens = read_json(path, default={})
        if name not in tokens:
            return False
        write_json(path, {kept: entry for kept, entry in tokens.items() if kept != name})
    return True


def find_token(state: Path, token: str) -> Token | None:
    """What a bearer token allows now; None for an unknown, revoked or ended one."""
    digest, found = sha256(token.encode("utf-8", "replace")).hexdigest(), None
    for name, entry in read_json(state / TOKENS, default={}).items():
        if hmac.compare_digest(entry["sha256"], digest):
            found = (name, entry)
    if found is None or datetime.fromisoformat(found[1]["ends"]) < datetime.now(UTC):
        return None
    return Token(found[0], _grant(found[0], found[1]))


def tokens(state: Path) -> tuple[tuple[Token, datetime], ...]:
    """Every token that works, by name, and when it ends; nothing by which one could use it."""
    found = read_json(state / TOKENS, default={})
    listed = [
        (Token(name, _grant(name, entry)), datetime.fromisoformat(entry["ends"]))
        for name, entry in sorted(found.items())
    ]
    return tuple(each for each in listed if each[1] >= datetime.now(UTC))


def token_works(state: Path, name: str) -> bool:
    """Whether a token of this name is neither revoked nor ended."""
    entry = read_json(state / TOKENS, default={}).get(name)
    return entry is not None and datetime.fromisoformat(entry["ends"]) >= datetime.now(UTC)


def _grant(name: str, entry: dict[str, Any]) -> RoleGrant:
    if entry["role"] not in ORDER:
        raise UsageError(f"the token {name} has an unknown role")
    role = cast("Role", entry["role"])
    return RoleGrant(f"token:{name}", role, tuple(entry["environments"]), tuple(entry["categories"]))


def _fits(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
