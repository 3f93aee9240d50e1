"""Settings changed by a program: what a request would do, and the one commit that does it.

`prepare` has no effect: it reads the branch, edits its files in memory, validates, plans and asks the policies.
`commit` writes what was prepared, if the branch is still where it was. Everything that changes settings goes through
here: the command line, the console, `ConfigManager`.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kemudi.repo.change_edits import Edited, edited_files, unified
from kemudi.repo.change_request import UNSET, ChangeRequest, Edit, Unset
from kemudi.repo.errors import HeadMovedError, PolicyRefusedError, UnknownRevisionError
from kemudi.repo.landing import (
    Landing,
    Swap,
    check_checked_out,
    check_idle,
    check_untouched,
    land,
    recover,
    settle,
)
from kemudi.repo.loose import write_object
from kemudi.repo.messages import compose
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.plan import Plan, plan
from kemudi.repo.policy import PolicyContext, judge, policies_of
from kemudi.repo.refs import check_ref_part
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.staleness import check_fresh
from kemudi.repo.tree_edit import with_files
from kemudi.repo.verdict import refused
from kemudi.schema.errors import ConflictError, FindingsError, UsageError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.findings import Finding
from kemudi.schema.guard import looks_like
from kemudi.schema.policy_rules import REASON
from kemudi.schema.sentences import sentence
from kemudi.schema.state import ConfigState

__all__ = [
    "UNSET",
    "ChangeRequest",
    "Committed",
    "Edit",
    "Prepared",
    "Unset",
    "apply",
    "check_valid",
    "commit",
    "prepare",
    "recover",
]

PROPOSALS: Final = "kemudi/"
_ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a request would do. Nothing has been written yet.

    Attributes:
        plan: The effect on every environment, judged by the policies.
        diff: What the commit will contain, as a unified diff.
        files: Changed files, relative to the config repo.
        base: The commit that the change stands on.
        branch: The branch that will get it.
        is_proposal: Whether that branch is one to be reviewed: then policies say what will be needed, and ask for the
            reason.
        message: Of the commit.
        author: Of the commit.
        warnings: What validation says that stops nothing.
        root: Where the repository was opened.
        prefix: The folder of the config repo in it.
        contents: Old and new bytes of each file.
        creates: Whether the branch is new.
        merged: The commit that this puts into effect; a second parent.
    """

    plan: Plan
    diff: str
    files: tuple[str, ...]
    base: str
    branch: str
    is_proposal: bool
    message: str
    author: Author
    warnings: tuple[Finding, ...]
    root: Path
    prefix: str
    contents: Mapping[str, Edited]
    creates: bool = False
    merged: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it should be already."""
        return not self.contents

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The policies that keep this from being committed.

        Of a proposal only those about its reason: approvals, time and a smaller change may still come, its message is
        written now.
        """
        found = refused(self.plan)
        return tuple(each for each in found if each.rule == REASON) if self.is_proposal else found


@dataclass(frozen=True, slots=True)
class Committed:
    """What was done.

    Attributes:
        revision: The new commit; the one that was there when nothing had to be changed.
        branch: Where it is.
        changed: False when nothing had to be changed.
    """

    revision: str
    branch: str
    changed: bool = True


def prepare(
    root: Path,
    request: ChangeRequest,
    *,
    context: PolicyContext | None = None,
    states: Callable[[str], ConfigState] | None = None,
) -> Prepared:
    """Work a request out, without any effect but that an interrupted change of somebody else is undone.

    Args:
        root: The config repo, a folder above it, or a bare repository.
        request: What to change, and why.
        context: What the policies judge by; author, reason, trailers and way are filled in from the request.
        states: The config repo at a commit, of somebody who has read it already; None: it is read.

    Raises FindingsError when the result would not validate, StaleSettingError when a setting was changed since
    `request.expected`, ConflictError when a file has changes of its own that are not committed, UsageError.
    """
    _check_reason(request)
    with ConfigRepository.open(root) as repository:
        recover(repository.layout)
        for _ in range(_ATTEMPTS):
            prepared = _prepared(repository, root, request, context, states)
            try:
                _check_work_tree(repository, prepared)
            except ConflictError:
                settle(repository.layout)
                if _is_current(repository, prepared):
                    raise
                continue  # another writer was putting its change in place: that is no edit of the user's
            return prepared
    raise ConflictError(
        sentence("the branch moves faster than the change can be prepared"), hint=sentence("Try again.")
    )


