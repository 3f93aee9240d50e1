"""Pauses: an operator stops publishing to an environment, with a reason and perhaps an end; kept on disk."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kemudi.daemon.statefiles import read_json, write_json
from kemudi.daemon.status import PauseStatus
from kemudi.schema.errors import UsageError
from kemudi.store.values import utc_text

MAX_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause: why, since when, and its end (None: until it is resumed)."""

    reason: str
    since: datetime
    until: datetime | None

    @property
    def status(self) -> PauseStatus:
        """As the status shows it."""
        return PauseStatus(self.reason, None if self.until is None else utc_text(self.until))


def parse_until(text: object) -> datetime | None:
    """An end from outside: RFC 3339 with a zone, or None. Raises UsageError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise UsageError("`until` is an RFC 3339 time such as 2030-01-31T18:00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError("`until` needs a time zone; write Z for UTC")
    return moment.astimezone(UTC)


class Pauses:
    """The pauses of every environment. Safe to use from several threads."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._pauses: dict[str, Pause] = _read(read_json(path))

    def get(self, env: str) -> Pause | None:
        """The pause in force, None when there is none or its end has passed."""
        with self._lock:
            pause = self._pauses.get(env)
        ended = pause is not None and pause.until is not None and pause.until <= self._now()
        return None if ended else pause

    def pause(self, env: str, reason: str, until: datetime | None) -> Pause:
        """Start or replace a pause. Raises UsageError for an end in the past or a missing reason."""
        reason = " ".join(reason.split())[:MAX_REASON]
        if not reason:
            raise UsageError("a pause needs a reason")
        if until is not None and until <= self._now():
            raise UsageError("the end of a pause lies in the future")
        made = Pause(reason, self._now(), until)
        with self._lock:
            self._write({**self._pauses, env: made})
        return made

    def resume(self, env: str) -> bool:
        """End a pause. False when there was none."""
        with self._lock:
            if env not in self._pauses:
                return False
            self._write({name: pause for name, pause in self._pauses.items() if name != env})
        return True

    def seconds_to_next_end(self) -> float | None:
        """How long until a pause ends by itself."""
        with self._lock:
            ends = [pause.until for pause in self._pauses.values() if pause.until is not None]
        ahead = [(end - self._now()).total_seconds() for end in ends if end > self._now()]
        return min(ahead, default=None)

    def _write(self, pauses: dict[str, Pause]) -> None:
        document = {
            name: {
                "reason": pause.reason,
                "since": utc_text(pause.since),
                "until": None if pause.until is None else utc_text(pause.until),
            }
            for name, pause in pauses.items()
        }
        # On the disk first: a pause that was confirmed must hold after any crash.
        write_json(self._path, document, durable=True)
        self._pauses = pauses


def _read(document: Any) -> dict[str, Pause]:  # JSON
    """What the file says; an entry that cannot be read pauses without an end, which is the safe side."""
    if not isinstance(document, Mapping):
        return {}
    return {str(env): _entry(entry) for env, entry in document.items()}


def _entry(entry: object) -> Pause:
    fields = entry if isinstance(entry, Mapping) else {}
    try:
        since = parse_until(fields.get("since")) or datetime.now(UTC)
        until = parse_until(fields.get("until"))
    except UsageError:
        since, until = datetime.now(UTC), None
    return Pause(str(fields.get("reason") or "unreadable entry in the state folder"), since, until)
