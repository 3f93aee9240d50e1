"""Since when does an environment serve a value? Read from the daemon's log: which revision was applied when.

The log is bounded, may be wiped, and is not signed: it can prove that a value ran, and its silence proves nothing.
While an override stood over a setting, no value of git ran.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from kemudi.repo.git import SHA
from kemudi.repo.plan import same_value
from kemudi.repo.policy import LiveSince
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import JSON
from kemudi.schema.errors import KemudiError
from kemudi.schema.state import ConfigState

LOG_ENTRIES: Final = 10_000
"""So many are asked for; the store keeps no more."""

_SERVING: Final = frozenset({"applied", "repaired"})
_OVER: Final = frozenset({"override-ended", "override-expired", "override-merged"})


@dataclass(frozen=True, slots=True)
class Applied:
    """One revision that an environment was given, and when."""

    revision: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """What an environment was given, as far as anybody knows.

    Attributes:
        applied: The revisions, the newest first.
        overridden: Settings that an override stood over, and until when; None: one stands now.
    """

    applied: Sequence[Applied] = ()
    overridden: Mapping[str, datetime | None] = field(default_factory=dict)


ServedLog = Callable[[str], Served]
"""What an environment was given; nothing where nobody knows."""


def served(entries: Iterable[Mapping[str, Any]], standing: Collection[str]) -> Served:
    """Read the daemon's log of one environment; what is no entry is left out.

    Args:
        entries: As the daemon's `/log` gives them, in any order.
        standing: The settings that an override stands over now.
    """
    applied: list[Applied] = []
    overridden: dict[str, datetime | None] = {}
    for at, entry in sorted(_dated(entries), key=lambda each: each[0]):
        kind, revision = entry.get("kind"), entry.get("revision")
        if kind in _SERVING and isinstance(revision, str):
            applied.append(Applied(revision, at))
        elif kind == "override-set":
            overridden.update(dict.fromkeys(entry.get("keys") or ()))
        elif kind in _OVER:
            overridden.update(dict.fromkeys(entry.get("keys") or (), at))
    return Served(tuple(reversed(applied)), overridden | dict.fromkeys(standing))


def _dated(entries: Iterable[Mapping[str, Any]]) -> Iterator[tuple[datetime, Mapping[str, Any]]]:
    for entry in entries:
        try:
            at = datetime.fromisoformat(entry["at"])
        except (KeyError, TypeError, ValueError):
            continue
        if at.tzinfo is not None:
            yield at, entry


@contextmanager
def evidence_of(root: Path, log: ServedLog) -> Iterator[LiveSince]:
    """`PolicyContext.live_since` for the repository of a folder, which is opened when it is first asked."""
    with ExitStack() as stack:

        @cache
        def evidence() -> Evidence:
            return Evidence(stack.enter_context(ConfigRepository.open(root)), log)

        yield lambda env, key, value: evidence().live_since(env, key, value)


class Evidence:
    """Answers `PolicyContext.live_since`. One thread uses it at a time.

    Args:
        repository: Where the revisions are.
        log: Asked once for each environment.
    """

    def __init__(self, repository: ConfigRepository, log: ServedLog) -> None:
        self._repository = repository
        self._log = log
        self._walks: dict[str, _Walk] = {}

    def live_since(self, env: str, key: str, value: JSON) -> datetime | None:
        """Since when `env` has been serving `value` without a break; None when that cannot be shown."""
        if env not in self._walks:
            self._walks[env] = _Walk(self._repository, self._log(env))
        walk = self._walks[env]
        since: datetime | None = None
        for at, state in walk.steps():
            if not _serves(state, env, key, value):
                break
            since = at
        if since is None or key not in walk.overridden:
            return since
        until = walk.overridden[key]
        return max(since, until) if until is not None else None


class _Walk:
    """The states that one environment went through, read as far back as somebody asks."""

    def __init__(self, repository: ConfigRepository, served: Served) -> None:
        self.overridden = served.overridden
        self._repository = repository
        self._entries = served.applied
        self._known: list[tuple[datetime, ConfigState]] = []
        self._shas: list[str] = []
        self._ended = False

    def steps(self) -> Iterator[tuple[datetime, ConfigState]]:
        """When each state was applied, the newest first, up to the first that is not a commit of this repository."""
        position = 0
        while True:
            if position == len(self._known) and not self._ended:
                self._read_next()
            if position == len(self._known):
                return
            yield self._known[position]
            position += 1

    def _read_next(self) -> None:
        if len(self._known) == len(self._entries):
            self._ended = True
            return
        entry = self._entries[len(self._known)]
        if not SHA.fullmatch(entry.revision):
            self._ended = True  # uncommitted files: nobody can say any more what they held
            return
        try:
            self._known.append((entry.at, self._state(entry.revision)))
        except KemudiError:
            self._ended = True  # a commit that is not here, or cannot be read
            return
        self._shas.append(entry.revision)

    def _state(self, sha: str) -> ConfigState:
        if not self._known:
            return ConfigState.load(self._repository.files(self._repository.resolve(sha)).values())
        return self._known[-1][1].update(self._repository.changes(self._shas[-1], sha))


def _serves(state: ConfigState, env: str, key: str, value: JSON) -> bool:
    """Whether an environment serves a value at a state. A category with errors may be held at an older one."""
    category = state.category_of.get(key)
    if category is None or state.manifest is None:
        return False
    if env not in {each.name for each in state.manifest.environments} or state.findings_for(env, category):
        return False
    resolved = state.resolve(env).get(category)
    setting = resolved.settings.get(key) if resolved is not None else None
    return setting is not None and same_value(setting.value, value)
