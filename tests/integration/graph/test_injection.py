"""Cypher in every input is text and nothing else: it finds what it names, is copied as it is, and changes nothing."""

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion, MemoryCache
from kemudi.graph.http import Parts, build_app
from kemudi.graph.service import ALGORITHMS
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.web.server import HttpServer, listen

CORPUS = (
    "' OR 1=1 //",
    "1'}) DETACH DELETE m //",
    "1'}) WITH m MATCH (n) DETACH DELETE n RETURN '",
    '1"}) MATCH (n) SET n.nama = "owned" RETURN n //',
    "\\u0027}) MATCH (n) DETACH DELETE n //",
    "\\'}) MATCH (n) DELETE n //",
    "1; MATCH (n) DETACH DELETE n;",
    "1 UNION MATCH (n) RETURN n.nim AS nim, n.nama AS nama",
    "`; DROP TABLE MahasiswaNode; //",
    "}) CALL db.labels() YIELD label RETURN label //",
    "' LOAD CSV FROM 'http://127.0.0.1:1/' AS line CREATE (x) //",
    "' CALL apoc.load.json('http://127.0.0.1:1/') YIELD value RETURN value //",
    "$nim",
    "{nim}",
    "${nim}",
    "%27%7D) DETACH DELETE m",
    "/* */ 1 /* */",
    "1\n MATCH (n) DETACH DELETE n",
    "../../classes",
    "1\r\nX-Injected: 1",
    "\u2019}) DELETE m",
    "null",
    "[1]",
    '{"nim": "1"}',
)
TAKES = {"1": "AB", "2": "ABC", "3": "BD"}
ASKED = ("", "/classmates", "/friends-of-friends", "/recommendations")
Graph = list[list[dict[str, Any]]]


def graph(store: GraphStore) -> Graph:
    """All that there is."""
    return [
        store.read("students", {"after": "", "limit": 1000}),
        store.read("classes", {"after": "", "limit": 1000}),
        store.read("edges", {"after": "", "until": "\U0010ffff"}),
        store.read("checkpoint", {"name": "data"}),
    ]


@pytest.fixture
def filled(store: GraphStore) -> GraphStore:
    """Three plain students, and one for each text of the corpus, who takes class A and a class of that name."""
    pairs = [{"nim": nim, "kode": kode} for nim, kodes in TAKES.items() for kode in kodes]
    pairs += [{"nim": text, "kode": kode} for text in CORPUS for kode in ("A", text)]
    kodes = sorted({each["kode"] for each in pairs})
    store.write(
        [
            ("merge_students", {"rows": [{"nim": nim, "nama": nim} for nim in (*TAKES, *CORPUS)]}),
            ("merge_classes", {"rows": [{"kode": kode, "nama": kode} for kode in kodes]}),
            ("merge_pairs", {"pairs": pairs}),
            ("bump_version", {}),
        ]
    )
    return store


@pytest.fixture
def before(filled: GraphStore) -> Graph:
    return graph(filled)


@pytest.fixture
def http(filled: GraphStore) -> Iterator[httpx.Client]:
    config = InMemoryClient({"API_RATE_LIMIT": 10**6}, contracts=CONTRACTS)
    version = DataVersion(Checkpoints(filled).data_version, 0)
    service = GraphService(config, filled, MemoryCache(version))
    parts = Parts(config, service, filled, version=version)
    server = HttpServer(build_app(parts), listen("127.0.0.1", 0, who="the test"), name="graph-http")
    server.start()
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
    server.close()


def test_a_student_whose_nim_is_cypher_is_a_student_like_any_other(filled: GraphStore) -> None:
    """Asked for by that nim, the answers are about this student; names and codes come back as they are."""
    before = graph(filled)
    everybody = InMemoryClient(
        {"GRAPH_CLASSMATES_LIMIT": 1000, "GRAPH_RECOMMENDATIONS_LIMIT": 1000}, contracts=CONTRACTS
    )
    service = GraphService(everybody, filled)
    for text in CORPUS:
        assert service.student(text) == {
            "nim": text,
            "nama": text,
            "classes": [{"kode": kode, "nama": "A" if kode == "A" else text} for kode in sorted(("A", text))],
        }
        mates = {each["nim"] for each in service.classmates(text)}
        assert mates == {"1", "2", *CORPUS} - {text}
        assert [each["nim"] for each in service.friends_of_friends(text)] == ["3"]
        for algorithm in ALGORITHMS:
            open_to = {each["kode"] for each in service.recommendations(text, algorithm=algorithm)}
            assert open_to == {"B", "C", *CORPUS} - {text}
    assert graph(filled) == before


