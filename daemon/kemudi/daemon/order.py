"""Which generation a candidate gets, or why none: a pure function of what is applied and what git says.

The order of snapshots comes from git alone, so that no store can rewind it:

- a descendant has a greater depth, and so a greater generation, by itself;
- content that changes at the same depth (a work-tree save, a category held back) takes the next serial;
- history that no longer contains what is applied gets no generation until an operator accepts it: a new era.
"""

from dataclasses import dataclass
from enum import StrEnum

from kemudi.schema.generation import Generation


class Relation(StrEnum):
    """How the candidate's commit stands to the applied one (or to the tip whose rewrite was accepted)."""

    SAME = "same"
    DESCENDANT = "descendant"
    BEHIND = "behind"
    """An ancestor: the branch was moved back, or this repository lags."""
    DIVERGED = "diverged"
    UNKNOWN = "unknown"
    """What is applied is not in this repository at all."""


@dataclass(frozen=True, slots=True)
class Position:
    """A revision and its place in history.

    Attributes:
        revision: Full SHA, or `worktree@<12 hex>`.
        base: The commit that it is, or that the work tree stands on; empty if unknown.
        depth: `git rev-list --count` of the base.
    """

    revision: str
    base: str
    depth: int


@dataclass(frozen=True, slots=True)
class AppliedPosition:
    """What readers hold: nothing lower may be published again."""

    revision: str
    base: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The candidate is what is applied."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The candidate does not contain what is applied."""

    relation: Relation


@dataclass(frozen=True, slots=True)
class Publish:
    """The candidate may be published.

    Attributes:
        era: Its era.
        depth: Its depth.
        floor: The lowest serial that keeps the order.
        advance: Whether a new serial must be reserved for it first.
    """

    era: int
    depth: int
    floor: int
    advance: bool

    def generation(self, serial: int) -> Generation:
        """The generation, for the serial that the daemon's own repository gives."""
        return Generation(self.era, self.depth, max(serial, self.floor))


Decision = Unchanged | Rewritten | Publish


def decide(
    applied: AppliedPosition | None,
    candidate: Position,
    *,
    era: int,
    relation: Relation,
    ambiguous: bool = False,
) -> Decision:
    """Place a candidate.

    Args:
        applied: What readers hold, None when that is not known and cannot be.
        candidate: What git or the work tree says now.
        era: Accepted rewrites, by the daemon's own repository.
        relation: Of the candidate to the applied position; to the accepted tip when `era` is ahead of it.
        ambiguous: The revision does not determine the content: an uncommitted tree, or categories held back.
    """
    if applied is None:
        return Publish(era, candidate.depth, 0, ambiguous)
    if relation not in (Relation.SAME, Relation.DESCENDANT):
        return Rewritten(relation)
    served = applied.generation
    if era > served.era:
        return Publish(era, candidate.depth, served.serial, ambiguous)
    if candidate.revision == applied.revision and not ambiguous:
        return Unchanged()
    # A descendant is deeper by definition; a repository that says otherwise must not rewind readers.
    depth = max(candidate.depth, served.depth)
    advance = ambiguous or depth == served.depth
    return Publish(served.era, depth, served.serial + (1 if depth == served.depth else 0), advance)
