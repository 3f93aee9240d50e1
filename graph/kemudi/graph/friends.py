"""Friends of friends: a pure function over who takes which class, the same on every store.

A student's classmates share a class with the student. A friend of friends shares none, but shares one with some of the
classmates; `via` is their number. Counting it means looking at each pair of a classmate and somebody of the
classmate's classes, a million of them at a university of 25,000 students. A store does that row by row; here one
integer per student holds a bit per classmate, and a class adds its classmates by a single `or`.
"""

import heapq
from collections.abc import Iterable, Sequence

Far = tuple[str, int]
"""A student and the number of classmates between."""


def friends_of_friends(nim: str, classes: Iterable[Sequence[str]], most: int) -> list[Far]:
    """At most `most` friends of friends of a student, most classmates between first, then by nim.

    Args:
        nim: The student.
        classes: Who takes what, for every class that the student or a classmate takes.
        most: At least 1.
    """
    own: list[Sequence[str]] = []
    others: list[Sequence[str]] = []
    for takers in classes:
        (own if nim in takers else others).append(takers)
    bits = {
        mate: 1 << place for place, mate in enumerate({each for takers in own for each in takers} - {nim})
    }
    between: dict[str, int] = {}
    for takers in others:
        mates, far = 0, []
        for each in takers:
            if each in bits:
                mates |= bits[each]
            else:
                far.append(each)
        for each in far:
            between[each] = between.get(each, 0) | mates
    found = ((each, mates.bit_count()) for each, mates in between.items() if mates)
    return heapq.nsmallest(most, found, key=lambda pair: (-pair[1], pair[0]))
