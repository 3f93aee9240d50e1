"""Changes that wait for somebody's approval: branches `kemudi/<name>`, each with what it would do now.

An approval is about one commit: when the branch moves, it needs approval again. Put into effect is a merge commit that
names who approved, through the same plan, policies and landing as every other change.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from kemudi.repo.approvals import (
    LONGEST_COMMENT,
    Seal,
    Statement,
    add_statement,
    delete_branch,
    newest,
    statements_of,
)
from kemudi.repo.changes import PROPOSALS, Committed, Prepared, commit, recover
from kemudi.repo.errors import HeadMovedError, UnknownRevisionError
from kemudi.repo.evidence import Evidence, Served, ServedLog
from kemudi.repo.formats import Commit
from kemudi.repo.landing import check_checked_out
from kemudi.repo.messages import TRAILER, Trailers, compose, reason_of, trailers_of
from kemudi.repo.people import Author
from kemudi.repo.policy import PolicyContext, judge, policies_of, strictest
from kemudi.repo.proposal_effect import Effect, Effects
from kemudi.repo.proposal_merge import MergeConflictError
from kemudi.repo.proposal_model import Proposal, ProposalState
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.verdict import refused
from kemudi.schema.errors import ConflictError, FindingsError, RefusedError, UsageError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.sentences import sentence

GONE: Final = "refs/kemudi/gone/"
"""Where a proposal that was taken away is remembered by its name until the remote knows."""

_ATTEMPTS: Final = 10
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_WATCHED: Final = ("refs/heads/kemudi", "refs/notes/kemudi/approvals", "packed-refs")


class Proposals:
    """The proposals of one repository. Safe to use from several threads; they take turns.

    Every method may raise UnavailableError's family when the repository cannot be read.

    Args:
        root: The config repo, a folder above it, or a bare repository.
        seal: Of those who are trusted to say who approved; nothing else counts.
        may_review: Whether somebody who said something has the right to, for all that the proposal changes.
        log: For policies that ask how long a value ran.
        now: For policies that depend on the time.
    """

    def __init__(
        self,
        root: Path,
        seal: Seal,
        may_review: Callable[[Statement, Proposal], bool] = lambda _said, _of: True,
        log: ServedLog = lambda _: Served(),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._root = root
        self._seal = seal
        self._may_review = may_review
        self._log = log
        self._now = now
        self._lock = threading.RLock()
        self._repository: ConfigRepository | None = None
        self._effects = Effects()

    def all(self) -> tuple[Proposal, ...]:
        """All that wait, the newest first. What is part of the branch already waits no more."""
        with self._open() as repository:
            head = self._head(repository)
            found = []
            for branch, tip in _branches(repository, PROPOSALS):
                if not repository.is_ancestor(tip, head):
                    found.append(self._proposal(repository, branch, tip, head))
            return tuple(sorted(found, key=lambda each: (each.at, each.id), reverse=True))

    def get(self, name: str) -> Proposal:
        """One of them. Raises UnknownRevisionError."""
        with self._open() as repository:
            return self._named(repository, name)

    def approve(self, name: str, tip: str, by: Author, names: tuple[str, ...] = ()) -> Proposal:
        """Write down that somebody approves `tip`, the commit that they saw, having the right by these names.

        Raises UnknownRevisionError, HeadMovedError when the proposal was changed since, RefusedError for an author
        where the policies want another person, ConflictError where there is nothing to approve.
        """
        return self._say(name, tip, Statement(by, self._now(), "approved", names=names))

    def ask_for_changes(
        self, name: str, tip: str, by: Author, comment: str, names: tuple[str, ...] = ()
    ) -> Proposal:
        """Write down what somebody wants changed before `tip` may be put into effect.

        It holds until the proposal moves, or the same person approves. Raises as `approve`, and UsageError without a
        comment.
        """
        text = comment.strip()
        if not text or len(text) > LONGEST_COMMENT or "\0" in text:
            raise UsageError(
                sentence(
                    "what should be changed is said in 1 to %(longest_comment)s characters",
                    longest_comment=LONGEST_COMMENT,
                )
            )
        return self._say(name, tip, Statement(by, self._now(), "changes", text, names))

    def _say(self, name: str, tip: str, said: Statement) -> Proposal:
        with self._open() as repository:
            found = self._at(repository, name, tip)
            if found.is_author(said.by) and not found.needs.own_allowed:
                raise RefusedError(sentence("another person than the author has to approve this"))
            if found.state in {"conflict", "invalid", "empty"}:
                raise ConflictError(found.problem or sentence("all of it is on the branch already"))
            add_statement(repository, tip, said, self._seal)
            return self._named(repository, name)

    def merge(self, name: str, tip: str, by: Author) -> Committed:
        """Put `tip` into effect by a merge commit of `by`, and take the branch away.

        Raises UnknownRevisionError, HeadMovedError when the proposal was changed since, PolicyRefusedError, for
        missing approvals too, FindingsError, ConflictError (MergeConflictError for the same settings). Then, and after
        a crash at any instant, it is in effect as a whole, or not at all.
        """
        with self._open() as repository:
            recover(repository.layout)
            for _ in range(_ATTEMPTS):
                prepared = self._prepared(repository, self._at(repository, name, tip), by)
                try:
                    done = commit(prepared)
                except HeadMovedError:
                    continue  # the branch has got another commit; whether it still fits is asked anew
                failpoint("proposals.merged")
                self._tidy(repository, PROPOSALS + name, tip)
                return done
        raise ConflictError(
            sentence("the branch moves faster than the proposal can be merged"), hint=sentence("Try again.")
        )

    def withdraw(self, name: str, tip: str) -> None:
        """Take a proposal away. Raises UnknownRevisionError, HeadMovedError when it was changed since `tip`."""
        with self._open() as repository:
            self._at(repository, name, tip)
            _check_free(repository, PROPOSALS + name)
            delete_branch(repository, PROPOSALS + name, tip, mark=_mark(repository, name))

    def stamp(self) -> object:
        """Something that is another one when a proposal, or what was said of one, has changed. Reads no object."""
        with self._open() as repository:
            folder = repository.layout.common_dir
            return tuple(_times(folder / path) for path in _WATCHED)

    def close(self) -> None:
        """End the process that reads objects."""
        with self._lock:
            if self._repository is not None:
                self._repository.close()
                self._repository = None

    @contextmanager
    def _open(self) -> Iterator[ConfigRepository]:
        with self._lock:
            if self._repository is None:
                self._repository = ConfigRepository.open(self._root)
            try:
                yield self._repository
            except BaseException:
                self.close()  # it may be the handle that is wrong; the next question opens another one
                raise

    def _named(self, repository: ConfigRepository, name: str) -> Proposal:
        head = self._head(repository)
        for branch, tip in _branches(repository, PROPOSALS):
            if branch == PROPOSALS + name and not repository.is_ancestor(tip, head):
                return self._proposal(repository, branch, tip, head)
        raise UnknownRevisionError(sentence("there is no proposal %(name)s", name=repr(name[:60])))

    def _at(self, repository: ConfigRepository, name: str, tip: str) -> Proposal:
        found = self._named(repository, name)
        if found.tip != tip:
            raise HeadMovedError(
                sentence("the proposal was changed since you looked at it"),
                hint=sentence("Look at it again."),
            )
        return found

    def _head(self, repository: ConfigRepository) -> str:
        head = repository.head()
        if head.branch is None or head.sha is None:
            raise UsageError(sentence("HEAD is on no branch with a commit"))
        return head.sha

    def _proposal(self, repository: ConfigRepository, branch: str, tip: str, head: str) -> Proposal:
        effect = self._effects.of(repository, head, tip)
        newest = effect.commits[0]
        reason = _reason(newest)
        read = policies_of(effect.ours)
        found = Proposal(
            id=branch.removeprefix(PROPOSALS),
            branch=branch,
            tip=tip,
            base=head,
            authors=_authors(effect.commits),
            subject=newest.subject,
            reason=reason,
            at=newest.authored_at,
            plan=effect.planned,
            diff=effect.diff,
            files=effect.paths,
            only_values=_only_values(effect),
            approvals=(),
            asked=(),
            needs=strictest(read.policies, effect.planned),
            refused=read.findings,
            state=effect.flaw or "refused",
            problem=effect.problem,
        )
        found = self._reviewed(repository, found)
        stands = effect.flaw is None and not read.findings
        return self._judged(repository, found, effect, newest) if stands else found

    def _reviewed(self, repository: ConfigRepository, found: Proposal) -> Proposal:
        """With what was said of its tip. What cannot be believed never takes the place of what can."""
        said = [
            replace(each, against=self._against(each, found)) for each in statements_of(repository, found.tip)
        ]
        last = newest(each for each in said if each.counts)
        doubtful = [each for each in said if not each.counts and each.kind == "approved"]
        approvals = [each for each in last if each.kind == "approved"]
        asked = tuple(each for each in last if each.kind == "changes")
        return replace(found, approvals=(*approvals, *newest(doubtful)), asked=asked)

    def _against(self, said: Statement, found: Proposal) -> Literal["", "seal", "role", "author"]:
        if not self._seal.is_good(found.tip, said):
            return "seal"
        if not self._may_review(said, found):
            return "role"
        return "author" if found.is_author(said.by) and not found.needs.own_allowed else ""

    def _judged(
        self, repository: ConfigRepository, found: Proposal, effect: Effect, newest: Commit
    ) -> Proposal:
        context = PolicyContext(
            self._now(),
            author=_written(found.author),
            reason=found.reason,
            trailers=_asked_trailers(newest),
            approvals=tuple(_written(each.by) for each in found.counted),
            live_since=Evidence(repository, self._log).live_since,
        )
        judged = judge(effect.planned, policies_of(effect.ours).policies, context)
        against = refused(judged)
        state: ProposalState = "ready" if not against else "waiting" if found.missing else "refused"
        if found.asked:
            state = "changes"
        return replace(found, plan=judged, refused=against, state=state)

    def _prepared(self, repository: ConfigRepository, found: Proposal, by: Author) -> Prepared:
        effect = self._effects.of(repository, found.base, found.tip)
        if effect.flaw == "invalid":
            raise FindingsError(found.problem, effect.findings)
        if effect.flaw is not None:
            raise MergeConflictError(
                found.problem or sentence("all of it is on the branch already"), hint=sentence("Withdraw it.")
            )
        if found.asked:
            names = ", ".join(each.by.name for each in found.asked)
            raise RefusedError(
                sentence("%(names)s asked for changes", names=names),
                hint=sentence("Change the proposal, or have them approve it."),
            )
        unreadable = policies_of(effect.ours).findings
        if unreadable:
            raise FindingsError(sentence("the policies in kemudi.yaml cannot be read"), unreadable)
        trailers = [
            *_asked_trailers(effect.commits[0]),
            *(("Approved-by", _written(each.by)) for each in found.counted),
        ]
        branch = repository.head().branch
        assert branch is not None  # noqa: S101  # `_head` has asked
        return Prepared(
            plan=found.plan,
            diff=found.diff,
            files=tuple(sorted(effect.contents)),
            base=found.base,
            branch=branch,
            is_proposal=False,
            message=compose(f"Merge: {found.subject}", found.reason, trailers, "merge"),
            author=by,
            warnings=effect.findings,
            root=self._root,
            prefix=repository.prefix,
            contents=effect.contents,
            merged=found.tip,
        )

    def _tidy(self, repository: ConfigRepository, branch: str, tip: str) -> None:
        """Take the branch of what is in effect away, unless it has moved, or somebody has it checked out."""
        try:
            _check_free(repository, branch)
            delete_branch(repository, branch, tip, mark=_mark(repository, branch.removeprefix(PROPOSALS)))
        except ConflictError:
            return


def is_proposal_name(name: str) -> bool:
    """Whether a proposal may be called so: one plain part, that needs no quoting anywhere."""
    return _NAME.fullmatch(name) is not None


def _branches(repository: ConfigRepository, start: str) -> Iterator[tuple[str, str]]:
    """The branches with this start and one name behind it, and their commits."""
    listed = repository.git.run("for-each-ref", "--format=%(refname) %(objectname)", f"refs/heads/{start}")
    for line in listed.decode("utf-8", "replace").splitlines():
        ref, _, tip = line.rpartition(" ")
        branch = ref.removeprefix("refs/heads/")
        if is_proposal_name(branch.removeprefix(start)):
            yield branch, tip


def _authors(commits: tuple[Commit, ...]) -> tuple[Author, ...]:
    """The people behind some commits, each once. One whom git has without a name or an address is still somebody."""
    found: dict[str, Author] = {}
    for each in commits:
        by = Author(each.author_name.strip() or "?", each.author_email.strip() or "?")
        found.setdefault(by.email.casefold(), by)
    return tuple(found.values())


def _only_values(effect: Effect) -> bool:
    layers = effect.ours.manifest.layers if effect.ours.manifest is not None else ()
    return all(path.partition("/")[0] in layers for path in effect.paths)


def _asked_trailers(commit: Commit) -> Trailers:
    """The trailers of the proposal; not what is said of approvals there, for those are counted, not claimed."""
    left_out = {TRAILER.casefold(), "approved-by"}
    return tuple(each for each in trailers_of(commit.message) if each[0].casefold() not in left_out)


def _reason(commit: Commit) -> str:
    """Why. The subject says what, and is no reason."""
    reason = reason_of(commit.message)
    return "" if reason == commit.subject else reason


def _written(person: Author) -> str:
    return f"{person.name} <{person.email}>"


def _check_free(repository: ConfigRepository, branch: str) -> None:
    """Raise ConflictError for a branch that somebody has checked out, here or in another work tree."""
    if repository.head().branch == branch:
        raise ConflictError(
            sentence("the branch %(branch)s is checked out", branch=branch),
            hint=sentence("Switch to another branch."),
        )
    check_checked_out(repository.layout, branch)


def _mark(repository: ConfigRepository, name: str) -> str:
    """Where to remember a proposal that is taken away; nowhere without a remote to tell."""
    return GONE + name if repository.git.run("remote") else ""


def _times(path: Path) -> object:
    """When a file changed; of a folder, and of each file right below it."""
    try:
        with os.scandir(path) as listed:
            return sorted((each.name, each.stat().st_mtime_ns, each.inode()) for each in listed)
    except NotADirectoryError:
        found = path.stat()
        return found.st_mtime_ns, found.st_ino, found.st_size
    except OSError:
        return None
