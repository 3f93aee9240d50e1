"""Contracts written as pydantic models: the field helper, the export and its editor rendering."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kemudi.schema.documents import JSON

if TYPE_CHECKING:  # imported where it is used: reading contracts does without pydantic
    from pydantic import BaseModel

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EDITOR_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
SEALED_PATTERN: Final = r"^ENC\[kemudi:"

_MISSING: Final = object()
_MAP_KEYWORDS: Final = ("properties", "$defs", "patternProperties", "dependentSchemas")
_DATA_KEYWORDS: Final = ("default", "const", "enum", "examples", "required", "dependentRequired")


def setting(
    default: Any = _MISSING,
    *,
    description: str,
    sensitive: bool = False,
    requires_restart: bool = False,
    owner: str | None = None,
    unit: str | None = None,
    expires: str | None = None,
    bigint: bool = False,
    **constraints: Any,
) -> Any:
    """Declare one setting as a field of a pydantic model.

    Args:
        default: Served when no layer sets the key. A sensitive setting has none: pass None or leave it out.
        description: What the setting does, for a config author.
        sensitive: Sealed in git and in Redis, masked everywhere else.
        requires_restart: A running process keeps the value that it started with.
        owner: The team that answers for it.
        unit: `seconds`, `rows`, …
        expires: The day, `YYYY-MM-DD`, by which the setting should be gone.
        bigint: Allow integers beyond ±2^53.
        constraints: Handed to `pydantic.Field`: `ge`, `le`, `pattern`, `min_length`, … Those of a secret stand
            within its type: `Secret[Annotated[str, Field(min_length=8)]]`.
    """
    from pydantic import Field
    from pydantic_core import PydanticUndefined

    notes: dict[str, Any] = dict(constraints.pop("json_schema_extra", None) or {})
    annotations: dict[str, object] = {
        "x-kemudi-sensitive": sensitive,
        "x-kemudi-requires-restart": requires_restart,
        "x-kemudi-bigint": bigint,
        "x-kemudi-owner": owner,
        "x-kemudi-unit": unit,
        "x-kemudi-expires": expires,
    }
    notes.update({name: value for name, value in annotations.items() if value})
    if default is _MISSING:
        default = PydanticUndefined
    return Field(default, description=description, json_schema_extra=notes or None, **constraints)


def contract_from_model(category: str, model: "type[BaseModel]") -> dict[str, JSON]:
    """The JSON Schema 2020-12 of a category, without pydantic's noise and in a stable order."""
    schema = _plain(model.model_json_schema())
    for key, subschema in schema.get("properties", {}).items():
        if subschema.get("x-kemudi-sensitive"):
            schema["properties"][key] = _without_null(subschema)
    schema["$schema"] = DIALECT
    schema["title"] = category
    schema["type"] = "object"
    schema["additionalProperties"] = False
    ordered: dict[str, JSON] = _sorted(schema)
    return ordered


def editor_rendering(schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """The draft-07 form for editors: a sensitive property also accepts an `ENC[` string; nothing is required.

    A layer's file sets some of the keys, so `required` and the cross-key rules only hold for the whole.
    """
    rendered: dict[str, Any] = copy.deepcopy(dict(schema))
    for name in ("required", "dependentRequired", "dependentSchemas", "allOf", "anyOf", "oneOf", "not"):
        rendered.pop(name, None)
    for name in ("if", "then", "else"):
        rendered.pop(name, None)
    for key, subschema in rendered.get("properties", {}).items():
        if isinstance(subschema, dict) and subschema.get("x-kemudi-sensitive"):
            rendered["properties"][key] = _sealed_or(subschema)
    rendered = _draft07(rendered)
    rendered["$schema"] = EDITOR_DIALECT
    rendered["additionalProperties"] = False
    ordered: dict[str, JSON] = _sorted(rendered)
    return ordered


def write_contracts(models: "Mapping[str, type[BaseModel]]", folder: Path) -> tuple[Path, ...]:
    """Write `<category>.schema.json` and `editor/<category>.schema.json` for each model into `folder`.

    Returns the paths written. Raises OSError.
    """
    written: list[Path] = []
    (folder / "editor").mkdir(parents=True, exist_ok=True)
    for category, model in sorted(models.items()):
        contract = contract_from_model(category, model)
        name = f"{category}.schema.json"
        for path, content in (
            (folder / name, contract),
            (folder / "editor" / name, editor_rendering(contract)),
        ):
            path.write_text(contract_text(content), encoding="utf-8")
            written.append(path)
    return tuple(written)


def contract_text(schema: Mapping[str, JSON]) -> str:
    """The text of a contract as it is checked in: two spaces, UTF-8, one newline at the end."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop the titles that pydantic makes up, at every level, but not a property named `title`."""
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "title":
            continue
        if name in _MAP_KEYWORDS:
            kept[name] = {key: _plain(inner) for key, inner in value.items()}
        elif name in _DATA_KEYWORDS:
            kept[name] = value
        elif isinstance(value, dict):
            kept[name] = _plain(value)
        elif isinstance(value, list):
            kept[name] = [_plain(inner) if isinstance(inner, dict) else inner for inner in value]
        else:
            kept[name] = value
    return kept


def _without_null(subschema: dict[str, Any]) -> dict[str, Any]:
    """An optional sensitive field is one that may be unset; null is not a value of it."""
    bare = {name: value for name, value in subschema.items() if name != "default"}
    branches = [branch for branch in bare.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) == 1:
        del bare["anyOf"]
        bare = {**branches[0], **bare}
    return bare


def _sealed_or(subschema: dict[str, Any]) -> dict[str, Any]:
    notes = {name: value for name, value in subschema.items() if name in ("description", "default")}
    notes |= {name: value for name, value in subschema.items() if name.startswith("x-kemudi-")}
    rest = {name: value for name, value in subschema.items() if name not in notes}
    return {**notes, "anyOf": [{"type": "string", "pattern": SEALED_PATTERN}, rest]}


def _draft07(value: Any) -> Any:
    """Rewrite what 2020-12 spells otherwise. Only keywords that draft-07 has an equal for are kept strict."""
    if isinstance(value, list):
        return [_draft07(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {_spelled(name): _draft07(inner) for name, inner in value.items()}
    if "prefixItems" in renamed:
        if "items" in renamed:
            renamed["additionalItems"] = renamed.pop("items")
        renamed["items"] = renamed.pop("prefixItems")
    if isinstance(renamed.get("$ref"), str):
        renamed["$ref"] = renamed["$ref"].replace("#/$defs/", "#/definitions/")
    return renamed


def _spelled(name: str) -> str:
    return "definitions" if name == "$defs" else name


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
