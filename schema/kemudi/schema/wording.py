"""The words of messages: what a subschema asks for, and what to write instead of a value."""

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final

from kemudi.schema.documents import JSON
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import Sentence, either, sentence

_LONGEST_SHOWN: Final = 60
_TYPES: Final = {
    "integer": sentence("a whole number"),
    "number": sentence("a number"),
    "string": sentence("text"),
    "boolean": sentence("true or false"),
    "array": sentence("a list"),
    "object": sentence("a mapping"),
    "null": sentence("null"),
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
    said = either([_TYPES.get(name, name) for name in names]) if names else _ANYTHING
    if unit and {"integer", "number"} & set(names):
        # A unit is a word of the contract; those that the console knows are said in its languages.
        said = sentence("%(kind)s of %(unit)s", kind=said, unit=Sentence.of(unit.replace("%", "%%"), {}))
    limits = [limit.filled(value=shown(schema[name])) for name, limit in _LIMITS.items() if name in schema]
    if schema.get("minLength") == 1:
        limits = [sentence("that is not empty") if limit == _ONE_CHARACTER else limit for limit in limits]
    return sentence("%(kind)s %(limits)s", kind=said, limits=reduce(_and, limits)) if limits else said


def _and(first: Sentence, last: Sentence) -> Sentence:
    return sentence("%(first)s and %(last)s", first=first, last=last)


_ANYTHING: Final = sentence("a value that its contract allows")
_LIMITS: Final = {
    "minimum": sentence("of at least %(value)s", value=""),
    "exclusiveMinimum": sentence("of more than %(value)s", value=""),
    "maximum": sentence("of at most %(value)s", value=""),
    "exclusiveMaximum": sentence("of less than %(value)s", value=""),
    "multipleOf": sentence("that is a multiple of %(value)s", value=""),
    "minLength": sentence("of at least %(value)s characters", value=""),
    "maxLength": sentence("of at most %(value)s characters", value=""),
    "pattern": sentence("that matches %(value)s", value=""),
    "minItems": sentence("of at least %(value)s items", value=""),
    "maxItems": sentence("of at most %(value)s items", value=""),
}
_ONE_CHARACTER: Final = "of at least 1 characters"


def shown(value: JSON, written: str | None = None) -> str:
    """A value as it is quoted in a message, shortened. Never called for a sensitive one."""
    if written and not isinstance(value, str | dict | list):
        return _shortened(written)
    if isinstance(value, str) and not value and not written:
        return sentence("empty text")
    quoted = _shortened(json.dumps(value, ensure_ascii=False))
    return sentence("the text %(text)s", text=quoted) if isinstance(value, str) and written else quoted


def _shortened(text: str) -> str:
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
        return sentence(
            'without quotes %(written)s is %(value)s; write %(key)s: "%(written)s"',
            written=written,
            value=_is(value),
            key=key,
        )
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
        return (
            sentence("did you mean %(meant)s? In YAML 1.2 %(value)s is text", meant=meant, value=value)
            if meant
            else None
        )
    if "enum" in schema:
        return did_you_mean(value, [each for each in schema["enum"] if isinstance(each, str)])
    return _hint_for_number(value) if {"integer", "number"} & kinds else None


def _hint_for_number(value: str) -> str | None:
    parts = value.split(":")
    if len(parts) > 1 and all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        number = 0
        for part in parts:
            number = number * 60 + int(part)
        return sentence(
            "%(value)s is text; YAML 1.1 read it as %(number)s, in sixties: write the number meant",
            value=value,
            number=str(number),
        )
    digits = value.replace("_", "").replace(",", "")
    if digits.isascii() and digits.isdigit() and len(digits) < 17:
        return sentence("write %(digits)s, without quotes or separators", digits=str(int(digits)))
    return None


def _is(value: JSON) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return sentence("the boolean %(value)s", value=json.dumps(value))
    return sentence("the number %(value)s", value=json.dumps(value))
