"""Every query gives the same answers on Ladybug and on Neo4j: those of a slow and simple program."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.errors import (
    FeatureDisabledError,
    GraphRefusedError,
    GraphUnavailableError,
    QueryTimeoutError,
    StudentNotFoundError,
)
from kemudi.graph.queries import query
from kemudi.graph.service import ALGORITHMS
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.schema.secret import Secret

STORES = [
    "ladybug",
    pytest.param("neo4j", marks=pytest.mark.neo4j),
]
FEW = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MANY = 10**6

# Every four students compared: it cannot end within a test.
SLOW = {
    "slow": "MATCH (a:MahasiswaNode), (b:MahasiswaNode), (c:MahasiswaNode), (d:MahasiswaNode) "
    "WHERE a.nama + b.nama < c.nama + d.nama + $never RETURN count(*) AS n",
    "broken": "MATCH (",
}


def texts(name: str) -> str:
    return SLOW.get(name) or query(name)


Pairs = set[tuple[str, str]]


@pytest.fixture(scope="module", params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphStore]:
    store: GraphStore
    if request.param == "ladybug":
        store = LadybugStore(tmp_path_factory.mktemp("ladybug") / "graph.lbdb", texts)
    else:
        server = request.getfixturevalue("neo4j_session")
        server.run("MATCH (n) DETACH DELETE n")
        store = Neo4jStore(server.uri, server.user, Secret(server.password), texts)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def store(opened: GraphStore) -> GraphStore:
    hold(opened, set())
    return opened


def hold(store: GraphStore, pairs: Pairs) -> None:
    """Make the graph hold these pairs and nothing else, by the statements of the sync."""
    there = store.read("edges", {"after": "", "until": "~"})
    merged = sorted(pairs)
    steps: list[Any] = []
    if there:
        steps.append(("delete_pairs", {"pairs": there}))
    steps += [("delete_idle_students", {}), ("delete_idle_classes", {})]
    if merged:
        students, classes = sorted({nim for nim, _ in merged}), sorted({kode for _, kode in merged})
        steps += [
            ("merge_students", {"rows": [{"nim": nim, "nama": name_of(nim)} for nim in students]}),
            ("merge_classes", {"rows": [{"kode": kode, "nama": name_of(kode)} for kode in classes]}),
            ("merge_pairs", {"pairs": [{"nim": nim, "kode": kode} for nim, kode in merged]}),
        ]
    store.write(steps)


def name_of(key: str) -> str:
    return f"Nama {key}"


registries = st.sets(
    st.tuples(
        st.integers(1, 9).map(lambda number: f"2400{number}"),
        st.integers(1, 7).map(lambda number: f"IF{number}"),
    ),
    max_size=40,
)


class Oracle:
    """The answers, from the definitions and nothing else."""

    def __init__(self, pairs: Pairs) -> None:
        self.students = sorted({nim for nim, _ in pairs})
        self.classes = sorted({kode for _, kode in pairs})
        self.takes = {nim: {kode for who, kode in pairs if who == nim} for nim in self.students}
        self.taken_by = {kode: {nim for nim, what in pairs if what == kode} for kode in self.classes}

    def shared(self, nim: str) -> dict[str, int]:
        found = {other: len(self.takes[nim] & self.takes[other]) for other in self.students if other != nim}
        return {other: count for other, count in found.items() if count}

    def classmates(self, nim: str) -> list[dict[str, Any]]:
        best = sorted(self.shared(nim).items(), key=lambda item: (-item[1], item[0]))
        return [{"nim": who, "nama": name_of(who), "shared_classes": count} for who, count in best]

    def friends_of_friends(self, nim: str) -> list[dict[str, Any]]:
        mates = self.shared(nim)
        via = Counter(far for mate in mates for far in self.shared(mate) if far != nim and far not in mates)
        best = sorted(via.items(), key=lambda item: (-item[1], item[0]))
        return [{"nim": who, "nama": name_of(who), "via": count} for who, count in best]

    def open_to(self, nim: str) -> list[str]:
        return [kode for kode in self.classes if kode not in self.takes[nim]]

    def collaborative(self, nim: str) -> dict[str, Fraction]:
        shared = self.shared(nim)
        scores = {
            kode: Fraction(sum(shared.get(who, 0) for who in self.taken_by[kode]))
            for kode in self.open_to(nim)
        }
        return {kode: score for kode, score in scores.items() if score}

    def jaccard(self, one: str, two: str) -> Fraction:
        both, either = self.taken_by[one] & self.taken_by[two], self.taken_by[one] | self.taken_by[two]
        return Fraction(len(both), len(either))

    def similarity(self, nim: str) -> dict[str, Fraction]:
        scores = {
            kode: sum((self.jaccard(mine, kode) for mine in self.takes[nim]), Fraction(0))
            for kode in self.open_to(nim)
        }
        return {kode: score for kode, score in scores.items() if score}

    def hybrid(self, nim: str, weights: dict[str, float]) -> dict[str, Fraction]:
        scores: dict[str, Fraction] = {}
        for name, weight in weights.items():
            for rank, kode in enumerate(ranks(getattr(self, name)(nim)), start=1):
                scores[kode] = scores.get(kode, Fraction(0)) + Fraction(weight) / (60 + rank)
        return {kode: score for kode, score in scores.items() if score}

    def most_taken(self, nim: str) -> dict[str, Fraction]:
        return {kode: Fraction(len(self.taken_by[kode])) for kode in self.open_to(nim)}

    def because(self, nim: str, kode: str, *, mates: bool, classes: bool) -> list[dict[str, Any]]:
        """At most three classes that are alike, then at most three classmates."""
        shared = self.shared(nim)
        alike = sorted((-self.jaccard(mine, kode), mine) for mine in self.takes[nim])[:3] if classes else []
        takers = (
            sorted((-shared[who], who) for who in self.taken_by[kode] if who in shared)[:3] if mates else []
        )
        return [{"kode": mine, "weight": float(-value)} for value, mine in alike if value] + [
            {"nim": who, "weight": -count} for count, who in takers
        ]

    def recommended(self, nim: str, scores: dict[str, Fraction], **reasons: bool) -> list[dict[str, Any]]:
        return [
            {
                "kode": kode,
                "nama": name_of(kode),
                "score": float(scores[kode]),
                "because": self.because(nim, kode, **reasons),
            }
            for kode in ranks(scores)
        ]


def ranks(scores: dict[str, Fraction]) -> list[str]:
    return sorted(scores, key=lambda kode: (-scores[kode], kode))


def client(**values: Any) -> InMemoryClient:
    roomy = {
        "GRAPH_CLASSMATES_LIMIT": MANY,
        "GRAPH_FRIENDS_OF_FRIENDS_LIMIT": MANY,
        "GRAPH_RECOMMENDATIONS_LIMIT": MANY,
    }
    return InMemoryClient(roomy | values, contracts=CONTRACTS)


@FEW
@given(pairs=registries)
def test_classmates_and_friends_of_friends_are_those_of_the_definition(
    store: GraphStore, pairs: Pairs
) -> None:
    """On any registry and for every student, in the documented order."""
    hold(store, pairs)
    oracle, service = Oracle(pairs), GraphService(client(), store)
    for nim in oracle.students:
        assert list(service.classmates(nim)) == oracle.classmates(nim)
        assert list(service.friends_of_friends(nim)) == oracle.friends_of_friends(nim)


@FEW
@given(pairs=registries)
def test_recommendations_are_those_of_the_formulas(store: GraphStore, pairs: Pairs) -> None:
    """Whole answers: every class that the student lacks, score, order with its ties, and the reasons.

    Not one bit of a score may differ: a sum is exact until its last step.
    """
    hold(store, pairs)
    oracle, service = Oracle(pairs), GraphService(client(), store)
    fallback = GraphService(client(GRAPH_RECOMMENDATIONS_ENABLED=False), store)
    for nim in oracle.students:
        assert service.recommendations(nim, algorithm="collaborative") == oracle.recommended(
            nim, oracle.collaborative(nim), mates=True, classes=False
        )
        assert service.recommendations(nim, algorithm="similarity") == oracle.recommended(
            nim, oracle.similarity(nim), mates=False, classes=True
        )
        assert fallback.recommendations(nim) == oracle.recommended(
            nim, oracle.most_taken(nim), mates=False, classes=False
        )


@settings(FEW, max_examples=12)
@given(
    pairs=registries,
    # Sums of two such weights over ranks differ by more than a float's last bit, or not at all.
    weights=st.dictionaries(
        st.sampled_from(["collaborative", "similarity"]), st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1
    ),
)
def test_hybrid_recommendations_are_fused_by_rank(
    store: GraphStore, pairs: Pairs, weights: dict[str, float]
) -> None:
    """With any weights, zero included, which leaves a ranking's classes and its reasons out."""
    hold(store, pairs)
    oracle, service = Oracle(pairs), GraphService(client(GRAPH_HYBRID_WEIGHTS=weights), store)
    for nim in oracle.students:
        found = service.recommendations(nim, algorithm="hybrid")
        wanted = oracle.recommended(
            nim, oracle.hybrid(nim, weights), mates=True, classes=weights.get("similarity", 0) > 0
        )
        scores = [each.pop("score") for each in wanted]
        assert [each.pop("score") for each in found] == pytest.approx(scores)
        assert found == wanted


