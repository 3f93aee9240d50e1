"""Proposals: approved by others, put into effect as a whole, named when they do not fit any more."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kemudi.repo.approvals import Seal, Statement
from kemudi.repo.changes import ChangeRequest, Edit, apply
from kemudi.repo.errors import HeadMovedError, PolicyRefusedError, UnknownRevisionError
from kemudi.repo.people import Author
from kemudi.repo.proposal_merge import MergeConflictError
from kemudi.repo.proposals import Proposal, Proposals
from kemudi.schema.errors import ConflictError, FindingsError, RefusedError

SEAL = Seal(b"a key of thirty-two bytes or more")
ROOT = Path(__file__).parents[3]
PERSON = Author("Author", "author@example.org")
FIRST = Author("First Approver", "first@example.org")
SECOND = Author("Second Approver", "second@example.org")
RULE = "policies:\n  - rule: approvals\n    environments: [prod]\n    required: "


class Kept:
    """The worked example in a folder of a repository, and its proposals."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.root: Path = sandbox.root
        self.proposals = Proposals(sandbox.root, SEAL)

    def git(self, *arguments: str) -> str:
        return str(self.sandbox.git(*arguments))

    def require(self, number: int, more: str = "") -> None:
        file = self.root / "config-repo/kemudi.yaml"
        file.write_text(file.read_text().partition("policies:")[0] + f"{RULE}{number}\n{more}")
        self.git("commit", "-qam", "policies")

    def propose(self, *edits: Edit, author: Author = PERSON, branch: str | None = None) -> Proposal:
        wanted = edits or (Edit("prod", "SYNC_BATCH_SIZE", 400),)
        request = ChangeRequest(wanted, "load is lower", author, propose=True, branch=branch)
        done = apply(self.root, request)
        return self.proposals.get(done.branch.removeprefix("kemudi/"))

    def save(self, *edits: Edit) -> str:
        return apply(self.root, ChangeRequest(edits, "meanwhile", SECOND)).revision

    def values(self, path: str = "prod/sync.yaml") -> str:
        return (self.root / "config-repo" / path).read_text()


@pytest.fixture
def kept(new_sandbox: Any) -> Iterator[Kept]:
    made = new_sandbox("config")
    shutil.copytree(ROOT / "config-repo", made.root / "config-repo")
    (made.root / "other.txt").write_text("not ours\n")
    made.git("add", "--all")
    made.git("commit", "--quiet", "-m", "first")
    found = Kept(made)
    yield found
    found.proposals.close()


