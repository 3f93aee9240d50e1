"""Contract files: read, held against a fixed meta-schema, and turned into a `Contract`.

The meta-schema is narrower than JSON Schema: a misspelt keyword or annotation would silently protect nothing, and
whatever could reach outside the file or take unbounded time is refused here, before any library sees it.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final, cast

from kemudi.schema import rules
from kemudi.schema.contract import Contract, SettingSpec
from kemudi.schema.documents import JSON, escape
from kemudi.schema.findings import Finding
from kemudi.schema.json_documents import JsonDocument, read_json
from kemudi.schema.metaschema import MetaSchema
from kemudi.schema.sentences import sentence
from kemudi.schema.validator import SchemaRefusedError, compile_schema

KEY: Final = re.compile(r"[A-Z][A-Z0-9_]{0,127}", re.ASCII)

_JSON_TYPES: Final = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def read_contract(data: bytes, file: str, category: str) -> tuple[Contract | None, tuple[Finding, ...]]:
    """Read `contracts/<category>.schema.json`. Never raises on content.

    With findings there is still a contract where values can be held against it.
    """
    document, findings = read_json(data, file)
    if document is None:
        return None, findings
    reader = _Reader(document)
    contract = reader.contract(category)
    return contract, tuple(sorted(reader.findings))


class _Reader:
    def __init__(self, document: JsonDocument) -> None:
        self._document = document
        self.findings: list[Finding] = []

    def contract(self, category: str) -> Contract | None:
        schema = self._document.values
        if not self._has_shape(schema):
            return None
        meta = MetaSchema(schema, self._note)
        meta.check()
        if meta.unusable or not self._compiles(schema):
            return None
        properties = cast("dict[str, dict[str, Any]]", schema["properties"])
        settings = {key: self._setting(key, subschema, schema) for key, subschema in properties.items()}
        contract = Contract(category, self._document.file, schema, settings, self._document)
        self._check_defaults(contract)
        return contract

    def _has_shape(self, schema: Mapping[str, JSON]) -> bool:
        if schema.get("type", "object") != "object":
            self._note("/type", rules.CONTRACT_SHAPE, sentence("a contract describes an object"))
        if schema.get("additionalProperties", False) is not False:
            message = sentence("a contract knows all its settings, so additionalProperties is false")
            self._note("/additionalProperties", rules.CONTRACT_SHAPE, message)
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            self._note(
                "/properties",
                rules.CONTRACT_SHAPE,
                sentence("a contract lists its settings under properties"),
            )
            return False
        usable = True
        for key, subschema in properties.items():
            if not isinstance(subschema, dict):
                at = f"/properties/{escape(key)}"
                self._note(at, rules.CONTRACT_SHAPE, sentence("a setting is described by an object"), key)
                usable = False
        return usable

    def _compiles(self, schema: Mapping[str, JSON]) -> bool:
        try:
            compile_schema(schema)
        except SchemaRefusedError as error:
            pointer = "".join(f"/{escape(str(part))}" for part in error.path)
            at = f"{_spoken(error.path)}: " if error.path else ""
            self._note(
                pointer,
                rules.CONTRACT_SHAPE,
                sentence("this is not JSON Schema 2020-12: %(at)s%(error)s", at=at, error=error),
            )
            return False
        return True

    def _setting(self, key: str, subschema: Mapping[str, Any], root: Mapping[str, Any]) -> SettingSpec:
        at = f"/properties/{escape(key)}"
        if not KEY.fullmatch(key):
            message = sentence(
                "%(key)s is not a name of A-Z, 0-9 and _, a letter first, up to 128 characters", key=repr(key)
            )
            hint = _suggested(key)
            self._note(at, rules.KEY_NAME, message, key, hint)
        notes = self._annotations(key, subschema, at)
        sensitive = bool(notes.get("sensitive"))
        description = subschema.get("description")
        if not isinstance(description, str) or not description.strip():
            self._note(at, rules.NO_DESCRIPTION, sentence("%(key)s has no description", key=key), key)
            description = ""
        has_default = "default" in subschema
        if has_default and sensitive:
            message = sentence("%(key)s is sensitive, so its contract holds no default", key=key)
            self._note(f"{at}/default", rules.NO_DEFAULT, message, key)
        elif not has_default and not sensitive:
            self._note(at, rules.NO_DEFAULT, sentence("%(key)s has no default", key=key), key)
        return SettingSpec(
            key=key,
            type=_type(subschema, root),
            default=subschema.get("default") if not sensitive else None,
            has_default=has_default and not sensitive,
            description=description,
            sensitive=sensitive,
            requires_restart=bool(notes.get("requires-restart")),
            owner=notes.get("owner"),
            unit=notes.get("unit"),
            expires=notes.get("expires"),
            bigint=bool(notes.get("bigint")),
            schema=subschema,
        )

    def _annotations(self, key: str, subschema: Mapping[str, Any], at: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in subschema.items():
            if not name.startswith("x-kemudi-"):
                continue
            short = name.removeprefix("x-kemudi-")
            expected = _ANNOTATIONS.get(short)
            if expected is None:
                continue  # the meta-schema has named it
            kind, what = expected
            if type(value) is not kind or (short == "expires" and not _is_day(value)):
                self._note(
                    f"{at}/{name}",
                    rules.CONTRACT_ANNOTATION,
                    sentence("%(name)s must be %(expected)s", name=name, expected=what),
                    key,
                )
                if short == "sensitive":
                    found[short] = True  # better masked than shown
            else:
                found[short] = value
        return found

    def _check_defaults(self, contract: Contract) -> None:
        if contract.file_is_valid(dict(contract.defaults)):
            return
        for key, default in contract.defaults.items():
            for problem in contract.check_value(key, default):
                at = f"/properties/{escape(key)}/default"
                message = sentence(
                    "the default does not satisfy the contract: %(message)s", message=problem.message
                )
                self._note(at, rules.BAD_DEFAULT, message, key, problem.hint)

    def _note(
        self, pointer: str, rule: str, message: str, key: str | None = None, hint: str | None = None
    ) -> None:
        place = self._document.place(pointer)
        if key is None and pointer.startswith("/properties/"):
            key = pointer.split("/")[2]
        self.findings.append(Finding(place.file, place.line, place.column, rule, pointer, key, message, hint))


_ANNOTATIONS: Final[dict[str, tuple[type, str]]] = {
    "sensitive": (bool, sentence("true or false")),
    "requires-restart": (bool, sentence("true or false")),
    "bigint": (bool, sentence("true or false")),
    "owner": (str, sentence("text")),
    "unit": (str, sentence("text")),
    "expires": (str, sentence("a day, YYYY-MM-DD")),
}


def _is_day(value: Any) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == str(value)
    except ValueError:
        return False


def _type(subschema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> str:
    """The JSON types that a subschema allows, as far as it says so itself."""
    kinds = subschema.get("type")
    if isinstance(kinds, str):
        return kinds
    if isinstance(kinds, list):
        return "|".join(kinds)
    choices = subschema.get("enum", [subschema["const"]] if "const" in subschema else None)
    if choices:
        return "|".join(dict.fromkeys(_JSON_TYPES[type(choice)] for choice in choices))
    reference = subschema.get("$ref")
    if isinstance(reference, str) and depth < 64:
        target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        return _type(target, root, depth + 1) if isinstance(target, dict) else "any"
    branches = subschema.get("anyOf") or subschema.get("oneOf")
    if branches and depth < 64 and all(isinstance(branch, dict) for branch in branches):
        found = dict.fromkeys(_type(branch, root, depth + 1) for branch in branches)
        return "any" if "any" in found else "|".join(found)
    return "any"


def _suggested(key: str) -> str | None:
    upper = re.sub(r"[^A-Z0-9_]+", "_", key.upper())
    return sentence("write %(name)s", name=upper) if KEY.fullmatch(upper) else None


def _spoken(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path)
