"""YAML files: what is read, where it stands, and what is refused at which place."""

import json
import math
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kemudi.schema.documents import read_document, read_list
from kemudi.schema.refusals import LIMIT_BYTES, LIMIT_DEPTH, LIMIT_NODES

FILE = "base/sync.yaml"

GOLDEN: dict[str, Any] = {
    "no": "no",
    "yes": "yes",
    "on": "on",
    "Off": "Off",
    "y": "y",
    "true": True,
    "True": True,
    "TRUE": True,
    "tRUE": "tRUE",
    "false": False,
    "null": None,
    "Null": None,
    "NULL": None,
    "~": None,
    "": None,
    "nil": "nil",
    "0": 0,
    "-0": 0,
    "+12": 12,
    "017": 17,
    "0o17": 15,
    "-0o17": "-0o17",
    "0x1F": 31,
    "0X1F": "0X1F",
    "0b11": "0b11",
    "1_000": "1_000",
    "1,000": "1,000",
    "12:30": "12:30",
    "12:30:45": "12:30:45",
    "2020-01-01": "2020-01-01",
    "2020-01-01T00:00:00Z": "2020-01-01T00:00:00Z",
    "1e3": 1000.0,
    "1E-2": 0.01,
    "1.": 1.0,
    ".5": 0.5,
    "-.5": -0.5,
    "+1.5e+3": 1500.0,
    "1.2.3": "1.2.3",
    ".": ".",
    "-": "-",
    "+": "+",
    "e3": "e3",
    "1e": "1e",
    "0.1": 0.1,
    "9007199254740993": 9007199254740993,
    "'017'": "017",
    '"true"': "true",
    "''": "",
    "<<": "<<",
    "=": "=",
    "10.0.0.1": "10.0.0.1",
    "1 2": "1 2",
}


@pytest.mark.parametrize(("text", "expected"), GOLDEN.items(), ids=repr)
def test_plain_scalars_follow_the_core_schema(text: str, expected: Any) -> None:
    """YAML 1.2.2 core: what a Go or JavaScript 1.2 parser reads, type and all."""
    if text == "-":
        text = '"-"'
    document, findings = read_document(f"KEY: {text}\n".encode(), FILE)
    assert findings == ()
    assert document is not None
    value = document.values["KEY"]
    assert value == expected
    assert type(value) is type(expected)


