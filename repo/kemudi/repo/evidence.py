"""Since when does an environment serve a value? Read from the daemon's log: which revision was applied when.

The log is bounded, may be wiped, and is not signed: it can prove that a value ran, and its silence proves nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kemudi.repo.git import SHA
from kemudi.repo.plan import same_value
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import JSON
from kemudi.schema.errors import KemudiError
from kemudi.schema.state import ConfigState


@dataclass(frozen=True, slots=True)
class Applied:
    """One revision that an environment was given, and when."""

    revision: str
    at: datetime


AppliedLog = Callable[[str], Sequence[Applied]]
"""What an environment was given, the newest first; empty where nobody knows."""


class Evidence:
    """Answers `PolicyContext.live_since`. One thread uses it at a time.

    Args:
        repository: Where the revisions are.
        log: Asked once for each environment.
    """

    def __init__(self, repository: ConfigRepository, log: AppliedLog) -> None:
        self._repository = repository
        self._log = log
        self._walks: dict[str, _Walk] = {}

    def live_since(self, env: str, key: str, value: JSON) -> datetime | None:
        """Since when `env` has been serving `value` without a break; None when that cannot be shown."""
        if env not in self._walks:
            self._walks[env] = _Walk(self._repository, self._log(env))
        since: datetime | None = None
        for at, state in self._walks[env].steps():
            if not _serves(state, env, key, value):
                break
            since = at
        return since


class _Walk:
    """The states that one environment went through, read as far back as somebody asks."""

    def __init__(self, repository: ConfigRepository, entries: Sequence[Applied]) -> None:
        self._repository = repository
        self._entries = entries
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