@settings(FEW, max_examples=8)  # some forty calls each
@given(pairs=registries, nim=st.integers(1, 9).map(lambda number: f"2400{number}"))
def test_a_limit_gives_the_beginning_of_the_whole_answer(store: GraphStore, pairs: Pairs, nim: str) -> None:
    """Every limit from one on, by the setting and by the caller, for every kind of answer."""
    pairs = pairs | {(nim, "IF1"), ("24000", "IF1"), ("24000", "IF0")}
    hold(store, pairs)
    limits = ("GRAPH_CLASSMATES_LIMIT", "GRAPH_FRIENDS_OF_FRIENDS_LIMIT", "GRAPH_RECOMMENDATIONS_LIMIT")

    def answers(service: GraphService, fallback: GraphService, limit: int | None) -> list[list[Any]]:
        return [
            service.classmates(nim, limit),
            service.friends_of_friends(nim, limit),
            *(service.recommendations(nim, limit, each) for each in ALGORITHMS),
            fallback.recommendations(nim, limit),
        ]

    def services(**values: Any) -> tuple[GraphService, GraphService]:
        off = client(**values, GRAPH_RECOMMENDATIONS_ENABLED=False)
        return GraphService(client(**values), store), GraphService(off, store)

    roomy = services()
    whole = answers(*roomy, None)
    assert whole[0]
    assert whole[2]
    for most in range(1, max(map(len, whole)) + 2):
        beginning = [each[:most] for each in whole]
        assert answers(*roomy, most) == beginning
        assert answers(*services(**dict.fromkeys(limits, most)), None) == beginning
    small = services(**dict.fromkeys(limits, 1))
    assert answers(*small, MANY) == [each[:1] for each in whole]


