"""One caller of `kemudi wait`: what it asked for, and how far that has come."""

from dataclasses import dataclass, replace
from typing import Final

from kemudi.daemon.convergence import Convergence, judge
from kemudi.daemon.history import PublishedHistory
from kemudi.daemon.queries import Queries
from kemudi.daemon.status import EnvironmentStatus
from kemudi.store.values import Acknowledgement

_WORKTREE: Final = "worktree@"


@dataclass(slots=True)
class Target:
    """A revision that somebody waits for.

    Attributes:
        name: As the caller wrote it.
        sha: The commit it stands for, None until that is known.
    """

    name: str
    sha: str | None = None

    @property
    def is_work_tree(self) -> bool:
        """Whether it names uncommitted files."""
        return self.name.startswith(_WORKTREE)

    @property
    def revision(self) -> str:
        """The best name there is."""
        return self.sha or self.name


class Waiter:
    """Looks at one target in one environment. `local` says that a name unknown now is not about to be fetched."""

    def __init__(
        self, target: Target, queries: Queries, history: PublishedHistory, branch: str | None, *, local: bool
    ) -> None:
        self._target = target
        self._queries = queries
        self._history = history
        self._branch = branch
        self._local = local

    @property
    def revision(self) -> str:
        """What is waited for."""
        return self._target.revision

    def judge(self, status: EnvironmentStatus, clients: list[Acknowledgement]) -> Convergence:
        """How it stands now."""
        target = self._target
        if target.sha is None and not target.is_work_tree:
            target.sha = self._queries.resolve(target.name)
        found = judge(target.revision, status, clients, self._contains)
        if found.state == "timeout" and self._local and not target.is_work_tree and self._is_elsewhere():
            return self._unknown(found)
        return found

    def at_the_end(self, found: Convergence) -> Convergence:
        """The answer when the time is up: a revision that never came is named so."""
        missing = self._target.is_work_tree and self._history.place(self._target.name) is None
        if found.state == "timeout" and (missing or (not self._target.is_work_tree and self._is_elsewhere())):
            return self._unknown(found)
        return found

    def _unknown(self, found: Convergence) -> Convergence:
        known = self._target.sha is not None
        text = f"is not on the branch {self._branch}" if known else "is no revision that this daemon knows"
        return replace(found, state="unknown-revision", message=f"{self._target.revision} {text}")

    def _is_elsewhere(self) -> bool:
        sha = self._target.sha
        if sha is None:
            return True
        tip = self._queries.tip(self._branch)
        return tip is None or not self._queries.contains(tip, sha)

    def _contains(self, revision: str) -> bool:
        """Whether a served revision is the target or follows it."""
        if revision == self._target.revision:
            return True
        place = self._history.place(revision)
        if self._target.is_work_tree:
            wanted = self._history.place(self._target.name)
            return wanted is not None and place is not None and place.generation >= wanted.generation
        base = place.base if place is not None else revision
        if self._target.sha is None or not base or base.startswith(_WORKTREE):
            return False
        return self._queries.contains(base, self._target.sha)
