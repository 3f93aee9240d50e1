"""A branch that is only behind the remote's, brought to where that is: `git pull --ff-only` as one landing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kemudi.repo.git import NO_COMMIT, check_sha
from kemudi.repo.landing import Landing, Swap, check_checked_out, check_idle, land, recover
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import ConflictError
from kemudi.schema.sentences import sentence

MOST_FILES: Final = 1000
"""More than this is brought over by a person with git, who sees what it is."""

_NOTHING, _PLAIN, _PROGRAM = "000000", "100644", "100755"
_MODES: Final = frozenset(
    {
        (_NOTHING, _PLAIN),
        (_PLAIN, _NOTHING),
        (_PLAIN, _PLAIN),
        (_PROGRAM, _PROGRAM),
        (_PROGRAM, _NOTHING),
    }
)
"""What a landing can put in place: plain files; of programs those that are there already."""


def follow(root: Path, branch: str, tip: str) -> bool:
    """Bring a branch to `tip`, the commit that it is on at the remote. Returns whether it moved.

    Then, and after a crash at any instant, branch, index and files are all as before, or all as there. A branch that
    has commits which are not there stays as it is: what was made here is never thrown away, and a history that was
    rewritten there is not taken over.

    Raises HeadMovedError when the branch moves meanwhile; ConflictError when both sides have commits of their own, when
    a change that is not committed stands in the way, and for what is no plain file; UnavailableError's family.
    """
    with ConfigRepository.open(root) as repository:
        where = repository.layout
        recover(where)
        old = repository.branch_tip(branch)
        if old is None or repository.is_ancestor(tip, old):
            return False
        if not repository.is_ancestor(old, tip):
            raise ConflictError(
                sentence("here and on the remote %(branch)s has different commits", branch=branch),
                hint=sentence("Bring both together with git."),
            )
        swaps: tuple[Swap, ...] = ()
        if where.worktree is not None and repository.head().branch == branch:
            swaps = tuple(_swaps(repository, old, tip))
        check_checked_out(where, branch)
        if where.worktree is not None:
            check_idle(where)  # a rebase has the branch in its hands, although HEAD is elsewhere
        land(where, Landing(branch, old, tip, f"Follow the remote to {tip[:9]}", swaps))
        return True


def _swaps(repository: ConfigRepository, old: str, new: str) -> Iterator[Swap]:
    listed = repository.git.run("diff-tree", "-r", "-z", "--no-renames", check_sha(old), check_sha(new))
    fields = listed.decode("utf-8", "surrogateescape").split("\0")
    hint = sentence("Bring it over with `git pull`.")
    if len(fields) > 2 * MOST_FILES + 1:
        raise ConflictError(
            sentence("the remote has changed more than %(most)s files", most=MOST_FILES), hint=hint
        )
    for facts, path in zip(fields[::2], fields[1::2], strict=False):
        old_mode, new_mode, was, becomes = facts.lstrip(":").split(" ")[:4]
        if (old_mode, new_mode) not in _MODES or path.startswith(":"):
            raise ConflictError(sentence("%(path)s is no plain file", path=path), hint=hint)
        yield Swap(path, _blob(was), _blob(becomes), executable=new_mode == _PROGRAM)


def _blob(sha: str) -> str | None:
    return None if sha == NO_COMMIT else sha
