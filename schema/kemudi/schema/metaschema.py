"""The fixed meta-schema of contracts: which keywords there are, and what they may refer to."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kemudi.schema import rules
from kemudi.schema.documents import escape
from kemudi.schema.model import DIALECT
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.patterns import PatternRefusedError, compile_pattern
from kemudi.schema.sentences import sentence

Note = Callable[[str, str, str, str | None, str | None], None]
"""Called with pointer, rule, message, key and hint."""

ANNOTATIONS: Final = frozenset(
    f"x-kemudi-{name}" for name in ("sensitive", "requires-restart", "owner", "unit", "expires", "bigint")
)
_ONE: Final = frozenset(
    {
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP: Final = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})
_PLAIN: Final = frozenset(
    {
        "$comment",
        "$ref",
        "const",
        "contentEncoding",
        "contentMediaType",
        "default",
        "dependentRequired",
        "deprecated",
        "description",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "readOnly",
        "required",
        "title",
        "type",
        "uniqueItems",
        "writeOnly",
    }
)
KEYWORDS: Final = _ONE | _LIST | _MAP | _PLAIN
_ROOT_ONLY: Final = frozenset({"$schema", "x-kemudi-owner"})
_NOT_AT_ROOT: Final = frozenset(
    {"$ref", "enum", "const", "patternProperties", "propertyNames", "unevaluatedProperties"}
)
_REFERENCE: Final = re.compile(r"#/\$defs/([^/]+)")
_MOST_EXPANDED: Final = 20_000


class MetaSchema:
    """One walk over a contract. `unusable` afterwards: no library may be given it."""

    def __init__(self, root: Mapping[str, Any], note: Note) -> None:
        self._root = root
        self._note = note
        self.unusable = False

    def check(self) -> None:
        """Note everything that the meta-schema refuses."""
        dialect = self._root.get("$schema", DIALECT)
        if dialect not in (DIALECT, f"{DIALECT}#"):
            self._refuse(
                "/$schema",
                rules.CONTRACT_SHAPE,
                sentence("the dialect of a contract is %(dialect)s", dialect=DIALECT),
            )
        for name in sorted(_NOT_AT_ROOT & self._root.keys()):
            message = sentence("%(name)s has no place at the top of a contract", name=name)
            self._refuse(f"/{escape(name)}", rules.CONTRACT_SHAPE, message)
        self._schema("", self._root, "")
        self._required_exist()
        if not self.unusable:
            self._check_size()

    def _schema(self, pointer: str, schema: Any, key: str) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            self._refuse(
                pointer, rules.CONTRACT_SHAPE, sentence("a subschema is an object or a boolean"), key
            )
            return
        for name, value in schema.items():
            at = f"{pointer}/{escape(name)}"
            if self._known(name, pointer, at, key):
                self._keyword(at, name, value, key)

    def _keyword(self, at: str, name: str, value: Any, key: str) -> None:
        if name in _ONE:
            self._schema(at, value, key)
        elif name in _LIST and isinstance(value, list):
            for position, inner in enumerate(value):
                self._schema(f"{at}/{position}", inner, key)
        elif name in _MAP and isinstance(value, dict):
            self._map(at, name, value, key)
        elif name == "pattern":
            self._pattern(at, value, key)
        elif name == "$ref":
            self._reference(at, value, key)

    def _map(self, at: str, name: str, schemas: Mapping[str, Any], key: str) -> None:
        for inner_name, inner in schemas.items():
            below = f"{at}/{escape(inner_name)}"
            if name == "patternProperties":
                self._pattern(below, inner_name, key)
            self._schema(below, inner, inner_name if at == "/properties" else key)

    def _known(self, name: str, pointer: str, at: str, key: str) -> bool:
        if name in KEYWORDS:
            return True
        if name.startswith("x-kemudi-"):
            self._annotation(name, pointer, at, key)
            return False
        if name in _ROOT_ONLY and not pointer:
            return False
        known = KEYWORDS | ANNOTATIONS
        hint = did_you_mean(name, known)
        if name in _IDENTITIES:
            said = sentence("%(name)s leads outside of the file", name=name)
            self._refuse(at, rules.REFERENCE, said, key, hint)
        else:
            said = sentence("%(name)s is no keyword of a contract", name=name)
            self._refuse(at, rules.CONTRACT_SHAPE, said, key, hint)
        return False

    def _annotation(self, name: str, pointer: str, at: str, key: str) -> None:
        if name not in ANNOTATIONS:
            hint = did_you_mean(name, ANNOTATIONS)
            self._note(
                at,
                rules.CONTRACT_ANNOTATION,
                sentence("there is no annotation %(name)s", name=name),
                key or None,
                hint,
            )
            return
        of_setting = pointer.count("/") == 2 and pointer.startswith("/properties/")
        if not of_setting and (pointer or name not in _ROOT_ONLY):
            message = sentence("%(name)s describes a whole setting, so it stands beside its type", name=name)
            self._note(at, rules.CONTRACT_ANNOTATION, message, key or None, None)

    def _pattern(self, at: str, pattern: Any, key: str) -> None:
        if not isinstance(pattern, str):
            return  # the library says so
        try:
            compile_pattern(pattern)
        except PatternRefusedError as error:
            message = sentence(
                "the pattern is refused at its character %(position)s: %(error)s",
                position=error.position + 1,
                error=error.args[0],
            )
            self._refuse(at, rules.PATTERN, message, key)

    def _reference(self, at: str, target: Any, key: str) -> None:
        found = _REFERENCE.fullmatch(target) if isinstance(target, str) else None
        if found is None:
            message = sentence("a $ref refers to #/$defs/… of the same contract; nothing is fetched")
            self._refuse(at, rules.REFERENCE, message, key)
        elif found.group(1) not in self._definitions:
            hint = did_you_mean(found.group(1), self._definitions)
            self._refuse(
                at,
                rules.REFERENCE,
                sentence("there is no %(target)s in this contract", target=target),
                key,
                hint,
            )

    def _required_exist(self) -> None:
        properties = self._root.get("properties", {})
        named = [("/required", name) for name in _texts(self._root.get("required"))]
        dependent = self._root.get("dependentRequired")
        if isinstance(dependent, dict):
            for trigger, needed in dependent.items():
                at = f"/dependentRequired/{escape(trigger)}"
                named.extend((at, name) for name in [trigger, *_texts(needed)])
        for at, name in named:
            if name not in properties:
                hint = did_you_mean(name, properties)
                self._note(
                    at,
                    rules.CONTRACT_SHAPE,
                    sentence("%(name)s is no setting of this contract", name=name),
                    None,
                    hint,
                )

    def _check_size(self) -> None:
        """Refuse circles, and definitions that refer to each other so often that checking takes forever."""
        size = _Size(self._definitions)
        expanded = size.of(self._root) + sum(size.definition(name) for name in self._definitions)
        for name in size.circular:
            self._refuse(
                f"/$defs/{name}", rules.REFERENCE, sentence("#/$defs/%(name)s refers to itself", name=name)
            )
        if expanded > _MOST_EXPANDED:
            message = sentence(
                "the contract has more than %(most_expanded)s parts once its $refs are followed",
                most_expanded=_MOST_EXPANDED,
            )
            self._refuse("", rules.REFERENCE, message)

    @property
    def _definitions(self) -> Mapping[str, Any]:
        found = self._root.get("$defs")
        return found if isinstance(found, dict) else {}

    def _refuse(self, at: str, rule: str, message: str, key: str = "", hint: str | None = None) -> None:
        self.unusable = True
        self._note(at, rule, message, key or None, hint)


class _Size:
    """How many parts a schema has once its references are followed; each definition is counted once."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._sizes: dict[str, int] = {}
        self._open: list[str] = []
        self.circular: dict[str, None] = {}

    def of(self, schema: Any) -> int:
        total = 1
        if isinstance(schema, dict):
            for name, inner in schema.items():
                if name == "$ref":
                    total += self.definition(str(inner).removeprefix("#/$defs/"))
                elif name != "$defs":
                    total += self.of(inner)
        elif isinstance(schema, list):
            total += sum(self.of(inner) for inner in schema)
        return min(total, _MOST_EXPANDED + 1)

    def definition(self, name: str) -> int:
        if name in self._open:
            self.circular[name] = None
            return 1
        if name not in self._sizes:
            self._open.append(name)
            self._sizes[name] = self.of(self._definitions.get(name))
            self._open.pop()
        return self._sizes[name]


_IDENTITIES: Final = frozenset(
    {"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$vocabulary", "id", "definitions"}
)


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
