"""The contract of a category: what its settings are, and what a value must be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from kemudi.schema import rules
from kemudi.schema.cross_messages import cross_problem
from kemudi.schema.documents import JSON, Place, escape
from kemudi.schema.json_documents import JsonDocument
from kemudi.schema.messages import Problem, value_problem
from kemudi.schema.model import (
    SEALED_PATTERN,
    contract_from_model,
    contract_text,
    editor_rendering,
    setting,
    write_contracts,
)
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.scalars import EXACT_INTEGER
from kemudi.schema.sentences import sentence
from kemudi.schema.validator import Validator, Violation, compile_schema

__all__ = [
    "Contract",
    "Problem",
    "SettingSpec",
    "contract_from_model",
    "contract_text",
    "editor_rendering",
    "setting",
    "write_contracts",
]

CROSS_KEYWORDS: Final = (
    "required",
    "dependentRequired",
    "dependentSchemas",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "minProperties",
    "maxProperties",
)


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One setting, as its contract describes it.

    Attributes:
        key: Its name, unique in the config repo.
        type: A JSON type, several joined by `|`, or `any`.
        default: Served when no layer sets the key; None also where there is no default.
        has_default: Whether the contract has one.
        description: For a config author.
        sensitive: Sealed in git and in the store.
        requires_restart: A running process keeps the value that it started with.
        owner: The team that answers for it.
        unit: `seconds`, `rows`, …
        expires: The day, `YYYY-MM-DD`, by which it should be gone.
        bigint: Integers may go beyond ±2^53.
        schema: Its subschema.
    """

    key: str
    type: str
    default: JSON
    has_default: bool
    description: str
    sensitive: bool
    requires_restart: bool
    owner: str | None
    unit: str | None
    expires: str | None
    bigint: bool
    schema: Mapping[str, JSON]

    @property
    def said_sensitive(self) -> bool | None:
        """What the contract says in so many words; None = nothing, so the name of the key counts."""
        said = self.schema.get("x-kemudi-sensitive")
        return said if isinstance(said, bool) else None