REFUSED: list[tuple[bytes, str, int, int]] = [
    (b"A: 1\nB: 2\nA: 3", "KEM004", 3, 1),
    (b"A:\n  x: 1\n  x: 2", "KEM004", 3, 3),
    (b"A: &a 1\nB: 2", "KEM005", 1, 4),
    (b"A: 1\nB: *a", "KEM005", 2, 4),
    (b"A: {<<: {b: 1}}", "KEM005", 1, 5),
    (b"A: !!python/object:os.system 1", "KEM006", 1, 4),
    (b"A: !!binary aGk=", "KEM006", 1, 4),
    (b"A: 1\nB: !secret x", "KEM006", 2, 4),
    (b"A: !<tag:yaml.org,2002:str> x", "KEM006", 1, 4),
    (b"A: ! x", "KEM006", 1, 4),
    (b"!!map\nA: x", "KEM006", 1, 1),
    (b"A: 1\n---\nB: 2", "KEM007", 2, 1),
    (b"%YAML 1.1\n---\nA: no", "KEM007", 1, 1),
    (b"%TAG ! tag:x,2000:\n---\nA: 1", "KEM007", 1, 1),
    (b"1: a", "KEM008", 1, 1),
    (b"A: 1\ntrue: a", "KEM008", 2, 1),
    (b"~: a", "KEM008", 1, 1),
    (b"? [a, b]\n: c", "KEM008", 1, 3),
    (b"A: {2: b}", "KEM008", 1, 5),
    (b"A: .nan", "KEM009", 1, 4),
    (b"A: [1, -.inf]", "KEM009", 1, 8),
    (b"A: 1e999", "KEM009", 1, 4),
    (b"A: 1\nB: 9223372036854775808", "KEM009", 2, 4),
    (b"A: " + b"7" * 5_000, "KEM009", 1, 4),
    (b"A: 0x" + b"f" * 5_000, "KEM009", 1, 4),
    (b"A: 0." + b"1" * 500_000, "KEM009", 1, 4),
    (b"A: " + b"[" * 20_000, "KEM010", 1, 67),
    (b"A: " + b"{a: " * 20_000, "KEM010", 1, 256),
    (b"- " * 20_000, "KEM010", 1, 129),
    (b"? " * 20_000, "KEM010", 1, 129),
    (b"A: \xff", "KEM001", 1, 4),
    (b"A: \xc3\xa9\nB: \xc3\xa9\xff", "KEM001", 2, 5),
    (b"\xff\xfeA\x00", "KEM001", 1, 1),
    (b"A: 1\r\nB: \x07", "KEM012", 2, 4),
    ("A: 1 # \u202e".encode(), "KEM012", 1, 8),
    ("A: é\u200bb".encode(), "KEM012", 1, 5),
    ("A: 1\u2028B: 2".encode(), "KEM012", 1, 5),
    ("A: \x85".encode(), "KEM012", 1, 4),
    (b"A: 1\n\tB: 2", "KEM003", 2, 1),
    (b"A:\n\t- 1", "KEM003", 2, 1),
    (b"A: 'x\nB: 1", "KEM003", 1, 4),
    (b"A: a: b", "KEM003", 1, 5),
    (b"A: [1, 2\nB: 3", "KEM003", 2, 2),
    (b"A: @x", "KEM003", 1, 4),
    (b"A: 1\nnonsense\nB: 2", "KEM003", 2, 1),
    (b"- A", "KEM013", 1, 1),
    (b"hello", "KEM013", 1, 1),
    (b"42", "KEM013", 1, 1),
    (b"A" * (LIMIT_BYTES + 1), "KEM002", 1, 1),
]


@pytest.mark.parametrize(("data", "rule", "line", "column"), REFUSED, ids=lambda each: repr(each)[:40])
def test_bad_input_is_refused_at_its_place_and_at_once(
    data: bytes, rule: str, line: int, column: int
) -> None:
    """Each has its own rule, at its line and column, in under 50 ms of CPU."""
    started = time.thread_time()
    _, findings = read_document(data, FILE)
    taken = time.thread_time() - started
    first = findings[0]
    assert (first.rule, first.line, first.column, first.file) == (rule, line, column, FILE)
    assert first.message
    assert taken < 0.05


def test_both_lines_of_a_duplicate_are_named() -> None:
    """The first line stands in the message, the second is the place; the first value counts for other checks."""
    document, (finding,) = read_document(b"A: 1\nB: 2\nA: 3\n", FILE)
    assert finding.message == "A stands twice, here and on line 1"
    assert (finding.line, finding.key, finding.pointer) == (3, "A", "/A")
    assert document is not None
    assert document.values == {"A": 1, "B": 2}
    assert document.broken == frozenset()


def test_several_findings_of_one_file_are_reported_together() -> None:
    """A file is not read over and over to find its errors one by one."""
    document, findings = read_document(b"A: .nan\n1: x\nB: 1\nB: 2\nC: 1e999\n", FILE)
    assert [each.rule for each in findings] == ["KEM009", "KEM008", "KEM004", "KEM009"]
    assert document is not None
    assert document.broken == {"A", "C"}


def test_a_tag_or_an_anchor_puts_only_its_own_setting_in_doubt() -> None:
    """The rest of the file is read, so that its errors are found in the same go."""
    document, findings = read_document(b"A: !!python/object:os.system x\nB: &b [1]\nC: 5\nD: *b\n", FILE)
    assert [(each.rule, each.line, each.column) for each in findings] == [
        ("KEM006", 1, 4),
        ("KEM005", 2, 4),
        ("KEM005", 4, 4),
    ]
    assert document is not None
    assert document.broken == {"A", "B", "D"}
    assert document.values["C"] == 5


