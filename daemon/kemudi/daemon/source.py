"""The desired state: one git source that every environment shares, looked at once per pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kemudi.daemon.attempt import Seen, Stopped
from kemudi.daemon.commits import CommitStates
from kemudi.daemon.conditions import Condition, ConditionType, Reason
from kemudi.daemon.fetcher import Fetcher
from kemudi.daemon.order import Position, Relation
from kemudi.daemon.settings import DaemonSettings
from kemudi.daemon.trigger import Cause, Hints
from kemudi.daemon.watcher import Watched, Watcher
from kemudi.daemon.worktree import WorkTreeView
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import KemudiError
from kemudi.schema.state import ConfigState
from kemudi.store.values import utc_text

HISTORY_LIMIT: Final = 100
"""How many first-parent steps back a good commit is looked for."""

SKIPPED_LIMIT: Final = 1_000
"""How many commits of one burst are named in the log."""

_FETCH_CAUSES: Final = frozenset({Cause.WEBHOOK, Cause.REQUEST, Cause.RELOAD})


class Source:
    """One thread owns it. `begin` starts a pass; what is asked afterwards is answered from one look."""

    def __init__(
        self, settings: DaemonSettings, *, watcher: Watcher | None = None, fetcher: Fetcher | None = None
    ) -> None:
        """Take the settings, what watches a local repository, and what fetches a remote one."""
        self._settings = settings
        self._watcher = watcher
        self._fetcher = fetcher
        self._fetched_version = 0
        self._repository: ConfigRepository | None = None
        self._branch = settings.branch
        self._commits: CommitStates | None = None
        self._tree: WorkTreeView | None = None
        self._tip: str | None = None
        self._ever_had_tip = False
        self._problem: Stopped | None = None

    @property
    def branch(self) -> str | None:
        """The branch that is served, None while nobody has named one."""
        return self._branch

    @property
    def tip(self) -> str | None:
        """The branch's commit at the last look."""
        return self._tip

    @property
    def repository(self) -> ConfigRepository:
        """The open repository. Raises Stopped when it cannot be opened."""
        if self._repository is None:
            self._open()
        assert self._repository is not None  # noqa: S101  # set by _open
        return self._repository

    @property
    def has_work_tree(self) -> bool:
        """Whether uncommitted files can be served at all."""
        return self._settings.remote_url is None and self.repository.worktree_root is not None

    @property
    def problem(self) -> Stopped | None:
        """Why git could not be looked at in this pass, None when it could."""
        return self._problem

    def conditions(self) -> tuple[Condition, ...]:
        """What is wrong with following git, for every environment."""
        found = []
        if self._fetcher is not None and self._fetcher.error:
            found.append(Condition(ConditionType.SOURCE, "True", Reason.FETCH_FAILED, self._fetcher.error))
        stale = self._tree.lock.stale_path if self._tree is not None else None
        if stale is not None:
            text = f"{stale.name} was left by a git process that died; remove it when no git is running"
            found.append(Condition(ConditionType.SOURCE, "True", Reason.STALE_LOCK, text))
        if self._watch_problem:
            found.append(
                Condition(ConditionType.DEGRADED_WATCH, "True", Reason.WATCH_UNAVAILABLE, self._watch_problem)
            )
        return tuple(found)

    def begin(self, hints: Hints) -> None:
        """Start a pass: fetch a remote when it is due or hinted, forget what was seen."""
        self._tip, self._problem = None, None
        try:
            if self._fetcher is not None:
                self._follow(self._fetcher, hints)
            self._look_at_branch()
            if hints.rescan or hints.causes != {Cause.WATCH}:
                self._watch()
        except Stopped as stopped:
            self._problem = stopped
        except KemudiError as error:
            self._problem = Stopped(Reason.FETCH_FAILED, str(error))
        if self._tree is not None:
            self._tree.begin(hints)

    def look(self, mode: str) -> Seen:
        """Step `detect`: what there is now. Raises Stopped with a named state."""
        if self._problem is not None:
            raise self._problem
        if mode == "worktree" and self.has_work_tree:
            return self._work_tree().look(self._branch)
        if self._branch is None:
            raise Stopped(Reason.HEAD_DETACHED, "HEAD names no branch, and none was given with --branch")
        if self._tip is None:
            gone = self._ever_had_tip
            reason = Reason.BRANCH_DELETED if gone else Reason.UNBORN_BRANCH
            state = "was deleted" if gone else "has no commit yet"
            raise Stopped(reason, f"the branch {self._branch} {state}")
        return Seen("commit", self._tip, self._tip)

    def position(self, seen: Seen, known: tuple[str, int] | None = None) -> Position:
        """The place of a candidate in history. `known` is an ancestor with its depth: the fast way."""
        depth = self.repository.depth(seen.base, known)
        return Position(seen.revision, seen.base, depth)

    def relation(self, anchor: str, base: str) -> Relation:
        """How a commit stands to another one."""
        if anchor == base:
            return Relation.SAME
        repository = self.repository
        if repository.first_parents(base, 2)[-1] == anchor:
            return Relation.DESCENDANT
        if not repository.objects.has_commit(anchor):
            return Relation.UNKNOWN
        if repository.is_ancestor(anchor, base):
            return Relation.DESCENDANT
        return Relation.BEHIND if repository.is_ancestor(base, anchor) else Relation.DIVERGED

    def authorship(self, seen: Seen, now: str) -> tuple[str, str]:
        """Who made a candidate, and when. Uncommitted files have no author yet."""
        if not seen.is_commit:
            return "(not committed)", now
        commit = self.repository.commit_info(seen.base)
        return commit.author_name, utc_text(commit.committed_at)

    def read(self, seen: Seen) -> None:
        """Step `read`: fetch the bytes of what changed. A look at the work tree has read them already."""
        if seen.mode == "commit":
            self._states().read(seen.base)

    def state(self, seen: Seen) -> ConfigState:
        """Step `parse`: the config repo at a candidate, checked."""
        return self._work_tree().state() if seen.mode == "worktree" else self._states().state(seen.base)

    def older(self, seen: Seen, stop_at: str | None) -> Iterator[Seen]:
        """Commits to fall back on when a candidate is bad, newest first: its first parents, down to `stop_at`."""
        bases = self.repository.first_parents(seen.base, HISTORY_LIMIT)
        for sha in bases:
            if sha == stop_at:
                return
            if sha != seen.revision:
                yield Seen("commit", sha, sha)

    def newest_manifest_state(self) -> ConfigState | None:
        """The newest commit whose `kemudi.yaml` can be read: it names the environments."""
        if self._tip is None:
            return None
        for sha in self.repository.first_parents(self._tip, HISTORY_LIMIT):
            state = self._states().state(sha)
            if state.manifest is not None:
                return state
        return None

    def skipped(self, old: str, new: str, steps: int) -> tuple[str, ...]:
        """Commits between two that lie `steps` apart at most, newest first: those that nobody was served."""
        if steps < 2:
            return ()
        shas = self.repository.first_parents(new, min(steps, SKIPPED_LIMIT) + 1)[1:]
        return shas[: shas.index(old)] if old in shas else shas

    def close(self) -> None:
        """Release processes and files."""
        if self._watcher is not None:
            self._watcher.close()
        if self._fetcher is not None:
            self._fetcher.close()
        self._forget()

    def _look_at_branch(self) -> None:
        repository = self.repository
        if self._branch is None:
            self._branch = repository.head().branch
        if self._branch is not None:
            self._tip = repository.branch_tip(self._branch)
            self._ever_had_tip = self._ever_had_tip or self._tip is not None

    def _watch(self) -> None:
        if self._watcher is not None and self._settings.remote_url is None:
            where = self.repository.layout
            tree = self.repository.worktree_root if self._tree is not None else None
            self._watcher.ensure(Watched(where.git_dir, where.common_dir, tree))

    @property
    def _watch_problem(self) -> str:
        return self._watcher.problem if self._watcher is not None else ""

    def _open(self) -> None:
        path = self.path
        try:
            self._repository = ConfigRepository.open(path)
        except KemudiError as error:
            raise Stopped(Reason.FETCH_FAILED, str(error)) from error

    @property
    def path(self) -> Path:
        """Where the repository is on this machine: itself, or its mirror."""
        return self._settings.mirror if self._fetcher is not None else Path(self._settings.repo)

    def _states(self) -> CommitStates:
        if self._commits is None:
            self._commits = CommitStates(self.repository)
        return self._commits

    def _work_tree(self) -> WorkTreeView:
        if self._tree is None:
            self._tree = WorkTreeView(self.repository, self._states())
            self._watch()  # first the events, then the first look: nothing can fall between
        return self._tree

    def _follow(self, fetcher: Fetcher, hints: Hints) -> None:
        """Pass hints on to the fetching thread; open a mirror that was made anew."""
        if hints.causes & _FETCH_CAUSES:
            fetcher.request()
        if fetcher.version != self._fetched_version:
            self._fetched_version = fetcher.version
            self._forget()
        if self._repository is None and fetcher.error and not (self.path / "HEAD").is_file():
            raise Stopped(Reason.FETCH_FAILED, fetcher.error)

    def report_damage(self) -> None:
        """An object could not be read. A mirror is made anew; a local repository needs its owner."""
        if self._fetcher is not None:
            self._fetcher.report_damage()
        self._forget()

    def _forget(self) -> None:
        if self._repository is not None:
            self._repository.close()
        self._repository, self._commits, self._tree = None, None, None