class TestApproved:
    def test_two_people_approve_and_a_third_puts_it_into_effect(self, kept: Kept) -> None:
        """A merge commit of both sides, with who approved; files, index and branch go together; the branch is gone."""
        kept.require(2)
        asked = kept.propose()
        assert (asked.state, asked.missing, asked.reason) == ("waiting", 2, "load is lower")
        assert (
            kept.proposals.approve(asked.id, asked.tip, FIRST).state,
            kept.proposals.approve(asked.id, asked.tip, FIRST).missing,  # the same person twice is one
        ) == ("waiting", 1)
        with pytest.raises(PolicyRefusedError, match="KEM086"):
            kept.proposals.merge(asked.id, asked.tip, SECOND)
        assert kept.proposals.approve(asked.id, asked.tip, SECOND).state == "ready"
        before = kept.git("rev-parse", "HEAD")
        done = kept.proposals.merge(asked.id, asked.tip, SECOND)
        assert kept.git("log", "-1", "--format=%H %P") == f"{done.revision} {before} {asked.tip}"
        assert kept.git("log", "-1", "--format=%an|%cn|%s") == (
            "Second Approver|Kemudi|Merge: Set SYNC_BATCH_SIZE in prod"
        )
        assert kept.git("log", "-1", "--format=%b").splitlines()[2:4] == [
            "Approved-by: First Approver <first@example.org>",
            "Approved-by: Second Approver <second@example.org>",
        ]
        assert "SYNC_BATCH_SIZE: 400" in kept.values()
        assert kept.git("status", "--porcelain") == ""
        assert kept.git("branch", "--list", "kemudi/*") == ""
        assert kept.proposals.all() == ()
        kept.git("fsck", "--strict")

    def test_the_author_does_not_count(self, kept: Kept) -> None:
        """Nobody approves a proposal that they wrote any commit of, whatever the case of their address."""
        kept.require(1)
        asked = kept.propose()
        with pytest.raises(RefusedError, match="another person"):
            kept.proposals.approve(asked.id, asked.tip, Author("A", "AUTHOR@example.org"))
        more = kept.propose(Edit("prod", "CACHE_TTL", 30), author=FIRST, branch=asked.branch)
        assert (more.id, more.authors) == (asked.id, (FIRST, PERSON))
        with pytest.raises(RefusedError, match="another person"):
            kept.proposals.approve(more.id, more.tip, PERSON)
        assert kept.proposals.approve(more.id, more.tip, SECOND).state == "ready"

    def test_a_policy_may_let_the_author_approve(self, kept: Kept) -> None:
        """`own: true`."""
        kept.require(1, "    own: true\n")
        asked = kept.propose()
        assert kept.proposals.approve(asked.id, asked.tip, PERSON).state == "ready"

    def test_what_moved_needs_approval_again(self, kept: Kept) -> None:
        """An approval is of the commit that was seen; an older one neither counts nor can be given or used."""
        kept.require(1)
        asked = kept.propose()
        assert kept.proposals.approve(asked.id, asked.tip, FIRST).state == "ready"
        moved = kept.propose(Edit("prod", "SYNC_BATCH_SIZE", 900), branch=asked.branch)
        assert (moved.state, moved.approvals) == ("waiting", ())
        for attempt in (kept.proposals.approve, kept.proposals.merge):
            with pytest.raises(HeadMovedError, match="changed since"):
                attempt(asked.id, asked.tip, SECOND)
        with pytest.raises(HeadMovedError):
            kept.proposals.withdraw(asked.id, asked.tip)
        assert "5000" in kept.values()

    def test_an_approval_that_the_message_claims_is_none(self, kept: Kept) -> None:
        """`Approved-by` in the proposal's own message counts nothing, and is not passed on."""
        kept.require(1)
        claimed = {"Approved-by": "First Approver <first@example.org>", "Ticket": "OPS-1"}
        edits = (Edit("prod", "SYNC_BATCH_SIZE", 400),)
        done = apply(kept.root, ChangeRequest(edits, "why", PERSON, trailers=claimed, propose=True))
        asked = kept.proposals.get(done.branch.removeprefix("kemudi/"))
        assert (asked.state, asked.missing) == ("waiting", 1)
        kept.proposals.approve(asked.id, asked.tip, SECOND)
        kept.proposals.merge(asked.id, asked.tip, SECOND)
        message = kept.git("log", "-1", "--format=%b")
        assert "First Approver" not in message
        assert "Ticket: OPS-1" in message

    def test_notes_that_git_has_spread_over_folders_are_read(self, kept: Kept) -> None:
        """Git does so with many notes; approvals written before and after count."""
        kept.require(2)
        asked = kept.propose()
        kept.proposals.approve(asked.id, asked.tip, FIRST)
        ref, tip = "refs/notes/kemudi/approvals", asked.tip
        blob = kept.git("rev-parse", f"{ref}:{tip}")
        inner = kept.sandbox.git("mktree", data=f"100644 blob {blob}\t{tip[2:]}\n".encode())
        outer = kept.sandbox.git("mktree", data=f"040000 tree {inner}\t{tip[:2]}\n".encode())
        kept.git("update-ref", ref, kept.git("commit-tree", outer, "-m", "spread"))
        assert kept.proposals.get(asked.id).missing == 1
        assert kept.proposals.approve(asked.id, asked.tip, SECOND).state == "ready"
        assert len(kept.git("notes", "--ref=kemudi/approvals", "show", tip).splitlines()) >= 2

    def test_a_seal_is_of_one_commit_one_key_and_every_word(self) -> None:
        """Whatever is changed in a sealed line, the seal is not good any more."""
        at = datetime(2026, 1, 1, tzinfo=UTC)
        sealed = SEAL.sealed("a" * 40, Statement(FIRST, at, "changes", "why, and\nwhat", ("group:ops",)))
        assert SEAL.is_good("a" * 40, sealed)
        others = [
            replace(sealed, by=SECOND),
            replace(sealed, at=at.replace(year=2027)),
            replace(sealed, kind="approved"),
            replace(sealed, comment="why, and what"),
            replace(sealed, names=("group", "ops")),
            replace(sealed, seal=""),
        ]
        assert [each for each in others if SEAL.is_good("a" * 40, each)] == []
        assert not SEAL.is_good("b" * 40, sealed)
        assert not Seal(b"another key of thirty-two bytes!").is_good("a" * 40, sealed)

    def test_git_tells_the_approvals_too(self, kept: Kept) -> None:
        """They are notes."""
        asked = kept.propose()
        kept.proposals.approve(asked.id, asked.tip, FIRST)
        shown = kept.git("notes", "--ref=kemudi/approvals", "show", asked.tip)
        assert shown.startswith("Approved-by: First Approver <first@example.org> at 20")


