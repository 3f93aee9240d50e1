"""What a store speaks in: leases, log entries, acknowledgements, drift. Frozen, with their wire forms.

Times are RFC 3339 in UTC (`utc_text`).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, TypeAlias, get_args, get_origin

import orjson

from kemudi.schema.errors import UsageError

JSON: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"

_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1


def utc_text(moment: datetime | None = None) -> str:
    """RFC 3339 in UTC with milliseconds; now by default."""
    aware = (moment or datetime.now(UTC)).astimezone(UTC)
    return aware.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def exact_json(value: Any) -> JSON:
    """The value itself, if JSON carries it without loss. Raises UsageError, never printing it.

    Refused: numbers that are not finite, integers beyond 64 bits, text that is not Unicode, keys that are
        not text, and every type that is not JSON's.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value  # type: ignore[no-any-return] # narrowed by type(), which mypy does not follow
    if kind is str:
        _require(value.isascii() or _is_unicode(value), "text that is not valid Unicode")
    elif kind is int:
        _require(_MIN_INT <= value <= _MAX_INT, "an integer beyond 64 bits")
    elif kind is float:
        _require(math.isfinite(value), "a number that is not finite")
    elif kind is list:
        for item in value:
            exact_json(item)
    elif kind is dict:
        for key, item in value.items():
            _require(type(key) is str, "a key that is not text")
            exact_json(key)
            exact_json(item)
    else:
        _require(False, f"a {kind.__name__}")
    return value  # type: ignore[no-any-return] # as above


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise UsageError(f"a setting holds {what}, which a snapshot cannot carry")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership of one environment for a while.

    Attributes:
        holder: Who holds it, as `lease_holder` shows it.
        token: Unguessable proof of holding it.
        epoch: The fencing token: greater than that of every lease before.
    """

    holder: str
    token: str = field(repr=False)
    epoch: int


@dataclass(frozen=True, slots=True)
class StageReport:
    """What staging did.

    Attributes:
        written: Blobs that were missing or wrong.
        reused: Blobs that were there, byte for byte.
    """

    written: int
    reused: int


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What publishing did.

    Attributes:
        replicas: How many replicas have it, None where they are not waited for.
        already_current: The pointer was there before, from an attempt whose answer got lost.
    """

    replicas: int | None = None
    already_current: bool = False


DriftKind: TypeAlias = Literal[
    "manifest-missing",
    "manifest-altered",
    "blob-missing",
    "blob-altered",
    "blob-expiring",
    "setting-altered",
    "setting-added",
    "setting-removed",
    "log-missing",
    "log-altered",
    "overridden",
]


@dataclass(frozen=True, slots=True, order=True)
class DriftItem:
    """One thing in the store that is not what was published.

    Attributes:
        category: Where, None for the manifest and the log.
        key: The setting, where the altered blob can still be read.
        kind: What happened to it.
    """

    category: str | None
    key: str | None
    kind: DriftKind

    def as_json(self) -> dict[str, str | None]:
        """The wire form of the daemon's status."""
        return {"category": self.category, "key": self.key, "kind": self.kind}


def _known(cls: type[Any], document: object) -> dict[str, Any]:
    """The fields that this version knows, so that a newer writer does not break an older reader."""
    if not isinstance(document, Mapping):
        raise TypeError
    kinds = {item.name: item.type for item in fields(cls)}
    return {name: _typed(kinds[name], value) for name, value in document.items() if name in kinds}


def _typed(kind: Any, value: Any) -> Any:
    """The value of a field from JSON. Raises TypeError for another type than the field's."""
    if get_origin(kind) is tuple:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
    elif type(value) is kind:
        return value
    raise TypeError


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of an environment's log in the store.

    Attributes:
        kind: `applied`, `rejected`, `drift`, `repaired`, `paused`, `resumed`, `fenced`, …
        revision: The revision it is about.
        generation: In text form; "" where there is none.
        at: When.
        reason: One sentence, without any value.
        author: Who made the revision.
        holder: The daemon that wrote it.
        epoch: That daemon's fencing token.
        changed: The categories that changed.
        skipped: Revisions that were coalesced into this one.
        keys: The settings that it is about, where it is about an override.
        id: The store's own id of the entry, "" before it is written.
    """

    kind: str
    revision: str
    generation: str
    at: str
    reason: str = ""
    author: str = ""
    holder: str = ""
    epoch: int = 0
    changed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    id: str = ""

    def encode(self) -> bytes:
        """The wire form, without the id."""
        document = asdict(self)
        del document["id"]
        return orjson.dumps(document)

    @classmethod
    def decode(cls, data: bytes, id_: str) -> Self | None:
        """Read the wire form; None for what a hand wrote."""
        try:
            return cls(**{**_known(cls, orjson.loads(data)), "id": id_})
        except (orjson.JSONDecodeError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What one process says of the snapshot that it runs.

    Attributes:
        service: The service, "" is not allowed.
        instance: The process among the service's processes.
        revision: The revision it runs, "" for none yet.
        generation: Of what it runs, in text form.
        state: `refused` when it keeps an older snapshot on purpose.
        reason: Why, one sentence without any value.
        restart_pending: Settings that take effect when it restarts.
        keys_read: Settings that it has read so far.
        at: When.
        refused_revision: The revision that it refuses, "" for none.
        key_ids: The keys at rest that it holds, each as `<category>:<8 hex>`: what a rotation waits for.
    """

    service: str
    instance: str
    revision: str
    generation: str
    state: Literal["current", "refused"]
    reason: str = ""
    restart_pending: tuple[str, ...] = ()
    keys_read: tuple[str, ...] = ()
    at: str = ""
    refused_revision: str = ""
    key_ids: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The wire form."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """Read the wire form; None for what is malformed."""
        try:
            return cls(**_known(cls, orjson.loads(data)))
        except (orjson.JSONDecodeError, TypeError):
            return None
