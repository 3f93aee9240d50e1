"""What a violated keyword means, in words for a config author. A sensitive value is never part of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kemudi.schema import rules
from kemudi.schema.documents import JSON, escape
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.validator import Violation, compile_schema

if TYPE_CHECKING:
    from kemudi.schema.contract import SettingSpec

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
_RULES: Final = {
    "type": rules.WRONG_TYPE,
    "enum": rules.NOT_A_CHOICE,
    "const": rules.NOT_A_CHOICE,
    "minimum": rules.OUT_OF_BOUNDS,
    "maximum": rules.OUT_OF_BOUNDS,
    "exclusiveMinimum": rules.OUT_OF_BOUNDS,
    "exclusiveMaximum": rules.OUT_OF_BOUNDS,
    "multipleOf": rules.OUT_OF_BOUNDS,
    "minLength": rules.OUT_OF_BOUNDS,
    "maxLength": rules.OUT_OF_BOUNDS,
    "pattern": rules.OUT_OF_BOUNDS,
}
_FALSE_WORDS: Final = frozenset({"no", "n", "off", "false", "0"})
_TRUE_WORDS: Final = frozenset({"yes", "y", "on", "true", "1"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a value, not yet at a place.

    Attributes:
        rule: `KEM023`…
        key: The setting.
        message: One sentence.
        hint: What to write instead.
        pointer: JSON Pointer within the value, `""` for the whole.
        keys: For a rule between settings: the keys that may have broken it, the likeliest first.
    """

    rule: str
    key: str
    message: str
    hint: str | None = None
    pointer: str = ""
    keys: tuple[str, ...] = ()


def value_problem(
    spec: SettingSpec,
    violation: Violation,
    value: JSON,
    root: Mapping[str, Any],
    written: str | None = None,
) -> Problem:
    """What one violation of a setting's own subschema means."""
    path = violation.path[1:]
    pointer = "".join(f"/{escape(str(part))}" for part in path)
    name = spoken(spec.key, path)
    rule = _RULES.get(violation.keyword, rules.STRUCTURE)
    found = _follow(value, path)
    schema = _subschema(spec.schema, path, root)
    unit = spec.unit if not path else None
    expected = expectation(schema, unit)
    if spec.sensitive:
        return Problem(rule, spec.key, f"{spec.key} must be {expected}; its value is not shown", None)
    if rule == rules.STRUCTURE:
        if violation.keyword == "propertyNames" and isinstance(found, dict):
            return _names(spec.key, name, schema, found, root, pointer)
        return Problem(rule, spec.key, _structure(name, violation, schema, found), None, pointer)
    if value is None and not path and written == "":
        hint = "write a value, or delete the line: then a lower layer or the default is served"
        return Problem(rule, spec.key, f"{name} must be {expected}, and is empty", hint, pointer)
    advice = _hint(spec.key, schema, found, written)
    return Problem(
        rule, spec.key, f"{name} must be {expected}, and is {shown(found, written)}", advice, pointer
    )


def cross_problem(
    settings: Mapping[str, SettingSpec],
    root: Mapping[str, Any],
    violation: Violation,
    values: Mapping[str, JSON],
) -> Problem:
    """What one violation of a rule between the settings of a category means."""
    rule = _broken_rule(root, violation)
    involved = [key for key in _mentioned(rule, settings) if key in settings]
    triggers = [key for key in _mentioned(rule.get("if", {}), settings) if key in values]
    first = str(violation.path[0]) if violation.path else None
    keys = tuple(dict.fromkeys([*([first] if first else []), *triggers, *involved]))
    told = rule.get("description") or rule.get("$comment")
    if told is None:
        told = _told(settings, violation, rule, values, first)
    if involved and first is None and violation.keyword not in ("required", "dependentRequired"):
        told += f" (the rule looks at {', '.join(involved)})"
    key = first or next((each for each in keys if each in values), keys[0] if keys else "")
    return Problem(rules.CROSS_KEY, key, str(told), None, "", keys)


def expectation(schema: Mapping[str, Any], unit: str | None = None) -> str:
    """What a subschema asks for: `a whole number of seconds, at least 1`."""
    if "const" in schema:
        return shown(schema["const"])
    if "enum" in schema:
        return _either([shown(choice) for choice in schema["enum"]])
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else list(kinds or ())
    said = (
        _either([_TYPES.get(name, name) for name in names]) if names else "a value that its contract allows"
    )
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


def _hint(key: str, schema: Mapping[str, Any], value: JSON, written: str | None) -> str | None:
    kinds = schema.get("type", ())
    if isinstance(value, str):
        return _hint_for_text(kinds, schema, value)
    if kinds == "string" and written and not isinstance(value, dict | list):
        return f'without quotes {written} is {_is(value)}; write {key}: "{written}"'
    return None


def _hint_for_text(kinds: Any, schema: Mapping[str, Any], value: str) -> str | None:
    if kinds == "boolean":
        word = value.casefold()
        meant = "false" if word in _FALSE_WORDS else "true" if word in _TRUE_WORDS else None
        return f"did you mean {meant}? In YAML 1.2 {value} is text" if meant else None
    if "enum" in schema:
        return did_you_mean(value, [each for each in schema["enum"] if isinstance(each, str)])
    if kinds in ("integer", "number"):
        return _hint_for_number(value)
    return None


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


