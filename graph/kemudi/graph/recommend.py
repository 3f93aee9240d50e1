"""Ranking classes for a student: pure functions over what the queries count, the same on every store.

Collaborative
    score(k) = sum over classmates c who take k of shared(c), the number of classes that c and the student share.
    Neighbourhood-based collaborative filtering with unnormalised overlap as the weight (Herlocker et al., 1999).
Similarity
    score(k) = sum over the student's classes s of J(s, k), where J is the number of students who take both, divided by
    the number who take either (Jaccard, 1912): item-based filtering by co-enrolment (Sarwar et al., 2001).
Hybrid
    score(k) = sum over both rankings of weight / (60 + rank(k)): weighted reciprocal rank fusion (Cormack et al.,
    2009). Ranks begin at 1; a class that a ranking lacks gets nothing from it.

A class that the student takes is never among the candidates. Ties are broken by `kode`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

RANK_CONSTANT: Final = 60
REASONS: Final = 3

Because = tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A class that may be recommended.

    Attributes:
        kode: The class.
        nama: Its name.
        score: Higher is better; comparable within one answer only.
        because: At most three reasons of each kind: `{nim, weight}` a classmate, `{kode, weight}` a class that the
            student takes. A hybrid ranking has both kinds, so at most six.
    """

    kode: str
    nama: str
    score: float
    because: Because = ()

    def as_json(self) -> dict[str, Any]:
        """The pinned form of an item."""
        return {"kode": self.kode, "nama": self.nama, "score": self.score, "because": list(self.because)}


def ordered(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first; ties by `kode`."""
    return sorted(candidates, key=lambda candidate: (-candidate.score, candidate.kode))


def by_similarity(common: Iterable[Mapping[str, Any]], sizes: Mapping[str, int]) -> list[Candidate]:
    """Rank by summed Jaccard similarity.

    Args:
        common: Records `{taken, kode, nama, common}` of the query `co_enrolment`. The student is not counted there, as
            the student does not take `kode`.
        sizes: Students of every class named in `common`. The graph may have moved since; no similarity exceeds one.
    """
    names: dict[str, str] = {}
    parts: dict[str, list[tuple[int, int, str]]] = {}
    for record in common:
        taken, kode, shared = record["taken"], record["kode"], record["common"]
        names[kode] = record["nama"]
        either = sizes.get(taken, 0) + sizes.get(kode, 0) - shared
        parts.setdefault(kode, []).append((shared, max(either, shared), taken))
    return ordered(
        Candidate(
            kode,
            names[kode],
            _summed(found),
            _strongest("kode", ((both / either, taken) for both, either, taken in found)),
        )
        for kode, found in parts.items()
    )


def with_classmates(candidates: Sequence[Candidate], records: Iterable[Mapping[str, Any]]) -> list[Candidate]:
    """The same candidates with the classmates that speak most for each, from `{kode, nim, weight}` records."""
    found: dict[str, list[tuple[float, str]]] = {}
    for record in records:
        found.setdefault(record["kode"], []).append((record["weight"], record["nim"]))
    return [
        Candidate(
            each.kode, each.nama, each.score, each.because + _strongest("nim", found.get(each.kode, ()))
        )
        for each in candidates
    ]


def fused(rankings: Mapping[str, Sequence[Candidate]], weights: Mapping[str, float]) -> list[Candidate]:
    """Weighted reciprocal rank fusion of the named rankings; one without a weight counts nothing."""
    names: dict[str, str] = {}
    scores: dict[str, float] = {}
    reasons: dict[str, Because] = {}
    for name in sorted(rankings):
        weight = weights.get(name, 0.0)
        if weight <= 0:
            continue
        for rank, candidate in enumerate(rankings[name], start=1):
            names[candidate.kode] = candidate.nama
            scores[candidate.kode] = scores.get(candidate.kode, 0.0) + weight / (RANK_CONSTANT + rank)
            reasons[candidate.kode] = reasons.get(candidate.kode, ()) + candidate.because
    return ordered(Candidate(kode, names[kode], score, reasons[kode]) for kode, score in scores.items())


def _summed(fractions: Iterable[tuple[int, int, str]]) -> float:
    """The sum, exact until its last step: equal sums are equal numbers, so that a tie is one, in whatever order."""
    above, below = 0, 1
    for both, either, _ in fractions:
        above, below = above * either + both * below, below * either
    return above / below


def _strongest(name: str, found: Iterable[tuple[float, str]]) -> Because:
    best = sorted(found, key=lambda pair: (-pair[0], pair[1]))[:REASONS]
    return tuple({name: key, "weight": weight} for weight, key in best)