@pytest.mark.parametrize(
    "bomb", ["a: &a [*a]", "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(99))]
)
def test_an_alias_bomb_costs_nothing(bomb: str) -> None:
    """Aliases are refused as they are met: under 50 ms, and no memory to speak of."""
    nine = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text in (bomb, nine):
        tracemalloc.start()
        started = time.thread_time()
        document, findings = read_document(text.encode(), FILE)
        taken = time.thread_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert document is not None
        assert document.broken == set(document.values)
        assert {each.rule for each in findings} == {"KEM005"}
        assert taken < 0.05
        assert peak < 5_000_000


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"# only a comment\n", b"---\n", b"---\n# x\n...\n", b"\xef\xbb\xbf"]
)
def test_an_empty_file_is_an_empty_mapping(data: bytes) -> None:
    """A layer without overrides is a file with its header alone."""
    document, findings = read_document(data, FILE)
    assert findings == ()
    assert document is not None
    assert document.values == {}


def test_marks_that_mean_nothing_in_text_are_text() -> None:
    """Only a real anchor, alias, tag or directive is refused, not its sign within a value."""
    data = b"A: Tom & Jerry\nB: 50 %\nC: a*b\nD: stop!\nE: '&x'\nF: \"*x\"\nG: x #y\nH: http://h/?a=1&b=%20\n"
    document, findings = read_document(data, FILE)
    assert findings == ()
    assert document is not None
    assert list(document.values.values()) == [
        "Tom & Jerry",
        "50 %",
        "a*b",
        "stop!",
        "&x",
        "*x",
        "x",
        "http://h/?a=1&b=%20",
    ]


def test_an_escape_shows_what_a_raw_character_hides() -> None:
    """In double quotes a reviewer sees the escape, so it is allowed; the byte order mark of a file is dropped."""
    document, findings = read_document(b'\xef\xbb\xbfA: "a\\u200Bb\\tc"\n', FILE)
    assert findings == ()
    assert document is not None
    assert document.values == {"A": "a\u200bb\tc"}
    assert document.place("/A").column == 4


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_are_counted_alike_for_every_line_ending(ending: str) -> None:
    """An editor on another system does not move the findings."""
    document, _ = read_document(ending.join(["# x", "A: 1", "B:", "  - é", "  - {c: 2}"]).encode(), FILE)
    assert document is not None
    found = {pointer: (place.line, place.column) for pointer, place in document.places.items()}
    assert found == {"": (1, 1), "/A": (2, 4), "/B": (4, 3), "/B/0": (4, 5), "/B/1": (5, 5), "/B/1/c": (5, 9)}
    assert (document.key_place("/B/1/c").column, document.key_place("/B").line) == (6, 3)
    assert document.place_of_key("B") == document.key_place("/B")
    assert document.place_of_value("B") == document.place("/B")
    assert document.place("/B/7/x") == document.place("/B")


def test_depth_is_bounded_exactly() -> None:
    """64 collections within each other are read, 65 are not, however they are written."""
    for open_, close in (("[", "]"), ("{a: ", "}")):
        for depth, allowed in ((LIMIT_DEPTH, True), (LIMIT_DEPTH + 1, False)):
            data = "A: " + open_ * (depth - 1) + "1" + close * (depth - 1)
            assert (read_document(data.encode(), FILE)[0] is not None) is allowed
    for depth, allowed in ((LIMIT_DEPTH, True), (LIMIT_DEPTH + 1, False)):
        lines = "\n".join(" " * level + "k:" for level in range(depth))
        assert (read_document(lines.encode(), FILE)[0] is not None) is allowed


def test_size_and_number_of_values_are_bounded_exactly() -> None:
    """1 MiB and 100,000 keys and values are read, one more is not."""
    comment = b"A: 1\n#"
    assert read_document(comment + b"x" * (LIMIT_BYTES - len(comment)), FILE)[1] == ()
    most = LIMIT_NODES - 2
    for items, rules in ((most, []), (most + 1, ["KEM011"])):
        _, findings = read_document(b"A: [" + b"1," * items + b"]", FILE)
        assert [each.rule for each in findings] == rules


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp", "Cn")), max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abcé~/ ", max_size=3), inner)
    ),
    max_leaves=12,
)
mappings = st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), json_values, max_size=6)


