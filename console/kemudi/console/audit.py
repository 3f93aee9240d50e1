"""The audit log: one JSON object a line, only ever appended to. What was done and what was refused; never a value."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

FILE: Final = "audit.jsonl"
_LONGEST: Final = 500
_READ_BYTES: Final = 4 * 1024 * 1024

Outcome = Literal["done", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line.

    Attributes:
        at: When; RFC 3339, UTC.
        who: The login; empty for somebody unknown.
        action: What was asked for, in one word: `change`, `sign-in`, `pause`, …
        outcome: How it ended.
        env: Where; empty where that means nothing.
        key: The setting, if one is concerned.
        detail: A reason, a revision, the rule that refused.
        address: Where the request came from.
        email: The person's address, where it is known.
    """

    at: str
    who: str
    action: str
    outcome: Outcome
    env: str = ""
    key: str = ""
    detail: str = ""
    address: str = ""
    email: str = ""


class Audit:
    """Appends to a file of the state folder. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def note(
        self,
        who: str,
        action: str,
        outcome: Outcome,
        *,
        env: str = "",
        key: str = "",
        detail: str = "",
        address: str = "",
        email: str = "",
    ) -> None:
        """Append one entry; it is on the disk when this returns. JSON keeps line breaks and escapes inside it."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = AuditEntry(
            at,
            _cut(who),
            _cut(action),
            outcome,
            _cut(env),
            _cut(key),
            _cut(detail),
            _cut(address),
            _cut(email),
        )
        line = json.dumps(asdict(entry), ensure_ascii=True).encode() + b"\n"
        with self._lock:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)

    def latest(self, limit: int) -> list[AuditEntry]:
        """The newest entries first."""
        found: list[AuditEntry] = []
        for entry in self._newest_first():
            if len(found) == limit:
                break
            found.append(entry)
        return found

    def is_whole(self) -> bool:
        """Whether all that was ever noted is read, and not only the end of it."""
        try:
            return self._path.stat().st_size <= _READ_BYTES
        except FileNotFoundError:
            return True

    def _newest_first(self) -> Iterator[AuditEntry]:
        try:
            with self._path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _READ_BYTES))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return
        for line in reversed(lines):
            entry = _entry(line)
            if entry is not None:
                yield entry


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _entry(line: bytes) -> AuditEntry | None:
    """A line; None for one that a crash cut off."""
    try:
        document: dict[str, Any] = json.loads(line)
        return AuditEntry(**document)
    except (ValueError, TypeError):
        return None
