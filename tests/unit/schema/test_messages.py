"""What a config author is told about a value."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kemudi.schema.contract import Contract
from kemudi.schema.contract_reader import read_contract


def of(subschema: dict[str, Any]) -> Contract:
    """A contract of one setting, KEY."""
    text = json.dumps({"properties": {"KEY": {"description": "About KEY.", **subschema}}})
    contract, findings = read_contract(text.encode(), "contracts/app.schema.json", "app")
    assert findings == ()
    assert contract is not None
    return contract


INTEGER = {"type": "integer", "minimum": 1, "default": 1}


class TestMessages:
    """A message says what the value must be and what it is, in words of a config author."""

    @pytest.mark.parametrize(
        ("subschema", "value", "message"),
        [
            (INTEGER, 0, "a whole number of at least 1, and is 0"),
            (INTEGER, 1.5, "a whole number of at least 1, and is 1.5"),
            (INTEGER, None, "a whole number of at least 1, and is null"),
            (INTEGER, [1], "a whole number of at least 1, and is [1]"),
            ({**INTEGER, "x-kemudi-unit": "rows"}, "x", 'a whole number of rows of at least 1, and is "x"'),
            ({"type": "boolean", "default": True}, 1, "true or false, and is 1"),
            ({"enum": ["a", "b", 3], "default": "a"}, "c", '"a", "b" or 3, and is "c"'),
            ({"const": "a", "default": "a"}, "c", '"a", and is "c"'),
            (
                {"type": "string", "minLength": 1, "default": "a"},
                "",
                "text that is not empty, and is empty text",
            ),
            (
                {"type": "string", "maxLength": 2, "default": "a"},
                "abc",
                'text of at most 2 characters, and is "abc"',
            ),
            ({"type": "string", "pattern": "^a", "default": "a"}, "b", 'text that matches "^a", and is "b"'),
            ({"type": ["integer", "null"], "default": None}, "b", 'a whole number or null, and is "b"'),
            (
                {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
                0,
                "a whole number of at least 1 or null, and is 0",
            ),
            (
                {"type": "number", "multipleOf": 0.5, "default": 1},
                0.7,
                "a number that is a multiple of 0.5, and is 0.7",
            ),
            (
                {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0},
                2,
                "a number of at least 0 and of less than 1, and is 2",
            ),
            (
                {"type": "string", "maxLength": 9, "default": ""},
                "x" * 99,
                f'text of at most 9 characters, and is "{"x" * 58}…',
            ),
        ],
        ids=str,
    )
    def test_a_message_says_what_must_be_and_what_is(self, subschema: Any, value: Any, message: str) -> None:
        """No library text, one sentence."""
        (problem,) = of(subschema).check_value("KEY", value)
        assert problem.message == f"KEY must be {message}"

    @pytest.mark.parametrize(
        ("subschema", "value", "message"),
        [
            ({"type": "array", "maxItems": 1, "default": []}, [1, 2], "KEY must have at most 1 items"),
            (
                {"type": "array", "uniqueItems": True, "default": []},
                [1, 1],
                "KEY must not hold an item twice",
            ),
            ({"type": "object", "required": ["a"], "default": {"a": 1}}, {}, "KEY lacks a"),
            (
                {"type": "object", "properties": {"a": {}}, "additionalProperties": False, "default": {}},
                {"b": 1},
                "KEY must not hold b",
            ),
            (
                {"type": "object", "properties": {"a": {"properties": {"b": INTEGER}}}, "default": {}},
                {"a": {"b": 0}},
                "KEY.a.b must be a whole number of at least 1, and is 0",
            ),
        ],
        ids=str,
    )
    def test_a_part_of_a_value_is_named(self, subschema: Any, value: Any, message: str) -> None:
        """What is wrong within a list or a mapping is said of that member."""
        (problem,) = of(subschema).check_value("KEY", value)
        assert problem.message == message

    @pytest.mark.parametrize(
        ("kind", "value", "written", "hint"),
        [
            ("boolean", "no", "no", "did you mean false? In YAML 1.2 no is text"),
            ("boolean", "On", None, "did you mean true? In YAML 1.2 On is text"),
            ("boolean", "perhaps", None, None),
            (
                "integer",
                "12:30",
                "12:30",
                "12:30 is text; YAML 1.1 read it as 750, in sixties: write the number meant",
            ),
            ("integer", "1_000", "1_000", "write 1000, without quotes or separators"),
            ("integer", "30", None, "write 30, without quotes or separators"),
            ("string", 123, "0123", 'without quotes 0123 is the number 123; write KEY: "0123"'),
            ("string", True, "true", 'without quotes true is the boolean true; write KEY: "true"'),
            ("string", None, "null", 'without quotes null is null; write KEY: "null"'),
            ("string", 1000.0, "1e3", 'without quotes 1e3 is the number 1000.0; write KEY: "1e3"'),
            (
                "integer",
                None,
                "",
                "write a value, or delete the line: then a lower layer or the default is served",
            ),
        ],
    )
    def test_a_hint_says_what_to_write(
        self, kind: str, value: Any, written: str | None, hint: str | None
    ) -> None:
        """The usual surprises of YAML are named, with what to write instead."""
        default = {"boolean": True, "integer": 1, "string": ""}[kind]
        (problem,) = of({"type": kind, "default": default}).check_value("KEY", value, written)
        assert problem.hint == hint

    def test_an_optional_field_is_told_like_a_plain_one(self) -> None:
        """What a model calls `int | None` is anyOf in its contract, and no author needs to know."""
        optional = of({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None})
        (problem,) = optional.check_value("KEY", 123, "0123")
        assert (problem.rule, problem.message) == ("KEM023", "KEY must be text or null, and is 0123")
        assert problem.hint == 'without quotes 0123 is the number 123; write KEY: "0123"'

    def test_a_name_within_a_value_is_told_with_its_nearest(self) -> None:
        """A mistyped member is found like a mistyped key."""
        contract = of({"type": "object", "propertyNames": {"enum": ["left", "right"]}, "default": {}})
        (problem,) = contract.check_value("KEY", {"lefft": 1})
        assert (problem.message, problem.pointer) == ("KEY must not hold lefft", "/lefft")
        assert problem.hint == "did you mean left?"

    def test_an_unknown_key_is_told_the_nearest(self) -> None:
        """As in a file, so in a call."""
        (problem,) = of(INTEGER).check_value("KEYS", 1)
        assert (problem.rule, problem.hint) == ("KEM020", "did you mean KEY?")

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(
            [
                {"type": "integer"},
                {"type": "string", "maxLength": 3},
                {"enum": ["a"]},
                {"type": "object", "properties": {"p": {"type": "integer"}}, "additionalProperties": False},
                {"type": "array", "items": {"const": 1}, "maxItems": 1, "uniqueItems": True},
                {"propertyNames": {"maxLength": 2}},
            ]
        ),
        st.one_of(
            st.just("canary"),
            st.just(["canary", "canary"]),
            st.dictionaries(st.sampled_from(["canary", "p"]), st.just("canary"), min_size=1),
        ),
        st.booleans(),
    )
    def test_a_sensitive_value_is_in_no_message(self, subschema: Any, value: Any, hard: bool) -> None:
        """Not the value, not a part of it, not a key within it, not what was written."""
        contract = of({**subschema, "x-kemudi-sensitive": True})
        problems = contract.check_value("KEY", value, "canary" if hard else None)
        assert "canary" not in str(problems)
