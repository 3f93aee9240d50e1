"""One-time links: whoever can write to the console's state folder can hand one out, and it works once."""

import hmac
import secrets
import time
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Final

from kemudi.console.access.people import Person
from kemudi.console.private_files import locked, read_json, write_json

FILE: Final = "sign-in-links.json"
PATH: Final = "/sign-in/once"
MOST: Final = 20
LIFETIME_SECONDS: Final = 7 * 24 * 3600


def make_link(state: Path, base_url: str, person: Person) -> str:
    """A link that signs `person` in as the owner of this machine, once. Its code is stored as a digest."""
    code = secrets.token_urlsafe(32)
    path = state / FILE
    with locked(path):
        entry = {"sha256": _digest(code), "person": asdict(person), "ends": time.time() + LIFETIME_SECONDS}
        write_json(path, [*read_json(path, default=[]), entry][-MOST:])
    return f"{base_url}{PATH}?code={code}"


def take(state: Path, code: str) -> Person | None:
    """Who a link is for; from now on it is used up. None for an unknown, used or old one."""
    path, digest = state / FILE, _digest(code)
    with locked(path):
        entries = read_json(path, default=[])
        found = next((entry for entry in entries if hmac.compare_digest(entry["sha256"], digest)), None)
        if found is None:
            return None
        write_json(path, [entry for entry in entries if entry is not found])
    if found["ends"] < time.time():
        return None
    person = found["person"]
    return Person(person["login"], person["name"], person["email"], tuple(person["groups"]))


def _digest(code: str) -> str:
    return sha256(code.encode("utf-8", "replace")).hexdigest()