class TestTogether:
    def test_neighbours_of_one_file_go_together(self, kept: Kept) -> None:
        """Another setting of the same file, changed meanwhile, is no conflict; both are there afterwards."""
        asked = kept.propose()
        kept.save(Edit("prod", "SYNC_TIMEOUT", 1234))
        other = kept.propose(Edit("prod", "SYNC_RETRY_ATTEMPTS", 2), author=FIRST)
        assert {each.id for each in kept.proposals.all()} == {asked.id, other.id}
        for each in (asked, other):
            kept.proposals.merge(each.id, each.tip, SECOND)
        text = kept.values()
        assert "SYNC_BATCH_SIZE: 400" in text
        assert "SYNC_TIMEOUT: 1234" in text
        assert "SYNC_RETRY_ATTEMPTS: 2" in text

    def test_the_same_setting_is_a_conflict_by_name(self, kept: Kept) -> None:
        """It is shown with what was wanted, and can only be withdrawn."""
        asked = kept.propose()
        kept.save(Edit("prod", "SYNC_BATCH_SIZE", 700))
        (found,) = kept.proposals.all()
        assert found.state == "conflict"
        assert found.problem.startswith("SYNC_BATCH_SIZE in prod was changed since this was proposed")
        assert "+SYNC_BATCH_SIZE: 400" in found.diff
        with pytest.raises(MergeConflictError):
            kept.proposals.merge(asked.id, asked.tip, SECOND)
        with pytest.raises(ConflictError):
            kept.proposals.approve(asked.id, asked.tip, SECOND)
        kept.proposals.withdraw(asked.id, asked.tip)
        with pytest.raises(UnknownRevisionError):
            kept.proposals.get(asked.id)
        assert "SYNC_BATCH_SIZE: 700" in kept.values()

    def test_what_is_there_already_is_empty(self, kept: Kept) -> None:
        """Somebody else saved the very same."""
        asked = kept.propose()
        kept.save(Edit("prod", "SYNC_BATCH_SIZE", 400))
        assert kept.proposals.get(asked.id).state == "empty"

    def test_what_breaks_the_contract_now_is_invalid(self, kept: Kept) -> None:
        """The contract of the branch counts, not that of the proposal's base."""
        asked = kept.propose(Edit("prod", "SYNC_BATCH_SIZE", 9000))
        contract = kept.root / "config-repo/contracts/sync.schema.json"
        text = contract.read_text().replace('"minimum": 1,', '"minimum": 1, "maximum": 6000,', 1)
        contract.write_text(text)
        kept.git("commit", "-qam", "narrower")
        found = kept.proposals.get(asked.id)
        assert (found.state, "prod/sync.yaml" in found.problem) == ("invalid", True)
        with pytest.raises(FindingsError):
            kept.proposals.merge(asked.id, asked.tip, SECOND)

    def test_what_is_no_change_of_settings_is_left_to_git(self, kept: Kept) -> None:
        """A branch that changes another file of the repository is shown, and not merged here."""
        kept.git("switch", "-qc", "kemudi/by-hand")
        (kept.root / "other.txt").write_text("changed\n")
        kept.git("commit", "-qam", "by hand")
        tip = kept.git("rev-parse", "HEAD")
        kept.git("switch", "-q", "main")
        (found,) = kept.proposals.all()
        assert (found.state, "other.txt" in found.problem) == ("conflict", True)
        with pytest.raises(MergeConflictError, match="no plain file"):
            kept.proposals.merge("by-hand", tip, SECOND)

    def test_edits_that_are_not_committed_are_kept(self, kept: Kept) -> None:
        """The file in the way is named, and nothing has moved."""
        asked = kept.propose()
        before = kept.git("rev-parse", "HEAD")
        file = kept.root / "config-repo/prod/sync.yaml"
        file.write_text(file.read_text() + "# mine\n")
        with pytest.raises(ConflictError, match=r"prod/sync\.yaml has changes"):
            kept.proposals.merge(asked.id, asked.tip, SECOND)
        assert kept.git("rev-parse", "HEAD") == before
        assert kept.values().endswith("# mine\n")
        assert kept.proposals.get(asked.id).state == "ready"

    def test_names_that_are_none(self, kept: Kept) -> None:
        """A name is looked up, never joined to a path."""
        for name in ("", "../main", "nothing", "x" * 300, "a\nb"):
            with pytest.raises(UnknownRevisionError):
                kept.proposals.get(name)


