"""The rankings: what the formulas give by hand, and what holds for any counts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kemudi.graph.recommend import (
    RANK_CONSTANT,
    REASONS,
    Candidate,
    by_similarity,
    fused,
    ordered,
    with_classmates,
)

STEADY = settings(max_examples=60, deadline=None, derandomize=True)


def common(taken: str, kode: str, shared: int) -> dict[str, Any]:
    return {"taken": taken, "kode": kode, "nama": f"Nama {kode}", "common": shared}


def candidates(*kodes: str) -> list[Candidate]:
    return [Candidate(kode, f"Nama {kode}", float(-place)) for place, kode in enumerate(kodes)]


def kodes(ranking: list[Candidate]) -> list[str]:
    return [each.kode for each in ranking]


def test_similarity_is_the_sum_of_shares_of_students_in_common() -> None:
    """A: 4 students, B: 6, X: 5. J(A,X) = 2 / (4 + 5 - 2), J(B,X) = 3 / (6 + 5 - 3)."""
    ranking = by_similarity([common("A", "X", 2), common("B", "X", 3)], {"A": 4, "B": 6, "X": 5})
    assert kodes(ranking) == ["X"]
    assert ranking[0].score == pytest.approx(2 / 7 + 3 / 8)
    assert ranking[0].because == ({"kode": "B", "weight": 3 / 8}, {"kode": "A", "weight": 2 / 7})
    assert ranking[0].nama == "Nama X"


def test_similarity_breaks_ties_by_code() -> None:
    """Equal scores, whatever the order of the records."""
    records = [common("A", "Z", 1), common("A", "M", 1), common("A", "B", 1)]
    assert kodes(by_similarity(records, {"A": 2, "Z": 2, "M": 2, "B": 2})) == ["B", "M", "Z"]


@STEADY
@given(
    st.lists(
        st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("UVWXYZ"), st.integers(1, 9)),
        unique_by=lambda each: each[:2],
        max_size=20,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_records_changes_nothing(found: list[tuple[str, str, int]], order: Any) -> None:
    """Not even the last bit of a score, so two stores that list in other orders agree."""
    records = [common(*each) for each in found]
    sizes = dict.fromkeys("ABCDEFUVWXYZ", 11)
    shuffled = list(records)
    order.shuffle(shuffled)
    assert by_similarity(records, sizes) == by_similarity(shuffled, sizes)


@STEADY
@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50))
def test_no_similarity_exceeds_one(shared: int, one: int, two: int) -> None:
    """Also when the sizes are of another moment than the counts, or a class is gone since."""
    sizes = {name: size for name, size in (("A", one), ("X", two)) if size}
    assert 0 < by_similarity([common("A", "X", shared)], sizes)[0].score <= 1


def test_fusion_adds_weighted_reciprocal_ranks() -> None:
    """X is 1st and 2nd, Y 2nd and absent, Z absent and 1st; ranks begin at 1."""
    ranking = fused(
        {"collaborative": candidates("X", "Y"), "similarity": candidates("Z", "X")},
        {"collaborative": 0.6, "similarity": 0.4},
    )
    assert {each.kode: each.score for each in ranking} == pytest.approx(
        {
            "X": 0.6 / (RANK_CONSTANT + 1) + 0.4 / (RANK_CONSTANT + 2),
            "Y": 0.6 / (RANK_CONSTANT + 2),
            "Z": 0.4 / (RANK_CONSTANT + 1),
        }
    )
    assert kodes(ranking) == ["X", "Y", "Z"]


@pytest.mark.parametrize("weights", [{"collaborative": 1.0}, {"collaborative": 1.0, "similarity": 0.0}])
def test_a_ranking_without_weight_counts_nothing(weights: dict[str, float]) -> None:
    """Neither its order nor its classes show."""
    rankings = {"collaborative": candidates("B", "A"), "similarity": candidates("C", "A")}
    assert kodes(fused(rankings, weights)) == ["B", "A"]
    assert fused(rankings, {}) == []


@STEADY
@given(
    st.permutations("ABCDEF"),
    st.permutations("ABCDEF"),
    st.floats(0.125, 4),
    st.sampled_from([0.25, 2.0, 16.0]),
)
def test_only_the_proportion_of_the_weights_matters(
    one: list[str], two: list[str], weight: float, factor: float
) -> None:
    """And who leads both rankings leads the fusion."""
    rankings = {"collaborative": candidates(*one), "similarity": candidates(*two)}
    weights = {"collaborative": weight, "similarity": 1.0}
    ranking = kodes(fused(rankings, weights))
    assert ranking == kodes(fused(rankings, {name: value * factor for name, value in weights.items()}))
    if one[0] == two[0]:
        assert ranking[0] == one[0]


def test_the_strongest_classmates_are_the_reasons() -> None:
    """At most three, most shared classes first, then by nim; rank and score stay."""
    ranking = candidates("X", "Y")
    records = [
        {"kode": "X", "nim": nim, "weight": weight}
        for nim, weight in (("5", 1), ("4", 2), ("1", 1), ("3", 2), ("2", 7))
    ]
    explained = with_classmates(ranking, records)
    assert [(each.kode, each.score) for each in explained] == [(each.kode, each.score) for each in ranking]
    assert explained[0].because == (
        {"nim": "2", "weight": 7},
        {"nim": "3", "weight": 2},
        {"nim": "4", "weight": 2},
    )
    assert len(explained[0].because) == REASONS
    assert explained[1].because == ()


def test_a_hybrid_answer_keeps_three_reasons_of_each_kind() -> None:
    """Classes that are alike first, then classmates."""
    alike = by_similarity([common(taken, "X", 1) for taken in "ABCDE"], dict.fromkeys("ABCDEX", 4))
    both = fused(
        {"similarity": alike, "collaborative": candidates("X")}, {"similarity": 1, "collaborative": 1}
    )
    records = [{"kode": "X", "nim": str(number), "weight": 1} for number in range(5)]
    (answer,) = with_classmates(both, records)
    assert [next(iter(reason)) for reason in answer.because] == ["kode"] * REASONS + ["nim"] * REASONS


def test_an_item_has_the_documented_form() -> None:
    """kode, nama, score, because: and nothing else."""
    item = Candidate("X", "Nama X", 1.5, ({"nim": "1", "weight": 2},)).as_json()
    assert item == {
        "kode": "X",
        "nama": "Nama X",
        "score": 1.5,
        "because": [{"nim": "1", "weight": 2}],
    }


def test_best_first_then_by_code() -> None:
    """The order of every answer."""
    found = [Candidate("B", "", 1.0), Candidate("C", "", 2.0), Candidate("A", "", 1.0)]
    assert kodes(ordered(found)) == ["C", "A", "B"]