SMALL: Pairs = {
    ("1", "A"),
    ("1", "B"),
    ("2", "A"),
    ("2", "B"),
    ("2", "C"),
    ("3", "B"),
    ("3", "D"),
    ("4", "D"),
}

RAW: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "student": ({"nim": "2"}, [{"nim": "2", "nama": "Nama 2"}]),
    "students": (
        {"after": "1", "limit": 2},
        [{"nim": "2", "nama": "Nama 2"}, {"nim": "3", "nama": "Nama 3"}],
    ),
    "classes": ({"after": "B", "limit": 1}, [{"kode": "C", "nama": "Nama C"}]),
    "classes_of_student": (
        {"nim": "3"},
        [{"kode": "B", "nama": "Nama B"}, {"kode": "D", "nama": "Nama D"}],
    ),
    "classmates": ({"nim": "1", "limit": 1}, [{"nim": "2", "nama": "Nama 2", "shared_classes": 2}]),
    "circle": (
        {"nim": "4"},
        [{"kode": "B", "takers": ["1", "2", "3"]}, {"kode": "D", "takers": ["3", "4"]}],
    ),
    "names": (
        {"nims": ["3", "1", "nobody"]},
        [{"nim": "1", "nama": "Nama 1"}, {"nim": "3", "nama": "Nama 3"}],
    ),
    "collaborative": (
        {"nim": "1", "limit": 5},
        [{"kode": "C", "nama": "Nama C", "score": 2}, {"kode": "D", "nama": "Nama D", "score": 1}],
    ),
    "collaborative_because": (
        {"nim": "1", "kodes": ["C", "D"]},
        [{"kode": "C", "nim": "2", "weight": 2}, {"kode": "D", "nim": "3", "weight": 1}],
    ),
    "co_enrolment": (
        {"nim": "1"},
        [
            {"taken": "A", "kode": "C", "nama": "Nama C", "common": 1},
            {"taken": "B", "kode": "C", "nama": "Nama C", "common": 1},
            {"taken": "B", "kode": "D", "nama": "Nama D", "common": 1},
        ],
    ),
    "class_sizes": ({"kodes": ["B"]}, [{"kode": "B", "size": 3}]),
    "most_taken": ({"nim": "4", "limit": 1}, [{"kode": "B", "nama": "Nama B", "score": 3}]),
    "edges": (
        {"after": "1", "until": "3"},
        [
            {"nim": "2", "kode": "A"},
            {"nim": "2", "kode": "B"},
            {"nim": "2", "kode": "C"},
            {"nim": "3", "kode": "B"},
            {"nim": "3", "kode": "D"},
        ],
    ),
    "classes_by_student": (
        {"after": "1", "until": "9", "limit": 2},
        [{"nim": "2", "kodes": ["A", "B", "C"]}, {"nim": "3", "kodes": ["B", "D"]}],
    ),
    "counts": ({}, [{"edges": 8}]),
    "checkpoint": ({"name": "never written"}, []),
}
WRITTEN = {
    "merge_students",
    "merge_classes",
    "merge_pairs",
    "delete_pairs",
    "delete_idle_students",
    "delete_idle_classes",
    "delete_idle_students_among",
    "delete_idle_classes_among",
    "set_checkpoint",
    "bump_version",
}
OF_THE_LEASE = {"lease", "make_lease", "take_lease", "pass_lease", "hold_lease", "move_range"}
"""Compared where the lease is."""