def commit(prepared: Prepared) -> Committed:
    """Make the commit and move the branch; on a checked-out branch the files go with it.

    Raises PolicyRefusedError, HeadMovedError when the branch moved since `prepare`, ConflictError. Then, and after a
    crash at any instant, branch and files are as they were.
    """
    if prepared.refusals:
        first = prepared.refusals[0]
        raise PolicyRefusedError(
            sentence("%(rule)s: %(message)s", rule=first.rule, message=first.message),
            prepared.refusals,
            hint=first.hint,
        )
    if prepared.is_empty:
        return Committed(prepared.base, prepared.branch, changed=False)
    with ConfigRepository.open(prepared.root, prefix=prepared.prefix) as repository:
        swaps = _swaps(repository, prepared)
        if not swaps:
            check_checked_out(repository.layout, prepared.branch)
        revision = _write_commit(repository, prepared)
        failpoint("changes.objects")
        subject = prepared.message.partition("\n")[0]
        old = None if prepared.creates else prepared.base
        land(repository.layout, Landing(prepared.branch, old, revision, subject, swaps))
        return Committed(revision, prepared.branch)


def apply(root: Path, request: ChangeRequest, *, context: PolicyContext | None = None) -> Committed:
    """`prepare` and `commit`; begun anew when the branch moved by a change of other settings.

    Raises as both do.
    """
    for _ in range(_ATTEMPTS):
        prepared = prepare(root, request, context=context)
        request = replace(request, expected=request.expected or prepared.base)
        try:
            return commit(prepared)
        except HeadMovedError:
            continue
    raise ConflictError(
        sentence("the branch moves faster than the change can be made"), hint=sentence("Try again.")
    )


def _prepared(
    repository: ConfigRepository,
    root: Path,
    request: ChangeRequest,
    context: PolicyContext | None,
    states: Callable[[str], ConfigState] | None,
) -> Prepared:
    branch, base, creates = _target(repository, request)
    old = states(base) if states is not None else ConfigState.load(repository.files(base).values())
    check_fresh(repository, request, base, old)
    contents, changes = edited_files(old, request.edits)
    new = old.update(changes)
    warnings = check_valid(old, new)
    return Prepared(
        _judged(plan(old, new, base=base, head=branch), old, request, context),
        "".join(line for path, each in sorted(contents.items()) for line in unified(path, each, old, new)),
        tuple(sorted(contents)),
        base,
        branch,
        request.is_proposal,
        compose(request.titled(), request.reason, request.trailer_list, request.operation),
        request.author,
        warnings,
        root,
        repository.prefix,
        contents,
        creates,
    )


def _is_current(repository: ConfigRepository, prepared: Prepared) -> bool:
    """Whether the branch is still where the preparation found it, and files are at rest."""
    tip = repository.branch_tip(prepared.branch)
    if tip != (None if prepared.creates else prepared.base):
        return False
    try:
        _check_work_tree(repository, prepared)
    except ConflictError:
        return True
    return False


def _check_reason(request: ChangeRequest) -> None:
    for text in (request.reason, *(value for _, value in request.trailer_list)):
        kind = looks_like(text)
        if kind is not None and kind != "a random key":
            raise UsageError(
                sentence(
                    "the reason holds what looks like %(kind)s, and would stand in git for ever", kind=kind
                ),
                hint=sentence("Say it without the secret."),
            )


