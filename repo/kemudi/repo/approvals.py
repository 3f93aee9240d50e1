"""What reviewers say of a proposal, as git notes on the very commit: another commit starts without any.

They stand on `refs/notes/kemudi/approvals`, so that `git notes --ref=kemudi/approvals show <commit>` tells them, too.
Whoever may push refs can write such a note. So each line carries a seal, which only who holds the key can make; a line
without a good one is shown, and counts for nothing.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import quote, unquote

from kemudi.repo.errors import HeadMovedError
from kemudi.repo.git import NO_COMMIT, Git, check_sha
from kemudi.repo.landing import writing
from kemudi.repo.note_lines import REF, all_lines, lines_of, with_lines
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.refs import Refs
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import UsageError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.sentences import sentence

Kind = Literal["approved", "changes"]

LONGEST_COMMENT: Final = 4000
BY_THE_CONSOLE: Final = "*"
"""In place of names of the roles file: the right was given on the machine, by a one-time link or a token."""

_WORDS: Final[dict[Kind, str]] = {"approved": "Approved-by", "changes": "Changes-asked-by"}
_KINDS: Final[dict[str, Kind]] = {word: kind for kind, word in _WORDS.items()}
_SEAL: Final = r"(?: seal (?P<seal>[0-9a-f]{64}))?"
_LINE: Final = re.compile(
    r"(?P<word>Approved-by|Changes-asked-by): (?P<name>[^<>]{1,200}) <(?P<email>[^<>]{1,200})> at (?P<at>\S{1,40})"
    rf"(?: as (?P<names>\S{{1,2000}}))?(?: because (?P<comment>\S{{1,{LONGEST_COMMENT * 12}}}))?{_SEAL}"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What one reviewer said of one commit.

    Attributes:
        by: Who, as the console that wrote it knew them.
        at: When.
        kind: `approved`, or `changes` where they asked for changes.
        comment: What they want changed; empty for an approval.
        names: The names of the roles file by which they had the right, or `*`.
        seal: Of the console that wrote it; empty without one.
        against: Why it does not count: `seal`, `role`, `author`; empty when it does.
    """

    by: Author
    at: datetime
    kind: Kind = "approved"
    comment: str = ""
    names: tuple[str, ...] = ()
    seal: str = ""
    against: Literal["", "seal", "role", "author"] = ""

    @property
    def counts(self) -> bool:
        """Whether it is to be believed."""
        return not self.against


class Seal:
    """Makes and checks seals with a secret key of at least 32 bytes. Who has the key can make any approval."""

    def __init__(self, key: bytes) -> None:
        """Take the key. Raises UsageError for a short one."""
        if len(key) < 32:
            raise UsageError(sentence("a key for approvals has at least 32 bytes"))
        self._key = key

    def sealed(self, sha: str, said: Statement) -> Statement:
        """The same with its seal for a commit."""
        return replace(said, seal=self._of(sha, said))

    def is_good(self, sha: str, said: Statement) -> bool:
        """Whether somebody with the key said just this of just this commit."""
        return hmac.compare_digest(said.seal, self._of(sha, said))

    def _of(self, sha: str, said: Statement) -> str:
        # The line has no line break inside: names cannot have one, comment and `as` are quoted.
        text = f"kemudi approval 1\n{sha}\n{_written(replace(said, seal=''))}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def same_person(left: Author, right: Author) -> bool:
    """Whether two authors are one person: by address, where case does not count."""
    return left.email.casefold() == right.email.casefold()


def statements_of(repository: ConfigRepository, sha: str) -> tuple[Statement, ...]:
    """Everything that was said of a commit, in the order of time."""
    notes = Refs(repository.layout, repository.git).tip(REF)
    return _read(repository, notes, sha)


def every_statement(repository: ConfigRepository) -> tuple[tuple[str, Statement], ...]:
    """Everything that was said of any commit, with the commit, the newest first; also of commits that are not here.

    Raises ConflictError for more notes than anybody makes.
    """
    notes = Refs(repository.layout, repository.git).tip(REF)
    if notes is None:
        return ()
    lines = dict.fromkeys(all_lines(repository, notes))
    found = [(sha, said) for sha, line in lines if (said := _parsed(line)) is not None]
    return tuple(sorted(found, key=lambda each: each[1].at, reverse=True))


