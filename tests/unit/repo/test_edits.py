"""An edit changes its own lines and no other byte."""

import difflib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kemudi.repo import edits
from kemudi.repo.edits import render, set_value, unset_value, with_value, without_key
from kemudi.schema.documents import read_document
from kemudi.schema.errors import ConflictError, FindingsError, UsageError

AUTHORS_FILE = """# yaml-language-server: $schema=../contracts/editor/sync.schema.json

# Raised for the nightly run.
SYNC_A:   1000    # rows
"SYNC_B": 'x'
SYNC_C: "dq \\u00e9"

SYNC_LIST:
- a
- b
# about the second list
SYNC_LIST2: # in short
    - a
    -   b   # the last
SYNC_MAP: {a: 1,  b: 2}
SYNC_NESTED:
  a:
    b: [1,
        2]
  c:
SYNC_FLOAT: 1.50
SYNC_HEX: 0x1F
SYNC_BLOCK: |
  line one
  line two

SYNC_FOLD: >-
   aaa
   bbb
SYNC_NULL: ~
SYNC_EMPTY:
SYNC_EMPTY2:   # nothing yet
SYNC_MULTI: aaa
  bbb
SYNC_TRUE: True
# the end
"""
KEYS = list(read_document(AUTHORS_FILE.encode(), "x")[0].values)

ODD_TEXTS = (
    "no|On|y|null|~|12:30|12:30:45|017|0x1F|1e3|1_000|2020-01-01|| |#|a #b|a: b|- a|? a|*a|&a|!a|%a|@a|`a|'|\"|{|[|"
    "]|,|<<|=|---|...|a:|bolt://localhost:7687|ENC[kemudi:v1,at=0,rs=0,YQ==]|a\nb|a\tb|\u2028|\x85|\ufeff|\x7f|é|😀|\U00018d09"
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(ODD_TEXTS.split("|"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.filter(bool), inner, max_size=3),
    max_leaves=6,
)


def _values(text: str) -> dict:
    document, findings = read_document(text.encode(), "x")
    assert document is not None, findings
    return document.values


def _diff(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@given(st.sampled_from([*KEYS, "NEW_KEY"]), values)
@settings(max_examples=300, deadline=None)
def test_a_value_that_was_set_is_read_back_and_nothing_else_changed(key: str, value) -> None:
    """Any JSON value, in any place of a file that a person wrote; every other line stands as it was."""
    after = with_value(AUTHORS_FILE, key, value)
    found = _values(after)
    assert found.pop(key) == value
    before = _values(AUTHORS_FILE)
    before.pop(key, None)
    assert found == before
    added = [line for line in _diff(AUTHORS_FILE, after) if line.startswith("+")]
    assert len(added) <= 1


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_was_unset_takes_only_its_own_lines(key: str) -> None:
    """Comments above stay: they may be about more."""
    after = without_key(AUTHORS_FILE, key)
    assert _values(after) == {name: value for name, value in _values(AUTHORS_FILE).items() if name != key}
    diff = _diff(AUTHORS_FILE, after)
    assert all(line.startswith("-") for line in diff)
    assert not any(line.startswith("-#") for line in diff)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("SYNC_A", 2, ["-SYNC_A:   1000    # rows", "+SYNC_A:   2    # rows"]),
        ("SYNC_B", "no", ["-\"SYNC_B\": 'x'", "+\"SYNC_B\": 'no'"]),
        ("SYNC_C", "plain", ['-SYNC_C: "dq \\u00e9"', '+SYNC_C: "plain"']),
        ("SYNC_MAP", {"a": 2}, ["-SYNC_MAP: {a: 1,  b: 2}", "+SYNC_MAP: {a: 2}"]),
        ("SYNC_EMPTY2", 5, ["-SYNC_EMPTY2:   # nothing yet", "+SYNC_EMPTY2: 5  # nothing yet"]),
        ("SYNC_LIST", [1], ["-SYNC_LIST:", "-- a", "-- b", "+SYNC_LIST: [1]"]),
        ("NEW", "12:30", ['+NEW: "12:30"']),
    ],
)
def test_the_diff_of_a_pull_request_is_what_was_meant(key: str, value, expected: list[str]) -> None:
    """Spaces, comments and the author's quotes are kept."""
    assert _diff(AUTHORS_FILE, with_value(AUTHORS_FILE, key, value)) == expected


def test_setting_what_is_there_changes_nothing() -> None:
    """However it is spelled."""
    for key, value in _values(AUTHORS_FILE).items():
        assert with_value(AUTHORS_FILE, key, value) == AUTHORS_FILE
    assert with_value("A: 1\n", "A", True) == "A: true\n"
    assert with_value("A: 1\n", "A", 1.0) == "A: 1.0\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "B: 7\n"),
        ("# only a comment\n", "# only a comment\nB: 7\n"),
        ("A: 1", "A: 1\nB: 7\n"),
        ("A: 1\r\nC: 2\r\n", "A: 1\r\nC: 2\r\nB: 7\r\n"),
        ("---\nA: 1\n...\n", "---\nA: 1\nB: 7\n...\n"),
        ("{}\n", "B: 7\n"),
        ("{A: 1}\n", "{A: 1, B: 7}\n"),
        ("A: 1\n\n# the end\n", "A: 1\n\n# the end\nB: 7\n"),
    ],
)
def test_a_new_key_comes_last(before: str, after: str) -> None:
    """With the file's own line breaks, before an end marker, also into an empty file."""
    assert with_value(before, "B", 7) == after


