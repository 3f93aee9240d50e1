"""Proposals, and what was said of them, brought to the same state here and on the remote.

For each proposal three commits are compared: here, on the remote, and what both were when they last agreed
(`refs/kemudi/agreed/…`). Whoever has changed it since wins; where both have, none is lost: the one from here gets
another name. Notes are put together line by line. Nothing is ever taken away here because the remote does not answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from kemudi.repo.approvals import is_statement
from kemudi.repo.changes import PROPOSALS
from kemudi.repo.errors import GitTimeoutError
from kemudi.repo.git import NO_COMMIT
from kemudi.repo.landing import HEADS, check_checked_out, writing
from kemudi.repo.note_lines import REF, united
from kemudi.repo.proposals import GONE, is_proposal_name
from kemudi.repo.push import TIME_LIMIT_SECONDS, PushState, ask_remote, reason_of, state_of
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import ConflictError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.sentences import sentence

AGREED: Final = "refs/kemudi/agreed/"
_HERE: Final = HEADS + PROPOSALS
_IN: Final = "refs/kemudi/incoming/"
_IN_BRANCHES: Final = f"{_IN}proposals/"
_IN_NOTES: Final = f"{_IN}notes"
_IN_BRANCH: Final = f"{_IN}branch"
_ATTEMPTS: Final = 5
_KINDS: Final = (_HERE, AGREED, GONE, _IN)
_NAMES_TRIED: Final = 100


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What became of it.

    Attributes:
        state: As of a push.
        message: One sentence, without credentials; empty when all is well.
        unsent: Names of proposals, and `approvals`, that the remote has not got yet.
        changed: Whether something is different here.
        there: The commit of the branch on the remote, as it was fetched just now; None when that is not known.
    """

    state: PushState
    message: str = ""
    unsent: tuple[str, ...] = ()
    changed: bool = False
    there: str | None = None


@dataclass(slots=True)
class _Steps:
    """What is to be done.

    Attributes:
        refs: New commits of refs here, by full name; None: deleted. With the commit that they are on now.
        pushes: The commit for a proposal of the remote, None to delete it, and the commit that it is on there.
    """

    refs: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    pushes: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)


def exchange(
    root: Path, branch: str | None, remote: str = "origin", *, limit_seconds: float = TIME_LIMIT_SECONDS
) -> Exchanged:
    """Fetch, put together, push. `branch` is what proposals are for: one that is merged leaves the remote after it.

    Does not raise for what a remote may do. Raises UnavailableError's family when the repository cannot be read.
    """
    changed = False
    with ConfigRepository.open(root) as repository:
        result = Exchanged("moved", "the remote changes faster than it can be followed")
        for _ in range(_ATTEMPTS):
            try:
                result = _once(repository, branch, remote, limit_seconds)
            except GitTimeoutError as error:
                result = Exchanged("unreachable", str(error))
            except ConflictError as error:
                result = Exchanged("rejected", str(error))
            changed = changed or result.changed
            if result.state != "moved":
                break
        unsent = _unsent(_refs(repository))
        return replace(result, unsent=unsent, changed=changed)


def _once(repository: ConfigRepository, branch: str | None, remote: str, limit: float) -> Exchanged:
    fetched = _fetch(repository, branch, remote, limit)
    if fetched is not None:
        return fetched
    failpoint("exchange.fetched")
    with writing(repository.layout) as lock:
        before = _refs(repository)
        steps = _compared(repository, before, branch is not None)
        notes = _notes(repository, before)
        if notes is not None and notes != before.get(REF):
            steps.refs[REF] = (notes, before.get(REF))
        failpoint("exchange.compared")
        _apply(repository, steps, lock)
    failpoint("exchange.applied")
    changed = any(ref.startswith((_HERE, REF)) for ref in steps.refs)
    sent = _push(repository, steps, notes, before.get(_IN_NOTES), remote, limit)
    return replace(sent, changed=changed, there=before.get(_IN_BRANCH) if branch is not None else None)


def _fetch(repository: ConfigRepository, branch: str | None, remote: str, limit: float) -> Exchanged | None:
    """Bring what the remote has; None when it is here."""
    wanted = [f"+{_HERE}*:{_IN_BRANCHES}*", f"+{REF}*:{_IN_NOTES}*"]
    if branch is not None:
        wanted.append(f"+{HEADS}{branch}*:{_IN_BRANCH}*")
    flags = ("--no-tags", "--prune", "--no-write-fetch-head", "--no-recurse-submodules", "--quiet")
    checks = ("-c", "fetch.fsckObjects=true", "-c", "maintenance.auto=false", "-c", "gc.auto=0")
    code, told = ask_remote(repository.layout, *checks, "fetch", *flags, "--", remote, *wanted, limit=limit)
    if code == 0:
        return None
    return Exchanged(
        "unreachable",
        sentence(
            "proposals cannot be fetched from %(remote)s: %(told)s", remote=remote, told=reason_of(told)
        ),
    )


def _refs(repository: ConfigRepository) -> dict[str, str]:
    listed = repository.git.run(
        "for-each-ref", "--format=%(refname) %(objectname) %(objecttype)", *_KINDS, REF
    )
    found: dict[str, str] = {}
    for line in listed.decode("utf-8", "replace").splitlines():
        ref, sha, kind = line.rsplit(" ", 2)
        if kind == "commit":
            found[ref] = sha
    return found


def _named(refs: Mapping[str, str], start: str) -> dict[str, str]:
    """Proposals by name. Others than plain names are nobody's."""
    found = {ref.removeprefix(start): sha for ref, sha in refs.items() if ref.startswith(start)}
    return {name: sha for name, sha in found.items() if is_proposal_name(name)}


