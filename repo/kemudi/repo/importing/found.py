"""What was found in a source: settings, the rows of its change log, and what could not be taken over."""

from dataclasses import dataclass, field
from datetime import datetime

from kemudi.repo.people import Author
from kemudi.schema.documents import JSON


@dataclass(frozen=True, slots=True)
class Found:
    """One setting of a source. Its values are in no `repr`: they may be secrets.

    Attributes:
        key: By the rules of a config repo: upper case, `_` between words.
        value: None where the source sets none.
        is_text: `value` and `default` are the text of a value, to be read by `kind`, or by the look of it.
        kind: The JSON type that the source declares, `json` for an object or a list; None if it declares none.
        description: The author's own words; empty if there are none.
        category: As the source groups its settings.
        default: Served where nobody sets the key; None if the source names none.
        sensitive: The source says so. By name and by content it is found out later.
        requires_restart: The source says so.
        place: Where it stands, for people.
    """

    key: str
    value: JSON = field(repr=False)
    is_text: bool = False
    kind: str | None = None
    description: str = ""
    category: str | None = None
    default: JSON = field(default=None, repr=False)
    sensitive: bool = False
    requires_restart: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of a change log: the value of a key went from `old` to `new`; None = not set."""

    id: str
    key: str
    old: str | None = field(repr=False)
    new: str | None = field(repr=False)
    at: datetime
    author: Author
    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """What was not taken over, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that a source has.

    Attributes:
        source: Its name for commit messages, `settings.py` or `table dynamic_config`; never with credentials.
        settings: In the order of the source.
        log: The rows of its change log, the oldest first.
        left: What was not taken over.
    """

    source: str
    settings: tuple[Found, ...]
    log: tuple[LogRow, ...] = ()
    left: tuple[Left, ...] = ()
