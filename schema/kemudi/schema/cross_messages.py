"""What a broken rule between settings means, and which of them broke it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kemudi.schema import rules
from kemudi.schema.documents import JSON
from kemudi.schema.messages import Problem, follow
from kemudi.schema.sentences import listed, sentence
from kemudi.schema.validator import Violation
from kemudi.schema.wording import expectation, shown, spoken

if TYPE_CHECKING:
    from kemudi.schema.contract import SettingSpec


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
    described = rule.get("description") or rule.get("$comment")
    told = str(described) if described else _told(settings, violation, rule, values, first)
    if involved and first is None and violation.keyword not in ("required", "dependentRequired"):
        told = sentence("%(told)s (the rule looks at %(keys)s)", told=told, keys=", ".join(involved))
    key = first or next((each for each in keys if each in values), keys[0] if keys else "")
    return Problem(rules.CROSS_KEY, key, told, None, "", keys)


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
        said = (
            sentence("%(missing)s must be set", missing=listed(missing))
            if missing
            else sentence("a setting that must be set is missing")
        )
        return _because(said, triggers)
    if first is not None and first in settings and not settings[first].sensitive:
        kind = settings[first].schema.get("type", ())
        schema = {"type": kind, **_property(rule, first, violation.keyword)}
        name, found = spoken(first, violation.path[1:]), follow(values, violation.path)
        reason = [key for key in _mentioned(rule.get("if", {}), settings) if key in values and key != first]
        said = sentence(
            "%(name)s must be %(expected)s here, and is %(found)s",
            name=name,
            expected=expectation(schema),
            found=shown(found),
        )
        return _because(said, reason)
    return sentence("the settings of this category contradict each other")


def _because(said: str, keys: Sequence[str]) -> str:
    return sentence("%(said)s, because of %(keys)s", said=said, keys=listed(keys)) if keys else said


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