def _compared(repository: ConfigRepository, refs: Mapping[str, str], has_branch: bool) -> _Steps:
    here, there, agreed, gone = (_named(refs, start) for start in (_HERE, _IN_BRANCHES, AGREED, GONE))
    steps = _Steps()
    for name in sorted({*here, *there, *agreed, *gone}):
        ours, theirs, both = here.get(name), there.get(name), agreed.get(name)
        if name in gone and ours is None:
            if theirs == gone[name]:
                if has_branch and _is_landed_only_here(repository, refs, gone[name]):
                    continue  # its merge has to be on the remote first
                steps.pushes[name] = (None, theirs)
                continue
            # The remote has taken it away as well, or somebody has changed it since: then it is back.
            steps.refs[GONE + name] = (None, gone[name])
        elif name in gone:
            steps.refs[GONE + name] = (None, gone[name])
        _compare(repository, steps, name, (ours, theirs, both), set(here) | set(there))
    return steps


def _compare(
    repository: ConfigRepository,
    steps: _Steps,
    name: str,
    tips: tuple[str | None, str | None, str | None],
    taken: set[str],
) -> None:
    ours, theirs, both = tips
    if ours is None or ours in (theirs, both):
        if ours != theirs and _is_free(repository, name):
            steps.refs[_HERE + name] = (theirs, ours)
        elif ours != theirs:
            return
        if theirs != both:
            steps.refs[AGREED + name] = (theirs, both)
    elif theirs == both or theirs is None or repository.is_ancestor(theirs, ours):
        steps.pushes[name] = (ours, theirs)
    elif _is_free(repository, name):
        # Two made a proposal of one name, or both changed it: theirs has the name, ours gets another.
        steps.refs[_HERE + name] = (theirs, ours)
        steps.refs[AGREED + name] = (theirs, both)
        if not repository.is_ancestor(ours, theirs):
            other = next(
                f"{name}-{number}" for number in range(2, _NAMES_TRIED) if f"{name}-{number}" not in taken
            )
            steps.refs[_HERE + other] = (ours, None)
            steps.pushes[other] = (ours, None)


def _is_free(repository: ConfigRepository, name: str) -> bool:
    """Whether nobody has the branch checked out: then it is theirs."""
    if repository.head().branch == PROPOSALS + name:
        return False
    try:
        check_checked_out(repository.layout, PROPOSALS + name)
    except ConflictError:
        return False
    return True


def _is_landed_only_here(repository: ConfigRepository, refs: Mapping[str, str], tip: str) -> bool:
    head, there = repository.head().sha, refs.get(_IN_BRANCH)
    if head is None or not repository.is_ancestor(tip, head):
        return False
    return there is None or not repository.is_ancestor(tip, there)


def _notes(repository: ConfigRepository, refs: Mapping[str, str]) -> str | None:
    ours, theirs = refs.get(REF), refs.get(_IN_NOTES)
    return ours if theirs is None else united(repository, ours, theirs, is_statement)


def _apply(repository: ConfigRepository, steps: _Steps, lock: int) -> None:
    lines = [
        f"delete {ref} {old}" if new is None else f"update {ref} {new} {old or NO_COMMIT}"
        for ref, (new, old) in steps.refs.items()
        if new is not None or old is not None
    ]
    if lines:
        # Git keeps our lock while it runs: when we are killed, nobody compares before git is done.
        wanted = "".join(f"{line}\n" for line in lines).encode()
        repository.git.run("update-ref", "--stdin", data=wanted, inherited=(lock,))


def _push(
    repository: ConfigRepository,
    steps: _Steps,
    notes: str | None,
    notes_there: str | None,
    remote: str,
    limit: float,
) -> Exchanged:
    """Each ref moves there only from where it was seen; what is refused is asked anew after the next fetch."""
    leases, wanted = [], []
    for name, (new, old) in steps.pushes.items():
        leases.append(f"--force-with-lease={_HERE}{name}:{old or ''}")
        wanted.append(f"{new or ''}:{_HERE}{name}")
    if notes is not None and notes != notes_there:
        wanted.append(f"{notes}:{REF}")
    if not wanted:
        return Exchanged("pushed")
    code, told = ask_remote(
        repository.layout, "push", "--porcelain", *leases, "--", remote, *wanted, limit=limit
    )
    if code:
        message = sentence(
            "proposals were not pushed to %(remote)s: %(told)s", remote=remote, told=reason_of(told)
        )
        return Exchanged(state_of(code, told), message)
    failpoint("exchange.pushed")
    agreed = {AGREED + name: new for name, (new, _) in steps.pushes.items()}
    lines = [f"update {ref} {new}" if new is not None else f"delete {ref}" for ref, new in agreed.items()]
    lines += [f"delete {GONE}{name} {old}" for name, (new, old) in steps.pushes.items() if new is None]
    lines += [f"update {_IN_NOTES} {notes}"] if notes is not None else []
    if lines:
        repository.git.run("update-ref", "--stdin", data="".join(f"{line}\n" for line in lines).encode())
    return Exchanged("pushed")


def _unsent(refs: Mapping[str, str]) -> tuple[str, ...]:
    """What the remote has not got, as far as was last heard of it."""
    here, agreed, gone = (_named(refs, start) for start in (_HERE, AGREED, GONE))
    names = {name for name, tip in here.items() if agreed.get(name) != tip} | set(gone)
    notes = ["approvals"] if REF in refs and refs.get(REF) != refs.get(_IN_NOTES) else []
    return (*sorted(PROPOSALS + name for name in names), *notes)
