"""What a setting takes, and what is wrong with a value, in words and in the language of the reader."""

from collections.abc import Mapping
from typing import Any, Final, cast

from kemudi.console.languages import Language
from kemudi.schema.contract import SettingSpec

_WHOLES: Final = frozenset({"array", "object"})


def first_sentence(text: str) -> str:
    """Of a description, as a summary: without its full stop."""
    return text.partition(". ")[0].partition("\n")[0].rstrip(".")


def must_be(spec: SettingSpec, words: Language) -> str:
    """`a whole number from 1 to 10,000`: what fits the contract of a setting."""
    schema = spec.schema
    if "enum" in schema:
        choices = cast("list[object]", schema["enum"])
        return words.gettext("one of %(choices)s") % {"choices": ", ".join(str(each) for each in choices)}
    said = _formatted(schema, words) or _kind(spec.type, schema, words)
    limits = _limits(schema, words)
    return f"{said} {limits}" if limits else said


def complaint(spec: SettingSpec, words: Language, detail: str = "") -> str:
    """The sentence beside a field whose value does not fit.

    Of a list or an object the contract's own sentence is better, where there is one: it says which part is wrong.
    """
    if detail and spec.type in _WHOLES:
        return f"{words.said(detail)}."
    return words.gettext("Must be %(expected)s.") % {"expected": must_be(spec, words)}


def unit_of(unit: str | None, words: Language) -> str:
    """A unit as people say it; a unit that is not known here stays as the contract has it."""
    known = {
        "seconds": words.gettext("seconds"),
        "rows": words.gettext("rows"),
        "requests a minute": words.gettext("requests a minute"),
        "requests/minute": words.gettext("requests/minute"),
        "bytes": words.gettext("bytes"),
        "milliseconds": words.gettext("milliseconds"),
    }
    return known.get(unit or "", unit or "")


def _kind(kind: str, schema: Mapping[str, Any], words: Language) -> str:
    known = {
        "integer": words.gettext("a whole number"),
        "number": words.gettext("a number"),
        "string": words.gettext("text"),
        "boolean": words.gettext("on or off"),
        "array": words.gettext("a JSON list, such as %(example)s") % {"example": _list_example(schema)},
        "object": words.gettext('a JSON object, such as {"a": 1}'),
    }
    return known.get(kind, words.gettext("JSON that fits the contract"))


def _list_example(schema: Mapping[str, Any]) -> str:
    items = schema.get("items")
    kind = items.get("type") if isinstance(items, Mapping) else None
    return '["a", "b"]' if kind == "string" else "[1, 2]"


def _formatted(schema: Mapping[str, Any], words: Language) -> str:
    """Text of a form that has a name in JSON Schema (draft 2020-12, validation, section 7.3), with an example."""
    known = {
        "uri": words.gettext("an address, such as %(example)s")
        % {"example": "https://service.example.org:8443"},
        "duration": words.gettext("a duration, such as %(example)s") % {"example": "PT1H30M"},
        "date": words.gettext("a date, such as %(example)s") % {"example": "2026-01-31"},
        "date-time": words.gettext("a date and time, such as %(example)s")
        % {"example": "2026-01-31T09:30:00Z"},
        "time": words.gettext("a time, such as %(example)s") % {"example": "09:30:00Z"},
        "email": words.gettext("an e-mail address, such as %(example)s") % {"example": "team@example.org"},
        "hostname": words.gettext("a host name, such as %(example)s") % {"example": "db.example.org"},
        "ipv4": words.gettext("an IP address, such as %(example)s") % {"example": "192.0.2.10"},
        "ipv6": words.gettext("an IP address, such as %(example)s") % {"example": "2001:db8::10"},
    }
    return known.get(str(schema.get("format")), "")


def _limits(schema: Mapping[str, Any], words: Language) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if low is not None and high is not None:
        return words.gettext("from %(low)s to %(high)s") % {
            "low": words.number(low),
            "high": words.number(high),
        }
    if low is not None:
        return words.gettext("of at least %(low)s") % {"low": words.number(low)}
    if high is not None:
        return words.gettext("of at most %(high)s") % {"high": words.number(high)}
    if shortest is not None and longest is not None:
        said = words.gettext("of %(low)s to %(high)s characters")
        return said % {"low": words.number(shortest), "high": words.number(longest)}
    if longest is not None:
        return words.gettext("of at most %(high)s characters") % {"high": words.number(longest)}
    if shortest is not None:
        return words.gettext("of at least %(low)s characters") % {"low": words.number(shortest)}
    if isinstance(schema.get("pattern"), str):
        return words.gettext("that matches %(pattern)s") % {"pattern": schema["pattern"]}
    return ""
