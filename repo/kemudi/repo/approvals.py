"""Approvals of proposals, as git notes on the commit that was approved: another commit starts without any.

They stand on `refs/notes/kemudi/approvals`, so that `git notes --ref=kemudi/approvals show <commit>` tells them, too.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kemudi.repo.errors import CorruptObjectError, HeadMovedError
from kemudi.repo.git import NO_COMMIT, Git, check_sha
from kemudi.repo.landing import writing
from kemudi.repo.loose import write_object
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.refs import Refs
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.tree_edit import with_files
from kemudi.schema.errors import UsageError
from kemudi.schema.failpoints import failpoint

REF: Final = "refs/notes/kemudi/approvals"

_LINE: Final = re.compile(r"Approved-by: (?P<name>[^<>]+) <(?P<email>[^<>]+)> at (?P<at>\S+)")


@dataclass(frozen=True, slots=True)
class Approved:
    """One approval: by whom, and when."""

    by: Author
    at: datetime


def same_person(left: Author, right: Author) -> bool:
    """Whether two authors are one person: by address, where case does not count."""
    return left.email.casefold() == right.email.casefold()


def approvals_of(repository: ConfigRepository, sha: str) -> tuple[Approved, ...]:
    """Who approved a commit, the first one first."""
    notes = Refs(repository.layout, repository.git).tip(REF)
    return _read(repository, notes, sha)


def add_approval(repository: ConfigRepository, sha: str, by: Author, at: datetime) -> tuple[Approved, ...]:
    """Write down that somebody approved a commit; once for each person. Returns all of them."""
    where = repository.layout
    with writing(where) as lock:
        notes = Refs(where, repository.git).tip(REF)
        known = _read(repository, notes, check_sha(sha))
        if any(same_person(each.by, by) for each in known):
            return known
        all_of_them = (*known, Approved(by, at))
        made = _commit(repository, notes, sha, all_of_them)
        failpoint("approvals.object")
        arguments = ("-m", "approval", "--end-of-options", REF, made, notes or NO_COMMIT)
        extra = {"GIT_COMMITTER_NAME": KEMUDI.name, "GIT_COMMITTER_EMAIL": KEMUDI.email}
        Git(where.git_dir).run("update-ref", *arguments, extra=extra, inherited=(lock,))
        failpoint("approvals.ref")
    return all_of_them


def delete_branch(repository: ConfigRepository, branch: str, tip: str) -> None:
    """Take a branch away that is still at `tip`. Raises HeadMovedError when it moved, or is gone."""
    where = repository.layout
    ref = f"refs/heads/{branch}"
    with writing(where) as lock:
        if Refs(where, repository.git).tip(ref) != tip:
            raise HeadMovedError(f"the branch {branch} moved meanwhile", hint="Look at it again.")
        Git(where.git_dir).run("update-ref", "-d", "--end-of-options", ref, tip, inherited=(lock,))


def _read(repository: ConfigRepository, notes: str | None, sha: str) -> tuple[Approved, ...]:
    if notes is None:
        return ()
    entry = repository.objects.tree(repository.objects.commit(notes).tree).get(sha.encode())
    if entry is None:
        return ()
    text = repository.objects.blob(entry.sha).decode("utf-8", "replace")
    return tuple(_parsed(text.splitlines(), entry.sha))


def _parsed(lines: Iterable[str], sha: str) -> Iterable[Approved]:
    """A line that is none was not written here, and approves nothing."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        try:
            yield Approved(Author(found["name"], found["email"]), datetime.fromisoformat(found["at"]))
        except (ValueError, UsageError):
            raise CorruptObjectError(f"a note in {REF} is damaged", sha=sha) from None


def _commit(
    repository: ConfigRepository, notes: str | None, sha: str, approvals: tuple[Approved, ...]
) -> str:
    store, objects = repository.layout.common_dir, repository.objects
    lines = [
        f"Approved-by: {each.by.name} <{each.by.email}> at {each.at.isoformat()}\n" for each in approvals
    ]
    blob = write_object(store, "blob", "".join(lines).encode(), durable=True)
    before = objects.commit(notes).tree if notes is not None else None
    tree = with_files(objects, store, before, {sha: blob})
    by, stamp = approvals[-1].by, f"{int(time.time())} +0000"
    text = [
        f"tree {tree}",
        *([f"parent {notes}"] if notes is not None else []),
        f"author {by.name} <{by.email}> {stamp}",
        f"committer {KEMUDI.name} <{KEMUDI.email}> {stamp}",
        "",
        f"Approve {sha}\n",
    ]
    return write_object(store, "commit", "\n".join(text).encode(), durable=True)