def _names(
    key: str,
    name: str,
    schema: Mapping[str, Any],
    found: Mapping[str, Any],
    root: Mapping[str, Any],
    pointer: str,
) -> Problem:
    allowed = schema.get("propertyNames", True)
    check = compile_schema({"$defs": root.get("$defs", {}), "allOf": [allowed]})
    bad = [each for each in found if not check.is_valid(each)]
    choices = _dereferenced(allowed, root).get("enum", [])
    hint = did_you_mean(bad[0], [each for each in choices if isinstance(each, str)]) if bad else None
    hint = hint or (f"the names are {_listed([str(each) for each in choices])}" if choices else None)
    below = f"{pointer}/{escape(bad[0])}" if bad else pointer
    return Problem(rules.STRUCTURE, key, f"{name} must not hold {_listed(bad)}", hint, below)


def _structure(name: str, violation: Violation, schema: Mapping[str, Any], found: JSON) -> str:
    keyword, expected = violation.keyword, schema.get(violation.keyword)
    if keyword == "required" and isinstance(found, dict):
        missing = [each for each in expected or () if each not in found]
        return f"{name} lacks {_listed(missing)}"
    if keyword in ("additionalProperties", "unevaluatedProperties") and isinstance(found, dict):
        unknown = [each for each in found if each not in schema.get("properties", {})]
        return f"{name} must not hold {_listed(unknown)}"
    counts = {
        "minItems": f"must have at least {expected} items",
        "maxItems": f"must have at most {expected} items",
        "minProperties": f"must have at least {expected} members",
        "maxProperties": f"must have at most {expected} members",
        "uniqueItems": "must not hold an item twice",
        "contains": "lacks an item that its contract asks for",
    }
    return f"{name} {counts.get(keyword, 'does not have the form that its contract describes')}"


def _told(
    settings: Mapping[str, SettingSpec],
    violation: Violation,
    rule: Mapping[str, Any],
    values: Mapping[str, JSON],
    first: str | None,
) -> str:
    if violation.keyword in ("required", "dependentRequired"):
        missing = [key for key in _required(rule) if key not in values]
        because = [key for key in _mentioned(rule.get("if", {}), settings) if key in values]
        triggers = [key for key in rule.get("dependentRequired", {}) if key in values] or because
        said = f"{_listed(missing)} must be set" if missing else "a setting that must be set is missing"
        return f"{said}, because of {_listed(triggers)}" if triggers else said
    if first is not None and first in settings and not settings[first].sensitive:
        kind = settings[first].schema.get("type", ())
        schema = {"type": kind, **_property(rule, first, violation.keyword)}
        name, found = spoken(first, violation.path[1:]), _follow(values, violation.path)
        reason = [key for key in _mentioned(rule.get("if", {}), settings) if key in values and key != first]
        suffix = f", because of {_listed(reason)}" if reason else ""
        return f"{name} must be {expectation(schema)} here, and is {shown(found)}{suffix}"
    return "the settings of this category contradict each other"


def _broken_rule(root: Mapping[str, Any], violation: Violation) -> Mapping[str, Any]:
    """The part of the contract that states the rule: one branch of `allOf`, else its own keywords."""
    path: list[str | int] = [*violation.schema_path, "", ""]
    first, position = path[0], path[1]
    if first == "allOf" and isinstance(position, int):
        branch = root["allOf"][position]
        return branch if isinstance(branch, Mapping) else {}
    if first in ("if", "then", "else"):
        return {name: root[name] for name in ("if", "then", "else", "$comment") if name in root}
    return {str(first): root[str(first)]} if first in root else {}


def _mentioned(schema: Any, settings: Mapping[str, SettingSpec]) -> list[str]:
    """Keys of settings that occur anywhere in a subschema, in order."""
    found: dict[str, None] = {}

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                if name in settings:
                    found[name] = None
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str) and value in settings:
            found[value] = None

    walk(schema)
    return list(found)


def _required(schema: Any) -> list[str]:
    found: list[str] = []
    if isinstance(schema, Mapping):
        for name, inner in schema.items():
            if name == "required" and isinstance(inner, list):
                found.extend(inner)
            elif name == "dependentRequired" and isinstance(inner, Mapping):
                found.extend(each for needed in inner.values() for each in needed)
            elif name != "if":
                found.extend(_required(inner))
    elif isinstance(schema, list):
        for inner in schema:
            found.extend(_required(inner))
    return list(dict.fromkeys(found))


def _property(rule: Mapping[str, Any], key: str, keyword: str) -> Mapping[str, Any]:
    """The subschema for `key` with `keyword`, wherever a rule states it outside of its `if`."""
    for name, inner in rule.items():
        if name == "if" or not isinstance(inner, Mapping | list):
            continue
        for each in inner if isinstance(inner, list) else [inner]:
            if not isinstance(each, Mapping):
                continue
            own = each.get("properties", {}).get(key) if isinstance(each.get("properties"), Mapping) else None
            if isinstance(own, Mapping) and keyword in own:
                return own
            found = _property(each, key, keyword)
            if found:
                return found
    return {}


def _follow(value: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return value
    return value


def _subschema(
    schema: Mapping[str, Any], path: Sequence[str | int], root: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The subschema that describes a part of a value, by `properties`, `items` and `$ref`; {} where unclear."""
    current: Any = _dereferenced(schema, root)
    for part in path:
        if isinstance(part, int):
            current = current.get("items", {})
        else:
            current = current.get("properties", {}).get(part, current.get("additionalProperties", {}))
        current = _dereferenced(current, root)
    return current if isinstance(current, Mapping) else {}


def _dereferenced(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(64):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        schema = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return {}


def _either(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
