"""What a plan is made of: which revision is compared with which, their states, and what the commits between say.

The base is where a branch left its origin, so that a plan says what the branch does, not what others did meanwhile.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kemudi.repo.errors import GitFailedError, ShallowRepositoryError, UnknownRevisionError
from kemudi.repo.formats import Commit
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.worktree import WorkTree
from kemudi.schema.errors import UnavailableError, UsageError
from kemudi.schema.paths import File
from kemudi.schema.state import ConfigState

WORKTREE: Final = "worktree"
"""The name of the uncommitted files, where a revision is asked for."""

# Where a branch is most likely to go, the surest first.
_DEFAULTS: Final = (
    "refs/remotes/origin/HEAD",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
    "@{upstream}",
    "refs/heads/main",
    "refs/heads/master",
)
_MOST_COMMITS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Ends:
    """The two revisions of a comparison.

    Attributes:
        base: Full SHA; None for the state before the first commit.
        head: Full SHA, or `worktree@<12 hex>`.
        commit: The commit of the head; of a work tree, the one that it stands on. None for an unborn branch.
        changes: What the head has that the base has not, by path; None for what is gone.
        notes: What a reader should know of the choice.
    """

    base: str | None
    head: str
    commit: str | None
    changes: Mapping[str, File | None]
    notes: tuple[str, ...] = ()

    @property
    def is_committed(self) -> bool:
        """Whether the head is a commit."""
        return self.head == self.commit


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two revisions with their states; `new` shares with `old` whatever did not change."""

    ends: Ends
    old: ConfigState
    new: ConfigState
    commits: tuple[Commit, ...]


def compare(repository: ConfigRepository, *, base: str | None = None, head: str | None = None) -> Comparison:
    """The states of two revisions, and the commits that lead from one to the other, newest first.

    Args:
        repository: Where both are.
        base: A name of git's. Without one: where the branch left the default branch; on the default branch itself,
            HEAD for uncommitted files and the commit before HEAD otherwise.
        head: A name of git's, or `worktree`. Without one: the work tree, as HEAD if it holds nothing uncommitted.

    Raises UnknownRevisionError, UsageError for a work tree that is not there, and what reading raises.
    """
    ends = find_ends(repository, base=base, head=head)
    old = state_of(repository, ends.base)
    return Comparison(ends, old, old.update(ends.changes), commits_between(repository, ends))


def state_of(repository: ConfigRepository, sha: str | None) -> ConfigState:
    """The state at a commit; an empty one for None."""
    return ConfigState.load(repository.files(sha).values() if sha is not None else ())


def find_ends(repository: ConfigRepository, *, base: str | None = None, head: str | None = None) -> Ends:
    """The two revisions, and which files differ: only those are read. See `compare`."""
    commit, tree = _head(repository, head)
    found, notes = _base(repository, base, commit, is_dirty=tree is not None)
    if tree is not None:
        return Ends(found, tree.scan(()).revision, commit, _uncommitted(repository, found, tree), notes)
    if commit is None:
        raise UnknownRevisionError("there is no commit yet", hint="Commit the config repo first.")
    changes = repository.changes(found, commit) if found is not None else dict(repository.files(commit))
    return Ends(found, commit, commit, changes, notes)


def commits_between(repository: ConfigRepository, ends: Ends) -> tuple[Commit, ...]:
    """The commits of the head that the base has not, newest first, at most 1,000."""
    if ends.commit is None or ends.commit == ends.base:
        return ()
    excluded = [f"^{ends.base}"] if ends.base is not None else []
    names = ["rev-list", f"--max-count={_MOST_COMMITS}", ends.commit, *excluded, "--"]
    shas = repository.git.run(*names).decode("ascii", "replace").split()
    return tuple(repository.commit_info(sha) for sha in shas)


def _head(repository: ConfigRepository, name: str | None) -> tuple[str | None, WorkTree | None]:
    """The commit of the head, and the work tree if that is what is meant."""
    if name not in (None, WORKTREE):
        return repository.resolve(str(name)), None
    commit, root = repository.head().sha, repository.worktree_root
    if root is None:
        if name == WORKTREE:
            raise UsageError("a bare repository has no work tree")
        return commit, None
    tree = WorkTree(root)
    tree.scan()
    if commit is not None and tree.matches(repository.file_ids(commit)):
        return commit, None
    return commit, tree


def _uncommitted(repository: ConfigRepository, base: str | None, tree: WorkTree) -> Mapping[str, File | None]:
    files = tree.scan(()).files
    if base is None:
        return dict(files)
    return {path: files.get(path) for path in tree.differences(repository.file_ids(base))}


def _base(
    repository: ConfigRepository, name: str | None, commit: str | None, *, is_dirty: bool
) -> tuple[str | None, tuple[str, ...]]:
    if name is not None:
        return named_base(repository, name, commit)
    if commit is None:
        return None, ()
    for candidate in _defaults(repository):
        found = _merge_base(repository, candidate, commit)
        if found is None:
            continue
        if found != commit:
            return found, ()
        break
    return (commit if is_dirty else _before(repository, commit)), ()


def named_base(repository: ConfigRepository, name: str, commit: str | None) -> tuple[str, tuple[str, ...]]:
    """A base by name. Of two branches that went apart, where they parted; else the very revision."""
    sha = repository.resolve(name)
    if commit is None:
        return sha, ()
    common = _merge_base(repository, sha, commit)
    if common is None or common in (sha, commit):
        return sha, ()
    shown = f"{name} has gone on since {common[:12]}, where this branch left it; compared from there"
    return common, (shown,)


def _defaults(repository: ConfigRepository) -> Iterator[str]:
    for name in _DEFAULTS:
        # A branch without an upstream makes git complain rather than answer.
        with contextlib.suppress(GitFailedError):
            found = repository.git.rev_parse(name)
            if found is not None:
                yield found


def _merge_base(repository: ConfigRepository, one: str, other: str) -> str | None:
    try:
        found = repository.git.run("merge-base", one, other).decode("ascii", "replace").strip()
    except GitFailedError as error:
        if error.code == 1:
            return None
        raise
    return found or None


def _before(repository: ConfigRepository, commit: str) -> str | None:
    parents = repository.commit_info(commit).parents
    if not parents:
        return None
    try:
        repository.commit_info(parents[0])
    except UnavailableError:
        if not repository.layout.is_shallow:
            raise
        raise ShallowRepositoryError(
            "the clone is shallow, so there is nothing to compare with",
            hint="Clone with the whole history (actions/checkout: fetch-depth: 0), or name --base.",
        ) from None
    return parents[0]
