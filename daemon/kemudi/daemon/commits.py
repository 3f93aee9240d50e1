"""The config repo at a commit, computed from the nearest commit that is known: the cost is that of the changes."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from kemudi.repo.repository import ConfigRepository
from kemudi.schema.state import ConfigState, File

_KEPT: Final = 4


class CommitStates:
    """States by commit. They share what did not change, so keeping a few costs little."""

    def __init__(self, repository: ConfigRepository) -> None:
        self._repository = repository
        self._states: OrderedDict[str, ConfigState] = OrderedDict()
        self._read: tuple[str, str | None, Mapping[str, File | None]] | None = None

    def read(self, sha: str) -> None:
        """Fetch the bytes of what differs from the commit that was asked for last."""
        if sha in self._states or (self._read is not None and self._read[0] == sha):
            return
        near = next(reversed(self._states), None)
        if near is None:
            self._read = (sha, None, dict(self._repository.files(sha)))
        else:
            self._read = (sha, near, self._repository.changes(near, sha))

    def state(self, sha: str) -> ConfigState:
        """The state at a commit."""
        found = self._states.get(sha)
        if found is None:
            found = self._computed(sha)
            self._states[sha] = found
        self._states.move_to_end(sha)
        while len(self._states) > _KEPT:
            self._states.popitem(last=False)
        return found

    def _computed(self, sha: str) -> ConfigState:
        self.read(sha)
        assert self._read is not None  # noqa: S101  # set by read
        _, near, changes = self._read
        self._read = None
        if near is None:
            return ConfigState.load(file for file in changes.values() if file is not None)
        return self._states[near].update(changes)