class Contract:
    """One category's JSON Schema, ready to check values. Immutable; safe to share between threads."""

    def __init__(
        self,
        category: str,
        file: str,
        schema: Mapping[str, Any],
        settings: Mapping[str, SettingSpec],
        document: JsonDocument | None = None,
    ) -> None:
        self.category = category
        self.file = file
        self.schema = schema
        self.settings = MappingProxyType(dict(settings))
        self.sensitive = frozenset(key for key, spec in settings.items() if spec.sensitive)
        self.restart = frozenset(key for key, spec in settings.items() if spec.requires_restart)
        self.integers = frozenset(key for key, spec in settings.items() if _is_integer(spec))
        self.structured = frozenset(key for key, spec in settings.items() if _may_nest(spec))
        self._document = document
        self.has_cross_rules = any(name in schema for name in CROSS_KEYWORDS)

    def place_of(self, key: str) -> Place:
        """Where the contract describes a setting; the file where that is not known."""
        if self._document is None:
            return Place(self.file, 1, 1)
        return self._document.place(f"/properties/{escape(key)}")

    @cached_property
    def defaults(self) -> Mapping[str, JSON]:
        """The declared defaults by key."""
        return MappingProxyType(
            {key: spec.default for key, spec in self.settings.items() if spec.has_default}
        )

    def file_is_valid(self, values: dict[str, JSON]) -> bool:
        """Whether all values of one layer's file satisfy the contract; sealed values only look sealed."""
        return self._file_validator.is_valid(values)

    def check_value(self, key: str, value: JSON, written: str | None = None) -> tuple[Problem, ...]:
        """What is wrong with a plain value of one setting; for a sensitive one, with its plaintext.

        Args:
            key: The setting.
            value: Its value, as `documents` reads it.
            written: The scalar as it stands in the file, if it is a plain one: it makes the hint better.
        """
        spec = self.settings.get(key)
        if spec is None:
            hint = did_you_mean(key, self.settings)
            message = sentence(
                "%(key)s is no setting of the category %(category)s", key=key, category=self.category
            )
            return (Problem(rules.UNKNOWN_KEY, key, message, hint),)
        if not spec.bigint and _beyond_exact(value):
            return (_too_large(spec),)
        violations = self._value_validator.violations({key: value})
        found = (self._value_problem(spec, each, value, written) for each in violations)
        return tuple(dict.fromkeys(found))

    def _value_problem(
        self, spec: SettingSpec, violation: Violation, value: JSON, written: str | None
    ) -> Problem:
        return value_problem(spec, violation, value, self.schema, written)

    def check_together(self, values: Mapping[str, JSON]) -> tuple[Problem, ...]:
        """What is wrong with the resolved values of the whole category, beyond each value alone.

        A sensitive setting takes part with its sealed text, so a rule can ask whether it is set.
        """
        if not self.has_cross_rules:
            return ()
        plain = dict(values)
        if self._cross_validator.is_valid(plain):
            return ()
        found = (
            cross_problem(self.settings, self.schema, violation, plain)
            for violation in self._cross_validator.violations(plain)
        )
        return tuple(dict.fromkeys(found))

    def normalise(self, key: str, value: JSON) -> JSON:
        """The value as it is served: `1000.0` under an integer contract is the integer 1000."""
        if type(value) is float:
            return int(value) if key in self.integers and value.is_integer() else value
        if type(value) in (dict, list) and key in self.structured:
            return _normalised(value, self.settings[key].schema, self._definitions, 0)
        return value

    @cached_property
    def _definitions(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.schema.get("$defs", {})
        return found

    @cached_property
    def _value_validator(self) -> Validator:
        return compile_schema(self._single_values(self.schema["properties"]))

    @cached_property
    def _file_validator(self) -> Validator:
        if not self.sensitive:
            return self._value_validator
        sealed = {"type": "string", "pattern": SEALED_PATTERN}
        properties = {
            key: sealed if key in self.sensitive else subschema
            for key, subschema in self.schema["properties"].items()
        }
        return compile_schema(self._single_values(properties))

    @cached_property
    def _cross_validator(self) -> Validator:
        names = (*CROSS_KEYWORDS, "$defs")
        return compile_schema({name: self.schema[name] for name in names if name in self.schema})

    def _single_values(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"properties": dict(properties), "additionalProperties": False}
        if "$defs" in self.schema:
            schema["$defs"] = self.schema["$defs"]
        return schema


def _is_integer(spec: SettingSpec) -> bool:
    types = spec.type.split("|")
    return "integer" in types and "number" not in types


def _may_nest(spec: SettingSpec) -> bool:
    return bool({"object", "array", "any"} & set(spec.type.split("|")))


def _too_large(spec: SettingSpec) -> Problem:
    message = sentence(
        "%(key)s holds an integer beyond ±2^53, which many readers cannot keep exactly", key=spec.key
    )
    hint = sentence("use text for identifiers, or set x-kemudi-bigint in the contract")
    return Problem(rules.NUMBER, spec.key, message, hint)


def _beyond_exact(value: JSON) -> bool:
    return any(type(each) is int and not -EXACT_INTEGER <= each <= EXACT_INTEGER for each in _scalars(value))


def _scalars(value: JSON) -> Iterator[JSON]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _scalars(inner)
    else:
        yield value


def _normalised(value: JSON, schema: Any, definitions: Mapping[str, Any], depth: int) -> JSON:
    """Follow `properties`, `items` and `$ref` of a structured value down to its integers."""
    if not isinstance(schema, Mapping) or depth > 64:
        return value
    reference = schema.get("$ref")
    if isinstance(reference, str):
        schema = definitions.get(reference.removeprefix("#/$defs/"), {})
        return _normalised(value, schema, definitions, depth + 1)
    if type(value) is float:
        return int(value) if schema.get("type") == "integer" and value.is_integer() else value
    if isinstance(value, list):
        items = schema.get("items", True)
        return [_normalised(item, items, definitions, depth + 1) for item in value]
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return {
            name: _normalised(inner, properties.get(name, others), definitions, depth + 1)
            for name, inner in value.items()
        }
    return value
