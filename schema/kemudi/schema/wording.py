"""The words of messages: what a subschema asks for, and what to write instead of a value."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kemudi.schema.documents import JSON
from kemudi.schema.nearest import did_you_mean

_LONGEST_SHOWN: Final = 60
_TYPES: Final = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_FALSE_WORDS: Final = frozenset({"no", "n", "off", "false", "0"})
_TRUE_WORDS: Final = frozenset({"yes", "y", "on", "true", "1"})


def expectation(schema: Mapping[str, Any], unit: str | None = None) -> str:
    """What a subschema asks for: `a whole number of seconds of at least 1`."""
    if "const" in schema:
        return shown(schema["const"])
    if "enum" in schema:
        return either([shown(choice) for choice in schema["enum"]])
    branches = alternatives(schema)
    if branches and "type" not in schema:
        return either([expectation(branch, unit) for branch in branches])
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else list(kinds or ())
    said = either([_TYPES.get(name, name) for name in names]) if names else "a value that its contract allows"
    if unit and {"integer", "number"} & set(names):
        said += f" of {unit}"
    limits = [text.format(shown(schema[name])) for name, text in _LIMITS if name in schema]
    if schema.get("minLength") == 1:
        limits = ["that is not empty" if limit == "of at least 1 characters" else limit for limit in limits]
    return " ".join([said, " and ".join(limits)]) if limits else said


_LIMITS: Final = (
    ("minimum", "of at least {}"),
    ("exclusiveMinimum", "of more than {}"),
    ("maximum", "of at most {}"),
    ("exclusiveMaximum", "of less than {}"),
    ("multipleOf", "that is a multiple of {}"),
    ("minLength", "of at least {} characters"),
    ("maxLength", "of at most {} characters"),
    ("pattern", "that matches {}"),
    ("minItems", "of at least {} items"),
    ("maxItems", "of at most {} items"),
)


def shown(value: JSON, written: str | None = None) -> str:
    """A value as it is quoted in a message, shortened. Never called for a sensitive one."""
    text: str
    if written and not isinstance(value, str | dict | list):
        text = written
    elif isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        text = f"the text {quoted}" if written else quoted if value else "empty text"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def spoken(key: str, path: Sequence[str | int]) -> str:
    """`GRAPH_HYBRID_WEIGHTS.collaborative`, `LIST[0]`."""
    return key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def hint_for(key: str, schema: Mapping[str, Any], value: JSON, written: str | None) -> str | None:
    """What to write instead, where the usual surprises of YAML explain a value."""
    kinds = _kinds(schema)
    if isinstance(value, str):
        return _hint_for_text(kinds, schema, value)
    if "string" in kinds and written and not isinstance(value, dict | list):
        return f'without quotes {written} is {_is(value)}; write {key}: "{written}"'
    return None


def alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The branches of `anyOf` or `oneOf`, as of an optional field; `[]` unless all describe a value by its type."""
    branches = schema.get("anyOf") or schema.get("oneOf") or []
    simple = all(isinstance(each, Mapping) and {"type", "enum", "const"} & each.keys() for each in branches)
    return list(branches) if simple else []


def _kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    for each in [schema, *alternatives(schema)]:
        kinds = each.get("type", ())
        found.update([kinds] if isinstance(kinds, str) else kinds)
    return frozenset(found)


def _hint_for_text(kinds: frozenset[str], schema: Mapping[str, Any], value: str) -> str | None:
    if "boolean" in kinds:
        word = value.casefold()
        meant = "false" if word in _FALSE_WORDS else "true" if word in _TRUE_WORDS else None
        return f"did you mean {meant}? In YAML 1.2 {value} is text" if meant else None
    if "enum" in schema:
        return did_you_mean(value, [each for each in schema["enum"] if isinstance(each, str)])
    return _hint_for_number(value) if {"integer", "number"} & kinds else None


def _hint_for_number(value: str) -> str | None:
    parts = value.split(":")
    if len(parts) > 1 and all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        number = 0
        for part in parts:
            number = number * 60 + int(part)
        return f"{value} is text; YAML 1.1 read it as {number}, in sixties: write the number meant"
    digits = value.replace("_", "").replace(",", "")
    if digits.isascii() and digits.isdigit() and len(digits) < 17:
        return f"write {int(digits)}, without quotes or separators"
    return None


def _is(value: JSON) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {json.dumps(value)}"
    return f"the number {json.dumps(value)}"


def either(options: list[str]) -> str:
    """`a, b or c`."""
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