OF_NEO4J = {"end_writes"}
"""The other store has no use for it."""


IN_NO_ORDER = {"circle", "classes_by_student", "names"}


def _lists_sorted(record: dict[str, Any]) -> dict[str, Any]:
    return {key: sorted(value) for key, value in record.items() if isinstance(value, list)}


@pytest.mark.parametrize("name", sorted(RAW))
def test_a_query_by_itself(store: GraphStore, name: str) -> None:
    """Each file gives the same records under the same names, on a graph small enough to see it."""
    hold(store, SMALL)
    parameters, wanted = RAW[name]
    found = store.read(name, parameters)
    if name in IN_NO_ORDER:
        found = sorted(({**each, **_lists_sorted(each)} for each in found), key=repr)
    assert found == wanted


def test_every_query_file_is_compared() -> None:
    """A new query cannot be forgotten here."""
    there = {path.name.removesuffix(".cypher") for path in files("kemudi.graph.queries").iterdir()}
    assert {name for name in there if not name.startswith(("ddl_", "__"))} == (
        {*RAW, *WRITTEN, *OF_THE_LEASE, *OF_NEO4J}
    )


def test_a_checkpoint_moves_with_its_data(store: GraphStore) -> None:
    """Written again it has the new values; the data version rises by one each time."""

    def version() -> int:
        found = store.read("checkpoint", {"name": "data"})
        return int(found[0]["version"] or 0) if found else 0

    before = version()
    for reached in (10, 20):
        values = {"name": "a range", "after_id": reached, "until_id": 99, "finished_at": "", "watermark": "w"}
        store.write([("set_checkpoint", values), ("bump_version", {})])
    found = store.read("checkpoint", {"name": "a range"})
    assert (found[0]["after_id"], found[0]["until_id"], found[0]["watermark"]) == (20, 99, "w")
    assert version() == before + 2


def test_a_batch_is_all_or_nothing(store: GraphStore) -> None:
    """A step that fails takes the steps before it along, and the store goes on."""
    hold(store, SMALL)
    with pytest.raises(GraphRefusedError):
        store.write([("merge_students", {"rows": [{"nim": "9", "nama": "Nine"}]}), ("broken", {})])
    assert store.read("student", {"nim": "9"}) == []
    hold(store, {("9", "A")})
    assert store.read("counts", {}) == [{"edges": 1}]


def test_a_removed_pair_takes_along_the_nodes_that_it_left_alone(store: GraphStore) -> None:
    """And no others: neither those that still have a relationship, nor idle ones that were not named."""
    hold(store, SMALL)
    store.write(
        [
            ("merge_students", {"rows": [{"nim": "8", "nama": "idle, and not named"}]}),
            ("delete_pairs", {"pairs": [{"nim": "4", "kode": "D"}, {"nim": "2", "kode": "C"}]}),
            ("delete_idle_students_among", {"nims": ["2", "4"]}),
            ("delete_idle_classes_among", {"kodes": ["C", "D"]}),
        ]
    )
    students = store.read("students", {"after": "", "limit": 9})
    assert [each["nim"] for each in students] == ["1", "2", "3", "8"]
    assert [each["kode"] for each in store.read("classes_of_student", {"nim": "3"})] == ["B", "D"]
    assert store.read("class_sizes", {"kodes": ["C"]}) == []
    hold(store, SMALL)
    assert [each["nim"] for each in store.read("students", {"after": "", "limit": 9})] == ["1", "2", "3", "4"]


def test_merging_twice_changes_nothing(store: GraphStore) -> None:
    """The same batch again, as after a crash: no second node, no second relationship."""
    hold(store, SMALL)
    hold(store, SMALL)
    pairs = [{"nim": nim, "kode": kode} for nim, kode in sorted(SMALL)]
    store.write([("merge_pairs", {"pairs": pairs}), ("merge_pairs", {"pairs": pairs})])
    assert store.read("counts", {}) == [{"edges": len(SMALL)}]