def same(left: Any, right: Any) -> bool:
    """Equal with equal types; -0.0 and 0.0 differ."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@settings(max_examples=150, deadline=None)
@given(mappings)
@example({"A": {"a~/": [{"é": -0.0}]}})
def test_json_is_read_as_it_is(values: dict[str, Any]) -> None:
    """JSON is YAML: every JSON value comes back with its type, and every pointer leads to its place."""
    text = json.dumps(values, ensure_ascii=False, indent=1)
    document, findings = read_document(text.encode(), FILE)
    assert findings == ()
    assert document is not None
    assert same(document.values, values)
    lines = text.split("\n")
    for pointer, place in document.key_places.items():
        key = pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        assert lines[place.line - 1][place.column - 1 :].startswith(json.dumps(key, ensure_ascii=False))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from("ABC"), min_size=2, max_size=6))
def test_any_duplicate_is_found(keys: list[str]) -> None:
    """As many findings as keys too many, on any level."""
    for indent, head in (("", ""), ("  ", "X:\n")):
        text = head + "".join(f"{indent}{key}: 1\n" for key in keys)
        _, findings = read_document(text.encode(), FILE)
        assert [each.rule for each in findings] == ["KEM004"] * (len(keys) - len(set(keys)))


BLOCK = ("A: ", "b: ", "- ", "? ", ": ", "#", "---\n", "...\n", "%YAML 1.2\n", "|\n", ">-\n", "<<: ")
FLOW = ("[", "]", "{", "}", ", ", "'", '"', "&a ", "*a", "!x ", "1", ".nan", "é", "\\", "\t", "\r", "\u2028")
yamlish = st.lists(st.sampled_from([*BLOCK, *FLOW, "\n", "\n  ", "\n    "]), max_size=30).map("".join)


@settings(max_examples=500, deadline=None)
@given(st.one_of(yamlish.map(str.encode), st.binary(max_size=40)))
def test_no_input_makes_the_reader_fail(data: bytes) -> None:
    """Whatever the bytes: values, findings, or both; findings stand within the file; nested places can be asked."""
    for read in (read_document, read_list):
        document, findings = read(data, FILE)
        assert document is not None or findings
        lines = data.count(b"\n") + data.count(b"\r") + 2
        assert all(1 <= each.line <= lines and each.column >= 1 for each in findings)
        if document is not None:
            assert document.place("/A").line >= 1
            json.dumps(document.root, allow_nan=False)


structure = st.lists(
    st.sampled_from(["- ", "? ", "k:\n", "k: [", "k: {a: ", "[", "{a: ", "\n", " ", "  ", "-\t", "-\n"]),
    max_size=120,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(structure)
@example("".join("\n" + " " * level + "- " * 1 + "k:" for level in range(70)))
def test_what_is_read_is_never_nested_deeper_than_the_limit(text: str) -> None:
    """The quick test for deep nesting lets nothing through that is deeper, in whatever style it is written."""

    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    document, _ = read_document(text.encode(), FILE)
    assert document is None or depth(document.root) <= LIMIT_DEPTH


def test_a_list_is_read_by_the_same_rules() -> None:
    """`roles.yaml` is a list; what is refused in a mapping is refused there too."""
    document, findings = read_list(b"- a\n- {b: 1}\n", "roles.yaml")
    assert findings == ()
    assert document is not None
    assert document.root == ["a", {"b": 1}]
    assert document.place("/1/b").line == 2
    assert read_list(b"a: 1", "roles.yaml")[1][0].rule == "KEM013"
    assert read_list(b"- 1\n- {a: 1, a: 2}", "roles.yaml")[1][0].rule == "KEM004"
    assert read_list(b"", "roles.yaml")[0] is not None
