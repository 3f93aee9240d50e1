"""Ancestry and depth: exact, in process for what is near, by git for the rest.

A daemon asks about commits that lie a few steps apart, so walking a few parents answers most questions without a
process. Commit dates are never trusted: they only choose which way to walk first.
"""

from collections.abc import Iterable
from typing import Final

from kemudi.repo.errors import ShallowRepositoryError, UnknownRevisionError
from kemudi.repo.git import Git
from kemudi.repo.layout import Layout
from kemudi.repo.objects import Objects

WALK_LIMIT: Final = 64
"""Commits that are read in process before git is asked."""


class Ancestry:
    """Questions about the history of one repository."""

    def __init__(self, layout: Layout, git: Git, objects: Objects) -> None:
        self._layout = layout
        self._git = git
        self._objects = objects

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `ancestor` is `descendant` or was made before it on the way to it.

        A commit that the repository does not have is nobody's ancestor here. Raises UnknownRevisionError when it is
        `descendant` that is not there; ShallowRepositoryError, CorruptObjectError.
        """
        if ancestor == descendant:
            return True
        self._require_whole()
        if not self._objects.has_commit(descendant):
            raise UnknownRevisionError(f"{descendant} is no commit of {self._layout.common_dir}")
        seen, frontier = {descendant}, {descendant}
        while frontier and len(seen) <= WALK_LIMIT:
            sha = self._newest(frontier)
            frontier.remove(sha)
            parents = self._objects.commit(sha).parents
            if ancestor in parents:
                return True
            frontier.update(parent for parent in parents if parent not in seen)
            seen.update(parents)
        if not frontier or not self._objects.has_commit(ancestor):
            return False
        return self._git.is_ancestor(ancestor, descendant)

    def depth(self, sha: str, known: tuple[str, int] | None = None) -> int:
        """`git rev-list --count sha`. `known` is a commit with its depth: fast if it is a near ancestor.

        Raises ShallowRepositoryError, CorruptObjectError.
        """
        self._require_whole()
        if known is not None:
            base, depth = known
            added = self._added(base, sha) if self._objects.has_commit(base) else None
            if added is not None:
                return depth + added
        return self._git.count(sha)

    def first_parents(self, sha: str, limit: int) -> tuple[str, ...]:
        """`sha`, its first parent, that one's first parent …: at most `limit`, newest first.

        A shallow clone ends where it was cut off.
        """
        found: list[str] = []
        cut = self._layout.shallow_commits()
        while len(found) < limit:
            found.append(sha)
            parents = self._objects.commit(sha).parents
            if not parents or sha in cut:
                break
            sha = parents[0]
        return tuple(found)

    def _added(self, base: str, sha: str) -> int | None:
        """How many commits `sha` has that `base` has not; None if `base` is no near ancestor.

        Two walks. From `base`, until all paths have met in one commit `neck` (`behind` holds what was passed): then
        every ancestor of `base` is in `behind`, or is `neck` or older. From `sha`, until all paths have ended in
        `behind` or `neck`. A commit passed on this second walk leads to `behind` or `neck`, so it is younger than
        `neck`, so it is no ancestor of `base`: it is new, and every new commit was passed. Exact without dates.
        """
        if base == sha:
            return 0
        behind: set[str] = set()
        frontier = {base}
        rooted = False  # a first commit was passed: it leads to no neck, so all of history must be known
        while len(behind) < WALK_LIMIT:
            if not frontier or (len(frontier) == 1 and not rooted):
                added = self._walked(sha, behind | frontier, base)
                if added is not None:
                    return added
            if not frontier:
                return None
            passed = self._newest(frontier)
            frontier.remove(passed)
            behind.add(passed)
            parents = self._objects.commit(passed).parents
            rooted = rooted or not parents
            frontier.update(parent for parent in parents if parent not in behind)
        return None

    def _walked(self, sha: str, ends: set[str], base: str) -> int | None:
        """How many commits are passed from `sha` if all paths end in `ends`, one of them in `base`; else None."""
        passed: set[str] = set()
        pending = [sha]
        met_base = False
        while pending:
            current = pending.pop()
            met_base = met_base or current == base
            if current in ends or current in passed:
                continue
            parents = self._objects.commit(current).parents
            if not parents or len(passed) >= WALK_LIMIT:
                return None
            passed.add(current)
            pending.extend(parents)
        return len(passed) if met_base else None

    def _newest(self, shas: Iterable[str]) -> str:
        return max(shas, key=lambda sha: self._objects.commit(sha).committed_at)

    def _require_whole(self) -> None:
        if self._layout.is_shallow:
            raise ShallowRepositoryError(
                f"{self._layout.common_dir} is a shallow clone, so the order of its commits cannot be known",
                hint="Run `git fetch --unshallow` there, or clone without --depth.",
            )
