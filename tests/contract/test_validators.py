"""The fast validator and the reference agree on what is valid, fetch nothing, and are never kept busy by a pattern."""

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kemudi.schema.contract_reader import read_contract
from kemudi.schema.documents import read_document
from kemudi.schema.patterns import PatternRefusedError, compile_pattern
from kemudi.schema.validator import SchemaRefusedError, compile_schema

ENGINES = ("fast", "reference")
NAMES = ("a", "b", "ab", "zz", "é")
PATTERNS = (
    "^a",
    "b$",
    "^a*$",
    "[0-9]{2,3}",
    "^(a|b)+$",
    "^[^a]*$",
    r"^\d+$",
    r"\s",
    r"^\w+$",
    "é",
    ".",
    "^$",
)

numbers = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([0.5, 1.0, -0.0, 2.5, 0.1, 0.3, 1e300, 2**53, 2**53 + 1, -(2**53), 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.one_of(
    st.sampled_from(
        ["", "a", "ab", "aab\n", "12", "1\n", "é", "e\u0301", "👩‍🚀", "\u0661", "\u00a0", "\u0085"]
    ),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
instances = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)
limits = st.one_of(
    st.integers(-5, 10), st.sampled_from([0.5, 1.5, -2.5, 1e10, 2**53 + 1, 2**63 - 1, 9.3e18, -1e300])
)
steps = st.sampled_from([1, 2, 3, 7, 0.5, 0.1, 0.01, 2.5, 1e-8, 1e6, 123456789])
sizes = st.integers(0, 4)
names = st.lists(st.sampled_from(NAMES), unique=True, max_size=3)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
leaf_keywords: dict[str, st.SearchStrategy[Any]] = {
    "type": st.one_of(types, st.lists(types, min_size=1, max_size=3, unique=True)),
    "enum": st.lists(
        instances, min_size=1, max_size=4, unique_by=lambda each: json.dumps(each, sort_keys=True)
    ),
    "const": instances,
    "minimum": limits,
    "maximum": limits,
    "exclusiveMinimum": limits,
    "exclusiveMaximum": limits,
    "multipleOf": steps,
    "minLength": sizes,
    "maxLength": sizes,
    "pattern": st.sampled_from(PATTERNS),
    "minItems": sizes,
    "maxItems": sizes,
    "uniqueItems": st.booleans(),
    "minProperties": sizes,
    "maxProperties": sizes,
    "required": names,
    "dependentRequired": st.dictionaries(st.sampled_from(NAMES), names, max_size=2),
    "format": st.sampled_from(["uri", "date", "email"]),
}


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    branches = st.lists(inner, min_size=1, max_size=3)
    by_name = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "properties": by_name,
            "patternProperties": st.dictionaries(st.sampled_from(PATTERNS), inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": inner,
            "items": inner,
            "prefixItems": branches,
            "contains": inner,
            "minContains": sizes,
            "maxContains": sizes,
            "allOf": branches,
            "anyOf": branches,
            "oneOf": branches,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": by_name,
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
        },
    )


schemas = st.recursive(
    st.one_of(st.booleans(), st.fixed_dictionaries({}, optional=leaf_keywords)),
    lambda inner: st.one_of(
        _nested(inner),
        st.tuples(_nested(inner), st.fixed_dictionaries({}, optional=leaf_keywords)).map(
            lambda both: {**both[1], **both[0]}
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schemas, instances)
@example({"uniqueItems": True}, [1, True])
@example({"uniqueItems": True}, [1, 1.0])
@example({"uniqueItems": True}, [{"a": 1, "b": [0]}, {"b": [False], "a": 1}])
@example({"const": 1}, True)
@example({"enum": [0]}, False)
@example({"const": 1}, 1.0)
@example({"type": "integer"}, 1e300)
@example({"multipleOf": 0.01}, 0.07)
@example({"multipleOf": 0.1}, 0.30000000000000004)
@example({"multipleOf": 3}, 2**63 - 1)
@example({"maximum": 2**53}, 2**53 + 1)
@example({"pattern": "b$"}, "b\n")
@example({"pattern": r"^\d$"}, "\u0661")
@example({"maxLength": 1}, "e\u0301")
def test_both_engines_call_the_same_values_valid(schema: Any, instance: Any) -> None:
    """Whatever a contract may say and a values file may hold, both engines give the same verdict."""
    wrapped = {"properties": {"KEY": schema}}
    verdicts = {engine: compile_schema(wrapped, engine).is_valid({"KEY": instance}) for engine in ENGINES}
    assert verdicts["fast"] == verdicts["reference"], verdicts


PIECES = (
    r"a b é 1 _ - . ^ $ | ( (?: ) [ [^ ] * + ? {2} {1,} {0,2} { } "
    r"\d \D \w \W \s \S \. \- \n \x61 \u00e9 && \ (?= \b \1"
)
pieces = st.sampled_from([*PIECES.split(), " ", "\n", "/", "a-b"])
matched = st.text(
    st.sampled_from(["a", "b", "é", "1", "_", " ", "\n", "-", ".", "&", "\u0661", "\u00a0", "\x85", "👩"]),
    max_size=6,
)


@settings(max_examples=600, deadline=None)
@given(st.lists(pieces, max_size=7).map("".join), st.lists(matched, min_size=1, max_size=4))
@example(r"^\s$", ["\u00a0", "\x85", "\ufeff", "\u180e", "\u2028"])
@example("^.$", ["\n", "\r", "\u2028", "👩"])
@example(r"^[^\d]$", ["\u0661", "1"])
@example(r"^\W$", ["é", "_"])
def test_a_pattern_that_is_accepted_means_the_same_to_both_engines(pattern: str, found: list[str]) -> None:
    """Every pattern that the meta-schema lets through compiles in both engines and finds the same texts."""
    try:
        compile_pattern(pattern)
    except PatternRefusedError:
        return
    by_engine = [compile_schema({"properties": {"KEY": {"pattern": pattern}}}, engine) for engine in ENGINES]
    for text in found:
        fast, reference = (each.is_valid({"KEY": text}) for each in by_engine)
        assert fast == reference, (pattern, text)


class _Listener(http.server.BaseHTTPRequestHandler):
    hits: list[str]

    def do_GET(self) -> None:
        self.hits.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A web server on loopback and the paths that were asked of it."""
    hits: list[str] = []
    handler = type("Handler", (_Listener,), {"hits": hits})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", hits
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("engine", ENGINES)
def test_no_engine_fetches_a_reference(engine: Any, listener: tuple[str, list[str]], tmp_path: Path) -> None:
    """A $ref to a web server or a file reaches neither, whether it is met while compiling or validating."""
    url, hits = listener
    readable = tmp_path / "other.json"
    readable.write_text('{"type": "integer"}')
    for target in (f"{url}/schema", readable.as_uri(), f"{url}/schema#/$defs/x"):
        for schema in ({"$ref": target}, {"$id": f"{url}/root", "$ref": "other"}, {"$dynamicRef": target}):
            with pytest.raises(SchemaRefusedError):
                compile_schema({"properties": {"KEY": schema}}, engine).is_valid({"KEY": "text"})
    assert hits == []


@pytest.mark.parametrize(
    "target", ["{url}/x", "file:///etc/hostname", "#/properties/OTHER", "other.json", "#a", "#"]
)
def test_a_contract_with_a_reference_out_of_itself_is_refused(
    target: str, listener: tuple[str, list[str]]
) -> None:
    """A contract may refer to its own $defs and to nothing else; the place of the $ref is named."""
    url, hits = listener
    subschema = {"description": "A.", "default": 1, "$ref": target.format(url=url)}
    text = json.dumps({"properties": {"KEY": subschema}}, indent=1)
    contract, findings = read_contract(text.encode(), "contracts/c.schema.json", "c")
    assert contract is None
    assert [(each.rule, each.pointer, each.line) for each in findings] == [
        ("KEM049", "/properties/KEY/$ref", 6)
    ]
    assert hits == []


EVIL = (
    ("^(a+)+$", "a" * 50_000 + "!"),
    ("(a|a)*b", "a" * 50_000),
    ("^(a|aa)+$", "a" * 50_000 + "!"),
    ("(.*)*x", "y" * 50_000),
    ("a*a*a*a*a*b", "a" * 50_000),
    ("^([a-z]+)*[0-9]$", "abc" * 17_000),
    ("(x+x+)+y", "x" * 50_000),
    ("(a?){50}a{50}b", "a" * 50_000),
    ("^(.|\\n){0,500}$", "a" * 50_000),
    ("(a|b)*a(a|b){12}c", "abba" * 12_500),
)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("pattern", "text"), EVIL)
def test_an_evil_pattern_cannot_keep_an_engine_busy(engine: Any, pattern: str, text: str) -> None:
    """50 KB against patterns that take backtracking engines hours are decided in under 50 ms of CPU."""
    compiled = compile_schema({"properties": {"KEY": {"pattern": pattern}}}, engine)
    started = time.thread_time()
    valid = compiled.is_valid({"KEY": text})
    taken = time.thread_time() - started
    assert not valid
    assert taken < 0.05


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_schema_is_refused_with_the_path_of_the_keyword(engine: Any) -> None:
    """A keyword of the wrong type is found while compiling, not while validating."""
    with pytest.raises(SchemaRefusedError) as caught:
        compile_schema({"properties": {"KEY": {"minimum": "one"}}}, engine)
    assert caught.value.path == ("properties", "KEY", "minimum")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("schema", "instance", "keyword", "path"),
    [
        ({"properties": {"KEY": {"minimum": 1}}}, {"KEY": 0}, "minimum", ("KEY",)),
        ({"properties": {"KEY": {"items": {"type": "integer"}}}}, {"KEY": [1, "x"]}, "type", ("KEY", 1)),
        ({"additionalProperties": False}, {"KEY": 0}, "additionalProperties", ()),
        ({"required": ["KEY"]}, {}, "required", ()),
        ({"propertyNames": {"enum": ["A"]}}, {"B": 1}, "propertyNames", ()),
        ({"dependentRequired": {"A": ["B"]}}, {"A": 1}, "dependentRequired", ()),
        ({"if": {"required": ["A"]}, "then": {"required": ["B"]}}, {"A": 1}, "required", ()),
    ],
)
def test_both_engines_name_the_same_keyword_at_the_same_place(
    engine: Any, schema: Any, instance: Any, keyword: str, path: tuple[Any, ...]
) -> None:
    """Messages are made from keyword and path, so the fallback tells an author the same as the fast engine."""
    (violation,) = compile_schema(schema, engine).violations(instance)
    assert (violation.keyword, violation.path) == (keyword, path)


def test_numbers_that_the_engines_would_judge_differently_cannot_reach_them() -> None:
    """NaN passes `minimum` in one engine and fails in the other; no document holds one."""
    for text in (".nan", ".inf", "-.INF", "1e999", "9" * 5_000):
        document, findings = read_document(f"KEY: {text}".encode(), "base/c.yaml")
        assert document is not None
        assert document.values == {"KEY": None}
        assert [each.rule for each in findings] == ["KEM009"]


WITHOUT_THE_FAST_ENGINE = """
import sys
if sys.argv[1] == "reference":
    sys.modules["jsonschema_rs"] = None
from pathlib import Path
from kemudi.schema import validator
from kemudi.schema.state import ConfigState, File
root = Path(sys.argv[2])
files = {
    path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
}
files["dev/sync.yaml"] = b"SYNC_BATCH_SIZE: 0\\nSYNC_TIMEOUT: 12:30\\nSYNC_SIZE: 1\\n"
files["dev/graph_query.yaml"] = b"GRAPH_HYBRID_WEIGHTS: {other: 1, similarity: -1}\\nGRAPH_CLASSMATES_LIMIT: 2.5\\n"
files["prod/neo4j.yaml"] = b"NEO4J_PASSWORD: canary\\nNEO4J_URI: nonsense\\nNEO4J_ENABLE_SYNC: no\\n"
state = ConfigState.load(File(path, data) for path, data in files.items())
assert validator.FAST_AVAILABLE is (sys.argv[1] == "fast")
for finding in state.findings:
    print(finding.as_json())
"""


def test_without_the_fast_engine_an_author_is_told_the_same() -> None:
    """Where no wheel of jsonschema-rs exists, the whole report is the same, word by word."""
    example = Path(__file__).parents[2] / "config-repo"
    said = [
        subprocess.run(
            [sys.executable, "-c", WITHOUT_THE_FAST_ENGINE, engine, str(example)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for engine in ENGINES
    ]
    assert said[0] == said[1]
    assert said[0].count("\n") == 9
    assert "canary" not in said[0]