def _target(repository: ConfigRepository, request: ChangeRequest) -> tuple[str, str, bool]:
    """The branch to move, the commit to start from, and whether the branch is new."""
    head = repository.head()
    name = request.branch
    if name is not None and name.startswith("-"):
        raise UnknownRevisionError(sentence("%(name)s cannot be the name of a branch", name=repr(name[:60])))
    if name is None and request.propose:
        name = _free_name(repository, request)
    if name is None:
        if head.branch is None:
            raise UsageError(
                sentence("HEAD is on no branch"),
                hint=sentence("Switch to one, or name one with --propose BRANCH."),
            )
        name = head.branch
    tip = repository.branch_tip(check_ref_part(name))
    start = tip or head.sha
    if start is None:
        raise UsageError(
            sentence("the repository has no commit yet"), hint=sentence("Commit the config repo first.")
        )
    return name, start, tip is None


def _free_name(repository: ConfigRepository, request: ChangeRequest) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", request.titled().lower()).strip("-")[:50].rstrip("-") or "change"
    name, number = PROPOSALS + slug, 2
    while repository.branch_tip(name) is not None:
        name, number = f"{PROPOSALS}{slug}-{number}", number + 1
    return name


def check_valid(old: ConfigState, new: ConfigState) -> tuple[Finding, ...]:
    """Raise FindingsError for errors that the change brings; the new warnings otherwise."""
    known = {_identity(finding) for finding in old.findings}
    fresh = [finding for finding in new.findings if _identity(finding) not in known]
    errors = [finding for finding in fresh if finding.severity == "error"]
    if errors:
        raise FindingsError(sentence("the change does not validate; nothing was written"), errors)
    return tuple(fresh)


def _identity(finding: Finding) -> tuple[object, ...]:
    """What stays of a finding when lines move."""
    return (finding.file, finding.rule, finding.pointer, finding.key, finding.layer, finding.message)


def _judged(planned: Plan, state: ConfigState, request: ChangeRequest, context: PolicyContext | None) -> Plan:
    read = policies_of(state)
    who = f"{request.author.name} <{request.author.email}>"
    asked = context or PolicyContext(datetime.now(UTC))
    filled = replace(
        asked,
        author=asked.author or who,
        reason=request.reason,
        trailers=request.trailer_list,
        direct=not request.is_proposal,
    )
    return judge(planned, read.policies, filled)


def _check_work_tree(repository: ConfigRepository, prepared: Prepared) -> None:
    """Raise ConflictError when the work tree cannot go with the branch."""
    where = repository.layout
    swaps = _swaps(repository, prepared)
    if swaps:
        check_idle(where)
        check_untouched(where, swaps)
    elif prepared.contents:
        check_checked_out(where, prepared.branch)


def _swaps(repository: ConfigRepository, prepared: Prepared) -> tuple[Swap, ...]:
    """The files of the work tree that go with the branch."""
    if repository.layout.worktree is None or repository.head().branch != prepared.branch:
        return ()
    return tuple(
        Swap(_full(prepared.prefix, path), each.old_sha, each.new_sha, each.executable)
        for path, each in sorted(prepared.contents.items())
    )


def _write_commit(repository: ConfigRepository, prepared: Prepared) -> str:
    store = repository.layout.common_dir
    for each in prepared.contents.values():
        if each.new is not None:
            write_object(store, "blob", each.new, durable=True)
    blobs = {_full(prepared.prefix, path): each.new_sha for path, each in prepared.contents.items()}
    tree = with_files(repository.objects, store, repository.objects.commit(prepared.base).tree, blobs)
    stamp = f"{int(time.time())} +0000"
    lines = [
        f"tree {tree}",
        f"parent {prepared.base}",
        *([f"parent {prepared.merged}"] if prepared.merged is not None else []),
        f"author {prepared.author.name} <{prepared.author.email}> {stamp}",
        f"committer {KEMUDI.name} <{KEMUDI.email}> {stamp}",
        "",
        prepared.message,
    ]
    return write_object(store, "commit", "\n".join(lines).encode(), durable=True)


def _full(prefix: str, path: str) -> str:
    return f"{prefix}/{path}" if prefix else path
