"""What git says: the newest commit of the served branch, and the states of commits, each read once."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kemudi.repo.formats import Commit
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.worktree import WorkTree
from kemudi.schema.state import ConfigState

_KEPT: Final = 12


@dataclass(frozen=True, slots=True)
class Saved:
    """The work tree, for environments that serve saves too.

    Attributes:
        revision: `worktree@<12 hex>`.
        state: What its files say.
    """

    revision: str
    state: ConfigState


class Desired:
    """One handle on the config repo. Safe to use from several threads; they take turns.

    Every method may raise UnavailableError's family when the repository cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._repository: ConfigRepository | None = None
        self._tree: WorkTree | None = None
        self._saved: Saved | None = None
        self._states: OrderedDict[str, ConfigState] = OrderedDict()

    @property
    def root(self) -> Path:
        """The config folder in the work tree; of a bare repository the repository itself."""
        with self._lock:
            repository = self._open()
            return repository.worktree_root or repository.layout.git_dir

    def head(self) -> tuple[str | None, str | None]:
        """The branch that is served, and its newest commit. Reads two small files."""
        with self._lock:
            head = self._open().head()
            return head.branch, head.sha

    def resolve(self, name: str) -> str:
        """The commit of any git name. Raises UnknownRevisionError."""
        with self._lock:
            return self._open().resolve(name)

    def commit(self, sha: str) -> Commit:
        """Who made a commit, when and why."""
        with self._lock:
            return self._open().commit_info(sha)

    def state(self, sha: str) -> ConfigState:
        """The config repo at a commit. Near one that was asked for lately it costs what differs."""
        with self._lock:
            found = self._states.get(sha)
            if found is None:
                found = self._read(sha)
                self._states[sha] = found
                while len(self._states) > _KEPT:
                    self._states.popitem(last=False)
            self._states.move_to_end(sha)
            return found

    def saved(self) -> Saved | None:
        """The work tree as it is on disk; None for a bare repository."""
        with self._lock:
            root = self._open().worktree_root
            if root is None:
                return None
            if self._tree is None:
                self._tree = WorkTree(root)
            scan = self._tree.scan()
            if self._saved is None:
                self._saved = Saved(scan.revision, ConfigState.load(scan.files.values()))
            elif scan.changes:
                self._saved = Saved(scan.revision, self._saved.state.update(scan.changes))
            return self._saved

    def forget(self) -> None:
        """Read everything anew at the next question."""
        with self._lock:
            self.close()
            self._states.clear()
            self._tree, self._saved = None, None

    def close(self) -> None:
        """End the process that reads objects."""
        with self._lock:
            if self._repository is not None:
                self._repository.close()
                self._repository = None

    def _open(self) -> ConfigRepository:
        if self._repository is None:
            self._repository = ConfigRepository.open(self._path)
        return self._repository

    def _read(self, sha: str) -> ConfigState:
        repository = self._open()
        near = next(reversed(self._states), None)
        if near is None:
            return ConfigState.load(repository.files(sha).values())
        return self._states[near].update(repository.changes(near, sha))


def environments_of(state: ConfigState | None) -> tuple[str, ...]:
    """The environments in promotion order; none while kemudi.yaml cannot be read."""
    if state is None or state.manifest is None:
        return ()
    return tuple(each.name for each in state.manifest.environments)


def layers_of(state: ConfigState, env: str) -> tuple[str, ...]:
    """The layers of an environment, the lowest first. Raises KeyError."""
    if state.manifest is None:
        raise KeyError(env)
    return state.manifest.environment(env).layers
