"""What a violated keyword means, in words for a config author. A sensitive value is never part of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kemudi.schema import rules
from kemudi.schema.documents import JSON, escape
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import listed, sentence
from kemudi.schema.validator import Violation, compile_schema
from kemudi.schema.wording import alternatives, expectation, hint_for, shown, spoken

if TYPE_CHECKING:
    from kemudi.schema.contract import SettingSpec

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


_ANY: Final = {"name": "", "number": 0}
_COUNTS: Final = {
    "minItems": sentence("%(name)s must have at least %(number)s items", **_ANY),
    "maxItems": sentence("%(name)s must have at most %(number)s items", **_ANY),
    "minProperties": sentence("%(name)s must have at least %(number)s members", **_ANY),
    "maxProperties": sentence("%(name)s must have at most %(number)s members", **_ANY),
    "uniqueItems": sentence("%(name)s must not hold an item twice", **_ANY),
    "contains": sentence("%(name)s lacks an item that its contract asks for", **_ANY),
}


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
    found = follow(value, path)
    schema = _subschema(spec.schema, path, root)
    unit = spec.unit if not path else None
    expected = expectation(schema, unit)
    if spec.sensitive:
        return Problem(
            rule,
            spec.key,
            sentence("%(key)s must be %(expected)s; its value is not shown", key=spec.key, expected=expected),
            None,
        )
    if violation.keyword in ("anyOf", "oneOf") and alternatives(schema):
        rule = rules.WRONG_TYPE
    if rule == rules.STRUCTURE:
        if violation.keyword == "propertyNames" and isinstance(found, dict):
            return _names(spec.key, name, schema, found, root, pointer)
        return Problem(rule, spec.key, _structure(name, violation, schema, found), None, pointer)
    if value is None and not path and written == "":
        hint = sentence("write a value, or delete the line: then a lower layer or the default is served")
        return Problem(
            rule,
            spec.key,
            sentence("%(name)s must be %(expected)s, and is empty", name=name, expected=expected),
            hint,
            pointer,
        )
    advice = hint_for(spec.key, schema, found, written)
    return Problem(
        rule,
        spec.key,
        sentence(
            "%(name)s must be %(expected)s, and is %(found)s",
            name=name,
            expected=expected,
            found=shown(found, written),
        ),
        advice,
        pointer,
    )


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
    hint = hint or (
        sentence("the names are %(listed)s", listed=listed([str(each) for each in choices]))
        if choices
        else None
    )
    below = f"{pointer}/{escape(bad[0])}" if bad else pointer
    return Problem(
        rules.STRUCTURE,
        key,
        sentence("%(name)s must not hold %(bad)s", name=name, bad=listed(bad)),
        hint,
        below,
    )


def _structure(name: str, violation: Violation, schema: Mapping[str, Any], found: JSON) -> str:
    keyword, expected = violation.keyword, schema.get(violation.keyword)
    if keyword == "required" and isinstance(found, dict):
        missing = [each for each in expected or () if each not in found]
        return sentence("%(name)s lacks %(missing)s", name=name, missing=listed(missing))
    if keyword in ("additionalProperties", "unevaluatedProperties") and isinstance(found, dict):
        unknown = [each for each in found if each not in schema.get("properties", {})]
        return sentence("%(name)s must not hold %(bad)s", name=name, bad=listed(unknown))
    said = _COUNTS.get(keyword)
    if said is None:
        return sentence("%(name)s does not have the form that its contract describes", name=name)
    return said.filled(name=name, number=expected)


def follow(value: Any, path: Sequence[str | int]) -> Any:
    """The part of a value at a path, as far as the path leads."""
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
