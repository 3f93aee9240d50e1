"""A change that waits, as people see it and decide on it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kemudi.repo.approvals import Statement, same_person
from kemudi.repo.people import Author
from kemudi.repo.plan import Plan
from kemudi.repo.policy import Approval
from kemudi.schema.findings import Finding

ProposalState = Literal["waiting", "ready", "changes", "refused", "conflict", "invalid", "empty"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that waits, as it stands against the branch now.

    Attributes:
        id: Its name, without `kemudi/`.
        branch: The whole name.
        tip: The commit that it proposes; approvals are about this one.
        base: The commit of the branch that it was held against.
        authors: Who made its commits, the one of the tip first.
        subject: First line of the tip's message.
        reason: Why.
        at: When the tip was made.
        plan: What it would do now, judged; for a conflict what was wanted when it was proposed.
        diff: What the branch would get.
        files: The files that it changes, in the config repo.
        only_values: Whether it changes nothing but values of settings.
        approvals: Of this tip; those too that do not count.
        asked: Of reviewers who ask for changes of this tip and have not approved it since; only what counts.
        needs: What the policies ask for.
        refused: The policies that keep it from being put into effect now.
        state: `waiting` for approvals, `ready`; `changes` are asked for; `refused` by a policy, `conflict`, `invalid`,
            `empty`: all of it is on the branch already.
        problem: What is wrong, for a conflict and an invalid one.
    """

    id: str
    branch: str
    tip: str
    base: str
    authors: tuple[Author, ...]
    subject: str
    reason: str
    at: datetime
    plan: Plan
    diff: str
    files: tuple[str, ...]
    only_values: bool
    approvals: tuple[Statement, ...]
    asked: tuple[Statement, ...]
    needs: Approval
    refused: tuple[Finding, ...]
    state: ProposalState
    problem: str = ""

    @property
    def author(self) -> Author:
        """Who made the newest commit."""
        return self.authors[0]

    @property
    def missing(self) -> int:
        """How many approvals are missing."""
        return max(0, self.needs.required - len(self.counted))

    @property
    def counted(self) -> tuple[Statement, ...]:
        """The approvals that count: with a good seal, of people with the role, where policies want it of others."""
        return tuple(each for each in self.approvals if each.counts)

    def is_author(self, person: Author) -> bool:
        """Whether somebody made any of its commits."""
        return any(same_person(each, person) for each in self.authors)