def test_a_large_batch_keeps_every_relationship(store: GraphStore) -> None:
    """Thousands of new students and classes in one transaction, each pair once."""
    pairs = {(f"{number // 8:06}", f"K{(number * 7919) % 400}") for number in range(8_000)}
    hold(store, pairs)
    assert store.read("counts", {}) == [{"edges": len(pairs)}]
    assert {(each["nim"], each["kode"]) for each in store.read("edges", {"after": "", "until": "~"})} == pairs


def test_a_query_ends_at_its_time_limit(store: GraphStore) -> None:
    """The store ends it, not the caller's patience; the next query is answered."""
    hold(store, {(f"{number:04}", f"K{number % 3}") for number in range(400)})
    with pytest.raises(QueryTimeoutError, match="1 s"):
        store.read("slow", {"never": "?"}, timeout=1)
    assert store.read("counts", {}, timeout=5) == [{"edges": 400}]


@pytest.mark.neo4j
def test_neo4j_runs_nothing_after_a_time_limit(neo4j_session: Any) -> None:
    """The server's list of transactions is empty but for the one that asks."""
    store = Neo4jStore(neo4j_session.uri, neo4j_session.user, Secret(neo4j_session.password), texts)
    try:
        hold(store, {(f"{number:04}", f"K{number % 3}") for number in range(400)})
        with pytest.raises(QueryTimeoutError):
            store.read("slow", {"never": "?"}, timeout=1)
        running = neo4j_session.run("SHOW TRANSACTIONS YIELD currentQuery")
        assert [each for each in running if "MahasiswaNode" in each["currentQuery"]] == []
    finally:
        store.close()


@pytest.mark.neo4j
def test_the_routing_scheme_answers_alike(neo4j_session: Any) -> None:
    """`neo4j://` asks the server for its members first; with one it reads, writes and ends queries as bolt does."""
    uri = neo4j_session.uri.replace("bolt://", "neo4j://")
    store = Neo4jStore(uri, neo4j_session.user, Secret(neo4j_session.password), texts)
    try:
        store.prepare()
        store.ping()
        hold(store, SMALL | {(f"{number:04}", f"K{number % 3}") for number in range(400)})
        with pytest.raises(QueryTimeoutError, match="1 s"):
            store.read("slow", {"never": "?"}, timeout=1)
        hold(store, SMALL)
        for name in ("classmates", "collaborative", "co_enrolment", "edges"):
            assert store.read(name, RAW[name][0]) == RAW[name][1]
    finally:
        store.close()


@pytest.mark.neo4j
def test_a_wrong_password_is_refused_and_an_empty_port_is_unavailable(neo4j_session: Any) -> None:
    """The first is for a person, the second for later."""
    for uri, error in (
        (neo4j_session.uri, GraphRefusedError),
        ("bolt://127.0.0.1:1", GraphUnavailableError),
        ("neo4j://127.0.0.1:1", GraphUnavailableError),
    ):
        store = Neo4jStore(uri, neo4j_session.user, Secret("not the password"))
        try:
            with pytest.raises(error) as caught:
                store.ping()
            assert "not the password" not in str(caught.value)
        finally:
            store.close()


def test_the_service_on_both_stores_refuses_alike(store: GraphStore) -> None:
    """Unknown students, students without a class, unknown algorithms, limits below one and the kill switch."""
    hold(store, SMALL)
    config = client()
    service = GraphService(config, store)
    for ask in (service.classmates, service.friends_of_friends, service.recommendations, service.student):
        with pytest.raises(StudentNotFoundError):
            ask("nobody")
    with pytest.raises(ValueError, match="unknown recommendation algorithm"):
        service.recommendations("1", algorithm="random")
    with pytest.raises(ValueError, match="at least 1"):
        service.classmates("1", limit=0)
    store.write([("merge_students", {"rows": [{"nim": "9", "nama": "Nine"}]})])
    for algorithm in ALGORITHMS:
        assert service.recommendations("9", algorithm=algorithm).reason == "no-classes"
    assert service.classmates("9").reason == service.friends_of_friends("9").reason == "no-classes"
    config.publish(GRAPH_FEATURE_ENABLED=False)
    with pytest.raises(FeatureDisabledError, match="Graph features are currently disabled"):
        service.classmates("1")
    config.publish(GRAPH_FEATURE_ENABLED=True)
    assert len(service.classmates("1")) == 2
