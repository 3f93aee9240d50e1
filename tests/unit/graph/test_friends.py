"""Friends of friends are those of the definition."""

from hypothesis import given
from hypothesis import strategies as st

from kemudi.graph.friends import friends_of_friends

EVERY = 10**6

enrolments = st.dictionaries(
    st.sampled_from("ABCDEFGH"), st.frozensets(st.sampled_from("123456789"), min_size=1), max_size=8
)


def circle(nim: str, classes: dict[str, frozenset[str]]) -> list[list[str]]:
    """What the query of that name gives."""
    mates = {each for takers in classes.values() if nim in takers for each in takers}
    return [sorted(takers) for takers in classes.values() if mates & takers]


def by_definition(nim: str, classes: dict[str, frozenset[str]]) -> list[tuple[str, int]]:
    def mates_of(student: str) -> set[str]:
        return {each for takers in classes.values() if student in takers for each in takers} - {student}

    near = mates_of(nim)
    everybody = {each for takers in classes.values() for each in takers}
    found = {far: len(mates_of(far) & near) for far in everybody - near - {nim}}
    return sorted(((far, via) for far, via in found.items() if via), key=lambda pair: (-pair[1], pair[0]))


@given(classes=enrolments, nim=st.sampled_from("123456789"))
def test_any_registry_gives_what_the_definition_gives(classes: dict[str, frozenset[str]], nim: str) -> None:
    """All of them, with the number of classmates between, in the documented order."""
    assert friends_of_friends(nim, circle(nim, classes), EVERY) == by_definition(nim, classes)


@given(classes=enrolments, most=st.integers(1, 5))
def test_a_limit_keeps_the_first(classes: dict[str, frozenset[str]], most: int) -> None:
    """The same list, cut."""
    assert friends_of_friends("1", circle("1", classes), most) == by_definition("1", classes)[:most]


def test_a_student_alone_has_none() -> None:
    """Neither without classes, nor with classes of one's own."""
    assert friends_of_friends("1", [], EVERY) == []
    assert friends_of_friends("1", [["1"]], EVERY) == []
