"""Who did what, when, where and why: from git, from the daemon's log and from the console's own, in one list.

Git says which values changed. The daemon says what was published, put back, paused and overridden. The console says
what was asked of it, and what was refused; that part is for admins. So is what reviewers said on other consoles, which
comes over the remote as notes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode

from kemudi.console.access.approval_key import read_seal
from kemudi.console.access.people import Caller
from kemudi.console.audit import AuditEntry
from kemudi.console.board import Board
from kemudi.console.desired import layers_of
from kemudi.console.parts import Parts
from kemudi.console.provenance import Review
from kemudi.repo.approvals import Kind
from kemudi.repo.history import Entry
from kemudi.repo.history_values import DEFAULT_LAYER
from kemudi.schema.documents import JSON
from kemudi.schema.errors import KemudiError

MOST: Final = 5000
"""So many of each source are looked through, the newest."""

FIELDS: Final = (
    "at",
    "source",
    "action",
    "outcome",
    "environments",
    "layer",
    "who",
    "email",
    "settings",
    "old",
    "new",
    "values_withheld",
    "why",
    "revision",
    "address",
)
"""Of a record of an export."""

Source = Literal["git", "daemon", "console", "other-console"]
WHAT: Final = ("", "git", "daemon", "console", "refused")
_BAD: Final = frozenset({"refused", "failed", "rejected"})
_IN_GIT: Final = frozenset({"change", "commit", "import"})
"""Done by the console, these are commits, of which git says more."""

_MOST_REVIEWS: Final = 1000
_REVIEWS: Final[Mapping[Kind, str]] = {"approved": "approve", "changes": "ask-for-changes"}
"""By which word the console notes what a reviewer said."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened.

    Attributes:
        at: When.
        source: Who says so.
        action: What: the kind of a change, of an entry of the daemon's log, or the console's word.
        outcome: `done`, `refused`, `failed` or `rejected`; `unsealed` for what a reviewer is said to have said, by a
            console with another key, or by nobody.
        envs: Where; empty where that means nothing.
        who: A name or a login; empty for somebody unknown.
        email: Of a commit's author.
        keys: The settings.
        old: The value before; None for none, and where values are withheld.
        new: The value after; likewise.
        has_values: Whether these two say something.
        why: The reason, the rule that refused, what the daemon says.
        revision: The commit, if one is concerned.
        address: Where a request came from.
        layer: Where a commit changed it: `base`, an overlay, or `default` for the contract's default.
    """

    at: datetime
    source: Source
    action: str
    outcome: str
    envs: tuple[str, ...]
    who: str
    email: str = ""
    keys: tuple[str, ...] = ()
    old: JSON = None
    new: JSON = None
    has_values: bool = False
    why: str = ""
    revision: str = ""
    address: str = ""
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show. Empty text and None mean: all.

    Attributes:
        who: Part of a name, a login or an address.
        key: Part of a setting's name.
        what: One of `WHAT`.
        env: An environment; empty: all that the caller sees.
        since: First day, UTC.
        until: Last day, UTC.
    """

    who: str = ""
    key: str = ""
    what: str = ""
    env: str = ""
    since: date | None = None
    until: date | None = None

    def fits(self, line: Line) -> bool:
        """Whether a line is asked for."""
        day = line.at.astimezone(UTC).date()
        return (
            (not self.since or day >= self.since)
            and (not self.until or day <= self.until)
            and (
                not self.what
                or self.what == line.source.removeprefix("other-")
                or (self.what == "refused" and line.outcome in _BAD)
            )
            and (not self.env or not line.envs or self.env in line.envs)
            and self.who.strip().casefold() in f"{line.who} {line.email}".casefold()
            and (not self.key.strip() or any(_in(self.key, key) for key in line.keys))
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What is known.

    Attributes:
        lines: The newest first.
        silent: Sources that could not be asked now.
        cut: Whether there is more than was looked through.
    """

    lines: tuple[Line, ...]
    silent: tuple[Source, ...] = ()
    cut: bool = False


def account(parts: Parts, board: Board, caller: Caller, wanted: Wanted) -> Account:
    """Everything that fits and that the caller may see."""
    silent: list[Source] = []
    seen = [env for env in board.environments if caller.sees(env) and wanted.env in {"", env}]
    found: list[Line] = []
    cut = False
    try:
        entries = parts.provenance.latest(MOST)
        found += _from_git(entries, board, caller, seen)
        cut = len(entries) == MOST
    except KemudiError:
        silent.append("git")
    if wanted.what in {"", "daemon", "refused"}:
        for env in seen:
            if board.reachable and board.environments[env].status is None:
                continue  # not served by this daemon: it has nothing to tell
            said = _asked(parts, board, env)
            if said is None:
                silent += ["daemon"] if "daemon" not in silent else []
            else:
                found += _from_daemon(said, board, caller, env)
    noted = parts.audit.latest(MOST)
    found += _from_console(noted, caller, seen)
    try:
        found += _from_others(parts, board, caller, _not_ours(parts, noted))
    except KemudiError:
        silent += ["git"] if "git" not in silent else []
    lines = sorted((line for line in found if wanted.fits(line)), key=lambda line: line.at, reverse=True)
    return Account(tuple(lines), tuple(silent), cut)


def _from_git(entries: Any, board: Board, caller: Caller, seen: list[str]) -> Iterator[Line]:
    state = board.state
    if state is None:
        return
    layers = {env: (*layers_of(state, env), "default") for env in seen}
    for entry in entries:
        category = state.category_of.get(entry.key)
        envs = tuple(
            env for env in seen if entry.layer in layers[env] and caller.role(env, category) is not None
        )
        if envs:
            yield _of_entry(entry, envs)


def _of_entry(entry: Entry, envs: tuple[str, ...]) -> Line:
    line = Line(
        entry.at,
        "git",
        entry.kind,
        "done",
        envs,
        entry.author_name,
        entry.author_email,
        (entry.key,),
        why=entry.reason or entry.subject,
        revision=entry.revision,
        layer=entry.layer,
    )
    return line if entry.sensitive else replace(line, old=entry.old, new=entry.new, has_values=True)


def _asked(parts: Parts, board: Board, env: str) -> list[Any] | None:
    """The daemon's log of one environment; None when nobody says."""
    if not board.reachable:
        return None
    try:
        log = parts.daemon.ask("GET", f"/log?{urlencode({'env': env, 'limit': MOST})}")
        return [entry for each in log["environments"] for entry in each["entries"]]
    except (KemudiError, KeyError, TypeError):
        return None


def _from_daemon(said: list[Any], board: Board, caller: Caller, env: str) -> Iterator[Line]:
    categories = board.state.category_of if board.state is not None else {}
    for entry in said:
        try:
            at, kind = datetime.fromisoformat(entry["at"]), str(entry["kind"])
            keys = tuple(str(key) for key in entry.get("keys") or ())
        except (KeyError, TypeError, ValueError):
            continue
        hidden = [key for key in keys if caller.role(env, categories.get(key)) is None]
        if at.tzinfo is None or hidden or (not keys and caller.role(env) is None):
            continue
        yield Line(
            at,
            "daemon",
            kind,
            "rejected" if kind == "rejected" else "done",
            (env,),
            str(entry.get("author") or ""),
            keys=keys,
            why=str(entry.get("reason") or ""),
            revision=str(entry.get("revision") or ""),
        )


def _from_console(noted: Sequence[AuditEntry], caller: Caller, seen: list[str]) -> Iterator[Line]:
    """For admins: of their environments, and what belongs to none, such as signing in."""
    admin = {env for env in seen if caller.may("admin", env)}
    if not admin:
        return
    for each in noted:
        if each.env not in admin | {""} or (each.outcome == "done" and each.action in _IN_GIT):
            continue
        keys = tuple(key for key in each.key.split(", ") if key)
        yield Line(
            datetime.fromisoformat(each.at),
            "console",
            each.action,
            each.outcome,
            (each.env,) if each.env else (),
            each.who,
            keys=keys,
            why=each.detail,
            address=each.address,
            email=each.email,
        )


def _not_ours(parts: Parts, noted: Sequence[AuditEntry]) -> Iterator[Review]:
    """What reviewers said elsewhere: each of our own lines stands for one thing that the same person said.

    Where not all of our own lines are read, older things cannot be told apart and are left out.
    """
    own = Counter(
        (each.action, each.detail.rpartition(" at ")[2], each.email.casefold())
        for each in noted
        if each.outcome == "done" and each.action in _REVIEWS.values()
    )
    cut = len(noted) == MOST or not parts.audit.is_whole()
    oldest = datetime.fromisoformat(noted[-1].at) if cut and noted else None
    for each in parts.provenance.reviews(_MOST_REVIEWS):
        if oldest is not None and each.said.at < oldest:
            return
        mine = (_REVIEWS[each.said.kind], each.revision[:12], each.said.by.email.casefold())
        if own[mine]:
            own[mine] -= 1
        else:
            yield each


def _from_others(parts: Parts, board: Board, caller: Caller, said: Iterable[Review]) -> Iterator[Line]:
    """For admins of all that a commit changes; of everything, where that is not known."""
    if board.state is None or not any(caller.may("admin", env) for env in board.environments):
        return
    seal = read_seal(parts.settings.state)
    layers = {env: {*layers_of(board.state, env), DEFAULT_LAYER} for env in board.environments}
    known = set().union(*layers.values())
    for each in said:
        touched = {layer for layer, _ in each.places}
        envs = tuple(env for env in board.environments if touched & layers[env])
        reach = envs if touched and touched <= known else tuple(board.environments)
        if all(caller.may("admin", env) for env in reach):
            yield Line(
                each.said.at,
                "other-console",
                _REVIEWS[each.said.kind],
                "done" if seal.is_good(each.revision, each.said) else "unsealed",
                envs,
                each.said.by.name,
                each.said.by.email,
                tuple(dict.fromkeys(key for _, key in each.places)),
                why=each.said.comment,
                revision=each.revision,
            )


def as_record(line: Line) -> Mapping[str, Any]:
    """The line for an export."""
    return {
        "at": line.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "source": line.source,
        "action": line.action,
        "outcome": line.outcome,
        "environments": list(line.envs),
        "layer": line.layer,
        "who": line.who,
        "email": line.email,
        "settings": list(line.keys),
        "old": line.old,
        "new": line.new,
        "values_withheld": line.source == "git" and not line.has_values,
        "why": line.why,
        "revision": line.revision,
        "address": line.address,
    }


def _in(part: str, name: str) -> bool:
    return part.strip().casefold() in name.casefold()
