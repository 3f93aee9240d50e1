"""The order of snapshots, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemudi.daemon.order import AppliedPosition, Position, Publish, Relation, Rewritten, Unchanged, decide
from kemudi.schema.generation import Generation

A, B = "a" * 40, "b" * 40
TREE, TREE2 = "worktree@0123456789ab", "worktree@ba9876543210"


def at(revision: str, depth: int, base: str | None = None) -> Position:
    return Position(revision, base or revision, depth)


def applied(revision: str, generation: str, base: str | None = None) -> AppliedPosition:
    return AppliedPosition(revision, base or revision, Generation.parse(generation))


# what it is | applied | candidate | era | relation | ambiguous | decision
TABLE = [
    ("first publish", None, at(A, 7), 0, Relation.SAME, False, Publish(0, 7, 0, False)),
    ("first publish of a save", None, at(TREE, 7, A), 0, Relation.SAME, True, Publish(0, 7, 0, True)),
    ("first publish after rewrites", None, at(A, 7), 3, Relation.SAME, False, Publish(3, 7, 0, False)),
    ("nothing new", applied(A, "0.7.0"), at(A, 7), 0, Relation.SAME, False, Unchanged()),
    ("a commit", applied(A, "0.7.2"), at(B, 8), 0, Relation.DESCENDANT, False, Publish(0, 8, 2, False)),
    (
        "many commits",
        applied(A, "0.7.2"),
        at(B, 900),
        0,
        Relation.DESCENDANT,
        False,
        Publish(0, 900, 2, False),
    ),
    ("a save", applied(A, "0.7.2"), at(TREE, 7, A), 0, Relation.SAME, True, Publish(0, 7, 3, True)),
    (
        "another save",
        applied(TREE, "0.7.3", A),
        at(TREE2, 7, A),
        0,
        Relation.SAME,
        True,
        Publish(0, 7, 4, True),
    ),
    ("a save undone", applied(TREE, "0.7.3", A), at(A, 7), 0, Relation.SAME, False, Publish(0, 7, 4, True)),
    (
        "its commit",
        applied(TREE, "0.7.3", A),
        at(B, 8),
        0,
        Relation.DESCENDANT,
        False,
        Publish(0, 8, 3, False),
    ),
    ("a key rotated", applied(A, "0.7.0"), at(A, 7), 0, Relation.SAME, True, Publish(0, 7, 1, True)),
    ("a category held", applied(A, "0.7.0"), at(B, 8), 0, Relation.DESCENDANT, True, Publish(0, 8, 0, True)),
    ("a rebase", applied(A, "0.7.0"), at(B, 9), 0, Relation.DIVERGED, False, Rewritten(Relation.DIVERGED)),
    ("a reset", applied(A, "0.7.0"), at(B, 6), 0, Relation.BEHIND, False, Rewritten(Relation.BEHIND)),
    ("gone", applied(A, "0.7.0"), at(B, 9), 0, Relation.UNKNOWN, False, Rewritten(Relation.UNKNOWN)),
    ("accepted", applied(A, "0.7.5"), at(B, 3), 1, Relation.SAME, False, Publish(1, 3, 5, False)),
    ("after accepted", applied(A, "0.7.5"), at(B, 4), 1, Relation.DESCENDANT, False, Publish(1, 4, 5, False)),
    (
        "not what was accepted",
        applied(A, "0.7.5"),
        at(B, 4),
        1,
        Relation.DIVERGED,
        False,
        Rewritten(Relation.DIVERGED),
    ),
    ("own era lost", applied(A, "2.7.0"), at(B, 8), 0, Relation.DESCENDANT, False, Publish(2, 8, 0, False)),
    ("a lying depth", applied(A, "0.7.0"), at(B, 5), 0, Relation.DESCENDANT, False, Publish(0, 7, 1, True)),
]


@pytest.mark.parametrize(
    ("before", "candidate", "era", "relation", "ambiguous", "decision"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_the_table(before, candidate, era, relation, ambiguous, decision):  # type: ignore[no-untyped-def]  # a table
    """Each row says what happens, and is all there is to say."""
    assert decide(before, candidate, era=era, relation=relation, ambiguous=ambiguous) == decision


@given(
    served=st.builds(Generation, st.integers(0, 5), st.integers(1, 50), st.integers(0, 50)),
    depth=st.integers(1, 60),
    era=st.integers(0, 6),
    serial=st.integers(0, 100),
    relation=st.sampled_from(Relation),
    same=st.booleans(),
    ambiguous=st.booleans(),
)
def test_a_published_generation_is_always_higher(
    served: Generation,
    depth: int,
    era: int,
    serial: int,
    relation: Relation,
    same: bool,
    ambiguous: bool,
) -> None:
    """Whatever the repositories say, and whatever counters were lost."""
    before = AppliedPosition(A, A, served)
    candidate = at(A if same else B, depth)
    decision = decide(before, candidate, era=era, relation=relation, ambiguous=ambiguous)
    if isinstance(decision, Publish):
        assert decision.generation(serial) > served
        assert relation in {Relation.SAME, Relation.DESCENDANT}
    elif isinstance(decision, Unchanged):
        assert same
        assert not ambiguous