def test_what_cannot_be_done_without_touching_more_is_refused() -> None:
    """Here a line break at the end would be part of A's value."""
    with pytest.raises(UsageError, match="without touching more"):
        with_value("A: |\n  x", "B", 7)
    with pytest.raises(UsageError, match="by hand"):
        without_key("{A: 1, B: 2}\n", "A")


def test_windows_line_breaks_stay(tmp_path: Path) -> None:
    """In the edited line, too."""
    assert with_value("A: 1\r\nB:  # c\r\nC: 3\r\n", "A", 5) == "A: 5\r\nB:  # c\r\nC: 3\r\n"
    assert with_value("A: 1\r\nB:  # c\r\nC: 3\r\n", "B", 5) == "A: 1\r\nB: 5  # c\r\nC: 3\r\n"
    assert without_key("A: 1\r\nB: 2\r\n", "A") == "B: 2\r\n"


@pytest.mark.parametrize(
    "word", ["no", "Yes", "on", "OFF", "null", "TRUE", "~", "12:30", "2020-01-01", "0o17", "1_000", ""]
)
def test_text_that_some_reader_takes_for_something_else_is_quoted(word: str) -> None:
    """YAML 1.1 still reads half of these as booleans, times and numbers."""
    assert render(word) == f'"{word}"'


@pytest.mark.parametrize(
    "word", ["hybrid", "bolt://localhost:7687", "/var/run/x.sock", "a-b_c.d", "user@host"]
)
def test_plain_text_stays_plain(word: str) -> None:
    """Quotes only where they are needed."""
    assert render(word) == word


def test_a_number_that_is_not_finite_is_no_setting() -> None:
    """YAML could write it; no contract allows it."""
    with pytest.raises(UsageError):
        render(float("nan"))


def test_a_new_file_begins_with_the_line_for_editors(tmp_path: Path) -> None:
    """Its folder is made, too."""
    path = tmp_path / "prod" / "sync.yaml"
    assert set_value(path, "SYNC_BATCH_SIZE", 500)
    assert path.read_text() == (
        "# yaml-language-server: $schema=../contracts/editor/sync.schema.json\nSYNC_BATCH_SIZE: 500\n"
    )


def test_a_file_is_replaced_as_a_whole_with_its_mode(tmp_path: Path) -> None:
    """A reader sees the old or the new; nothing is left beside."""
    path = tmp_path / "sync.yaml"
    path.write_text("A: 1\n")
    path.chmod(0o640)
    inode = path.stat().st_ino
    assert set_value(path, "A", 2) is True
    assert path.read_text() == "A: 2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_ino != inode
    assert list(tmp_path.iterdir()) == [path]
    assert set_value(path, "A", 2) is False
    assert unset_value(path, "A") is True
    assert unset_value(path, "A") is False
    assert unset_value(tmp_path / "none.yaml", "A") is False


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """Neither the link nor its target changes."""
    target = tmp_path / "target"
    target.write_text("A: 1\n")
    (tmp_path / "sync.yaml").symlink_to(target)
    with pytest.raises(UsageError, match="cannot be edited"):
        set_value(tmp_path / "sync.yaml", "A", 2)
    assert target.read_text() == "A: 1\n"
    with pytest.raises(UsageError):
        set_value(tmp_path, "A", 2)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UsageError, match="not a regular file"):
        set_value(tmp_path / "pipe.yaml", "A", 2)


def test_a_save_of_somebody_else_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4; their content stands."""
    path = tmp_path / "sync.yaml"
    path.write_text("A: 1\n")
    real = edits.with_value

    def meanwhile(*args, **kwargs):
        path.write_text("A: 1\nTHEIRS: 1\n")
        return real(*args, **kwargs)

    monkeypatch.setattr(edits, "with_value", meanwhile)
    with pytest.raises(ConflictError):
        set_value(path, "A", 2)
    assert path.read_text() == "A: 1\nTHEIRS: 1\n"


@pytest.mark.parametrize("text", ["A: &x 1 # c\n", "A: !!python/object 1 # c\n", "A: .nan # c\n"])
def test_a_value_that_is_refused_is_mended_by_setting_it(text: str) -> None:
    """Its anchor or tag goes with it; also when the plain value is the same."""
    assert with_value(text, "A", 1) == "A: 1 # c\n"


@pytest.mark.parametrize("text", ["A: [1\n", "- 1\n", "A: 1\n---\nB: 1\n", "A: 1\n B: 2\n"])
def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path, text: str) -> None:
    """With the findings; a person mends it first."""
    path = tmp_path / "sync.yaml"
    path.write_text(text)
    with pytest.raises(FindingsError) as caught:
        set_value(path, "A", 2)
    assert caught.value.findings
    assert path.read_text() == text


def test_a_key_that_stands_twice_is_left_to_a_person() -> None:
    """Which one is meant?"""
    with pytest.raises(UsageError, match="2 times"):
        with_value("A: 1\nA: 2\n", "A", 3)


def test_a_file_that_is_no_text_is_left_alone(tmp_path: Path) -> None:
    """Exit 2."""
    path = tmp_path / "sync.yaml"
    path.write_bytes(b"A: \xff\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        set_value(path, "A", 2)
