"""What a proposal would do to the branch it is for, whatever the time and the approvals: worked out once."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from kemudi.repo.change_edits import Edited, unified
from kemudi.repo.changes import check_valid
from kemudi.repo.formats import Commit
from kemudi.repo.plan import Plan, plan
from kemudi.repo.proposal_merge import MergeConflictError, Sides, check_plain, fork_of, merged_files
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import FindingsError
from kemudi.schema.findings import Finding
from kemudi.schema.paths import File
from kemudi.schema.sentences import chained, sentence
from kemudi.schema.state import ConfigState

_KEPT: Final = 64
_COMMITS: Final = 200


@dataclass(frozen=True, slots=True)
class Effect:
    """What two commits give.

    Attributes:
        commits: What the proposal has and the branch has not, the tip first.
        ours: The branch.
        planned: The plan, not judged; for a conflict of what was wanted.
        diff: The same as text.
        paths: The files that the proposal changes.
        contents: What the branch gets.
        findings: Of the result: warnings, or the errors of an invalid one.
        flaw: Why it cannot be put into effect at all.
        problem: The same in words.
    """

    commits: tuple[Commit, ...]
    ours: ConfigState
    planned: Plan
    diff: str = ""
    paths: tuple[str, ...] = ()
    contents: Mapping[str, Edited] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    flaw: Literal["conflict", "invalid", "empty"] | None = None
    problem: str = ""


class Effects:
    """Remembers what was worked out. One thread uses it at a time."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, ConfigState] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], Effect] = OrderedDict()

    def of(self, repository: ConfigRepository, head: str, tip: str) -> Effect:
        """What `tip` does to `head`. Raises UnavailableError's family."""
        found = self._known.get((head, tip))
        if found is None:
            found = self._known[head, tip] = self._worked_out(repository, head, tip)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _worked_out(self, repository: ConfigRepository, head: str, tip: str) -> Effect:
        ours, theirs = self._state(repository, head), self._state(repository, tip)
        commits = _commits(repository, head, tip)
        try:
            fork = fork_of(repository, head, tip)
        except MergeConflictError as error:
            nothing = plan(ours, ours, base=head, head=tip)
            return Effect(commits, ours, nothing, flaw="conflict", problem=error.message)
        base = self._state(repository, fork)
        paths = tuple(sorted(repository.changes(fork, tip)))
        known = [path for path in paths if path in base.files or path in theirs.files]
        try:
            check_plain(repository, fork, tip, known)
            contents = merged_files(Sides(base, ours, theirs), known)
        except MergeConflictError as error:
            # What was wanted, so that people see what it is about.
            wanted = {path: Edited(_data(base, path), _data(theirs, path)) for path in known}
            planned, diff = plan(base, theirs, base=fork, head=tip), _diff(wanted, base, theirs)
            return Effect(commits, ours, planned, diff, paths, flaw="conflict", problem=error.explained)
        return _with_effect(commits, ours, (head, tip), paths, contents)

    def _state(self, repository: ConfigRepository, sha: str) -> ConfigState:
        found = self._states.get(sha)
        if found is None:
            near = next(reversed(self._states), None)
            if near is None:
                found = ConfigState.load(repository.files(sha).values())
            else:
                found = self._states[near].update(repository.changes(near, sha))
            self._states[sha] = found
            while len(self._states) > _KEPT:
                self._states.popitem(last=False)
        self._states.move_to_end(sha)
        return found


def _with_effect(
    commits: tuple[Commit, ...],
    ours: ConfigState,
    revisions: tuple[str, str],
    paths: tuple[str, ...],
    contents: Mapping[str, Edited],
) -> Effect:
    """What the branch would be with the proposal."""
    changes = {path: None if each.new is None else File(path, each.new) for path, each in contents.items()}
    new = ours.update(changes)
    found = Effect(
        commits,
        ours,
        plan(ours, new, base=revisions[0], head=revisions[1]),
        _diff(contents, ours, new),
        paths,
        contents,
        flaw=None if contents else "empty",
    )
    try:
        return replace(found, findings=check_valid(ours, new))
    except FindingsError as error:
        said = [
            sentence("%(place)s %(message)s", place=f"{each.file}:{each.line}", message=each.message)
            for each in error.findings
        ]
        return replace(found, findings=tuple(error.findings), flaw="invalid", problem=chained(said))


def _commits(repository: ConfigRepository, head: str, tip: str) -> tuple[Commit, ...]:
    """What the proposal has and the branch has not, the tip first."""
    listed = repository.git.run("rev-list", f"--max-count={_COMMITS}", tip, f"^{head}", "--")
    others = [sha for sha in listed.decode().split() if sha != tip]
    return tuple(repository.commit_info(sha) for sha in (tip, *others))


def _diff(contents: Mapping[str, Edited], old: ConfigState, new: ConfigState) -> str:
    return "".join(line for path, each in sorted(contents.items()) for line in unified(path, each, old, new))


def _data(state: ConfigState, path: str) -> bytes | None:
    file = state.files.get(path)
    return None if file is None else file.data