def newest(said: Iterable[Statement]) -> tuple[Statement, ...]:
    """The last word of each person. At the very same instant the one that asks for changes."""
    found: dict[str, Statement] = {}
    for each in sorted(said, key=lambda one: (one.at, one.kind == "changes")):
        found.pop(each.by.email.casefold(), None)
        found[each.by.email.casefold()] = each
    return tuple(found.values())


def add_statement(repository: ConfigRepository, sha: str, said: Statement, seal: Seal) -> None:
    """Write down what somebody says of a commit; the same twice is once. It gets a time after what they said before."""
    where = repository.layout
    with writing(where) as lock:
        notes = Refs(where, repository.git).tip(REF)
        known = _read(repository, notes, check_sha(sha))
        mine = [each for each in known if same_person(each.by, said.by) and seal.is_good(sha, each)]
        last = newest(mine)
        if last and (last[0].kind, last[0].comment, last[0].names) == (said.kind, said.comment, said.names):
            return
        if last and said.at <= last[0].at:
            said = replace(said, at=last[0].at + timedelta(microseconds=1))
        line = _written(seal.sealed(sha, said))
        made = with_lines(repository, notes, {sha: (line,)}, said.by, f"Review {sha}")
        failpoint("approvals.object")
        arguments = ("-m", "approval", "--end-of-options", REF, made, notes or NO_COMMIT)
        extra = {"GIT_COMMITTER_NAME": KEMUDI.name, "GIT_COMMITTER_EMAIL": KEMUDI.email}
        Git(where.git_dir).run("update-ref", *arguments, extra=extra, inherited=(lock,))
        failpoint("approvals.ref")


def delete_branch(repository: ConfigRepository, branch: str, tip: str, *, mark: str = "") -> None:
    """Take a branch away that is still at `tip`. Raises HeadMovedError when it moved, or is gone.

    Args:
        repository: Where.
        branch: The branch.
        tip: Its commit.
        mark: A ref that is left in its place, in the same step, for who has to tell the remote.
    """
    where = repository.layout
    ref = f"refs/heads/{branch}"
    with writing(where) as lock:
        if Refs(where, repository.git).tip(ref) != tip:
            raise HeadMovedError(
                sentence("the branch %(branch)s moved meanwhile", branch=branch),
                hint=sentence("Look at it again."),
            )
        lines = [f"delete {ref} {tip}", *([f"update {mark} {tip}"] if mark else [])]
        wanted = "".join(f"{line}\n" for line in lines).encode()
        Git(where.git_dir).run("update-ref", "--stdin", data=wanted, inherited=(lock,))


def is_statement(line: str) -> bool:
    """Whether a line of a note could be one. Says nothing of its truth."""
    return _parsed(line) is not None


def _read(repository: ConfigRepository, notes: str | None, sha: str) -> tuple[Statement, ...]:
    found = (_parsed(line) for line in lines_of(repository, notes, sha))
    return tuple(sorted((each for each in found if each is not None), key=lambda each: each.at))


def _parsed(line: str) -> Statement | None:
    """None for a line that nothing here has written: it says nothing."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    names = tuple(unquote(name) for name in (found["names"] or "").split(",") if name)
    comment = unquote(found["comment"] or "")
    try:
        at = datetime.fromisoformat(found["at"])
        by = Author(found["name"], found["email"])
    except (ValueError, UsageError):
        return None
    if at.tzinfo is None:
        return None
    return Statement(by, at, _KINDS[found["word"]], comment, names, found["seal"] or "")


def _written(said: Statement) -> str:
    words = f"{_WORDS[said.kind]}: {said.by.name} <{said.by.email}> at {said.at.isoformat()}"
    if said.names:
        words += f" as {','.join(quote(name, safe='*@:') for name in said.names)}"
    if said.comment:
        words += f" because {quote(said.comment)}"
    return f"{words} seal {said.seal}" if said.seal else words