def test_cypher_in_every_part_of_a_request_changes_nothing(http: httpx.Client, filled: GraphStore) -> None:
    """Path, parameters, headers: an answer, a 404 or a 422, and the graph as it was."""
    before = graph(filled)
    for text in CORPUS:
        nim = quote(text, safe="")
        answers = [http.get(f"/students/{nim}{what}") for what in ASKED]
        for what in ASKED[1:]:
            names = ("limit", "cursor", "algorithm")
            answers += [http.get(f"/students/1{what}", params={name: text}) for name in names]
        answers.append(http.get("/students", params={"cursor": text, "limit": text}))
        tag = text.encode("ascii", "ignore").decode().replace("\r", "").replace("\n", "")
        answers.append(http.get("/students/1/classmates", headers={"If-None-Match": tag, "traceparent": tag}))
        for answer in answers:
            assert answer.status_code in {200, 404, 422}, (text, answer.url, answer.text)
            assert "x-injected" not in answer.headers
    assert graph(filled) == before


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    text=st.one_of(
        st.text(min_size=1, max_size=40),
        st.lists(st.sampled_from(["'", '"', "`", "\\", "}", ")", "//", " DELETE n", "$nim", "\n", "1"])).map(
            "".join
        ),
    )
)
def test_any_text_finds_nobody_and_changes_nothing(filled: GraphStore, before: Graph, text: str) -> None:
    """Through every query that is read with, unless it happens to be somebody's nim."""
    service = GraphService(InMemoryClient(contracts=CONTRACTS), filled)
    everybody = {*TAKES, *CORPUS}
    assert filled.read("student", {"nim": text}) == (
        [{"nim": text, "nama": text}] if text in everybody else []
    )
    for name in ("classmates", "collaborative", "most_taken"):
        filled.read(name, {"nim": text, "limit": 3})
    for name in ("circle", "co_enrolment", "classes_of_student"):
        filled.read(name, {"nim": text})
    filled.read("names", {"nims": [text]})
    filled.read("class_sizes", {"kodes": [text]})
    filled.read("collaborative_because", {"nim": text, "kodes": [text]})
    found = [each["nim"] for each in service.students(after=text, limit=1000)]
    assert {*found} <= everybody
    assert graph(filled) == before


def test_rows_made_of_cypher_are_copied_as_they_are(store: GraphStore, source: Any) -> None:
    """Keys and names of the registry, in full runs, in runs over changes and in what is taken away again."""
    rows = source(60)
    plain = {*rows.registry.edges()}
    texts = (*CORPUS, "a\x00b", "x" * 5_000)
    hostile = {(nim, kode) for text in texts for nim, kode in ((text, "PLAIN"), (f"9{text}", text))}
    keys = {pair: rows.enrol(*pair) for pair in sorted(hostile)}
    runner = SyncRunner(
        InMemoryClient({"SYNC_BATCH_SIZE": 7}, contracts=CONTRACTS), store, rows.registry, threading.Event()
    )

    def pairs() -> set[tuple[str, str]]:
        return {
            (each["nim"], each["kode"]) for each in store.read("edges", {"after": "", "until": "\U0010ffff"})
        }

    assert runner.run().state == "done"
    assert pairs() == plain | hostile
    names = {each["nim"]: each["nama"] for each in store.read("students", {"after": "", "limit": 1_000})}
    assert {nim: names[nim] for nim, _ in hostile} == {nim: f"Nama {nim}" for nim, _ in hostile}
    assert verify(rows.registry, store)["equal"]
    gone = sorted(hostile)[::3]
    for pair in gone:
        rows.flag(keys[pair])
    assert runner.run(full=False).state == "done"
    assert pairs() == (plain | hostile) - {*gone}
    for pair in sorted(hostile):
        rows.remove(keys[pair])
    assert runner.run().state == "done"
    assert pairs() == plain
    assert verify(rows.registry, store)["equal"]