WORK = """
import sys
from pathlib import Path
from kemudi.repo.approvals import Seal
from kemudi.repo.people import Author
from kemudi.repo.proposals import Proposals
proposals = Proposals(Path(sys.argv[1]), Seal(b"a key of thirty-two bytes or more"))
(found,) = proposals.all()
person = Author("Second Approver", "second@example.org")
getattr(proposals, sys.argv[2])(found.id, found.tip, person)
"""


@pytest.mark.parametrize(
    ("point", "action", "is_done"),
    [
        ("approvals.object", "approve", False),
        ("approvals.ref", "approve", True),
        ("changes.file", "merge", False),
        ("changes.index", "merge", False),
        ("changes.ref", "merge", True),
        ("proposals.merged", "merge", True),
    ],
)
def test_killed_in_the_middle_it_is_before_or_after(
    kept: Kept, point: str, action: str, is_done: bool
) -> None:
    """At each point an approval is there or not, a proposal in effect or not; the next attempt brings it to its end."""
    asked = kept.propose()
    argv = [sys.executable, "-c", WORK, str(kept.root), action]
    died = subprocess.run(argv, env=os.environ | {"KEMUDI_FAILPOINT": point}, check=False, timeout=60)
    assert died.returncode == -9
    if action == "approve":
        assert len(kept.proposals.get(asked.id).approvals) == is_done
        assert len(kept.proposals.approve(asked.id, asked.tip, SECOND).approvals) == 1
        return
    assert [each.state for each in kept.proposals.all()] == ([] if is_done else ["ready"])
    if not is_done:
        kept.proposals.merge(asked.id, asked.tip, SECOND)
    assert kept.git("status", "--porcelain") == ""
    assert "SYNC_BATCH_SIZE: 400" in kept.values()
    assert kept.git("rev-list", "--count", "HEAD") == "3"
