"""What an import would do to a config repo: contracts, and for each setting what becomes of its value. No effect."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from kemudi.repo.importing.found import Found, Gathered, Left
from kemudi.repo.importing.naming import categories_by_word, description_of, unit_of
from kemudi.repo.importing.typing_values import is_exact, read_text, type_of
from kemudi.schema.contract import SettingSpec, contract_text, editor_rendering
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope, is_sealed
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.guard import SensitiveNames, looks_like
from kemudi.schema.guard import inspect as guard
from kemudi.schema.model import DIALECT
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.paths import contract_path
from kemudi.schema.state import ConfigState, File

Kind = Literal["new", "change", "same", "kept", "unset"]
"""A new setting; another value; the same one; a sealed value that stays; a setting without a value."""


_CAUTIOUS: Final = (
    "*SECRET*",
    "*TOKEN",
    "*APIKEY",
    "API_KEY",
    "SALT",
    "*_SALT",
    "*_ENCRYPTION_KEY",
    "*_SIGNING_KEY",
)
"""Taken for secrets on the way in, beside the names of the config repo: what was once in git cannot be called back."""


class _Unreadable(Enum):
    TEXT = "text"


_UNREADABLE: Final = _Unreadable.TEXT


@dataclass(frozen=True, slots=True)
class Row:
    """What becomes of one setting. Values of sensitive settings are in neither `as_json` nor `repr`.

    Attributes:
        key: The setting.
        category: Where its contract is, or will be.
        kind: What happens.
        type: By its contract.
        sensitive: Its value arrives sealed.
        is_new: Its contract entry is new.
        value: What the layer will say; None for none.
        place: Where it was found.
    """

    key: str
    category: str
    kind: Kind
    type: str
    sensitive: bool
    is_new: bool
    value: JSON = field(repr=False)
    place: str = ""

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "key": self.key,
            "category": self.category,
            "kind": self.kind,
            "type": self.type,
            "sensitive": self.sensitive,
            "new_setting": self.is_new,
            "value": None if self.sensitive else self.value,
            "place": self.place,
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """An import, ready to be committed.

    Attributes:
        gathered: What was found.
        state: The config repo with the contracts that the import needs.
        layer: Where the values go.
        rows: What becomes of each setting.
        files: Contracts and their editor renderings, by path.
        left: What is not taken over.
    """

    gathered: Gathered
    state: ConfigState
    layer: str
    rows: tuple[Row, ...]
    files: Mapping[str, bytes]
    left: tuple[Left, ...]

    @property
    def sensitive(self) -> frozenset[str]:
        """Every key whose values are sealed."""
        return frozenset(row.key for row in self.rows if row.sensitive)

    @property
    def must_seal(self) -> bool:
        """Whether there is a value to seal, now or in the log."""
        logged = {change.key for change in self.gathered.log}
        return any(
            row.sensitive and (row.kind in ("new", "change") or row.key in logged) for row in self.rows
        )


def draft(state: ConfigState, gathered: Gathered, layer: str, category: str | None = None) -> Draft:
    """Hold what was found against a config repo.

    Args:
        state: The config repo.
        gathered: What was found.
        layer: Where the values go.
        category: For every setting that is new; None: as the source groups them, else by their first word.

    Raises UsageError for an unknown layer, FindingsError when the config repo is not valid.
    """
    errors = [finding for finding in state.findings if finding.severity == "error"]
    if errors or state.manifest is None:
        raise FindingsError("the config repo has to be valid before anything is imported into it", errors)
    if layer not in state.manifest.layers:
        known = state.manifest.layers
        raise UsageError(
            f"there is no layer {layer!r}; there are: {', '.join(known)}", hint=did_you_mean(layer, known)
        )
    return _Drafting(state, gathered, layer, category, SensitiveNames(state.manifest.sensitive_names)).run()


class _Drafting:
    def __init__(
        self,
        state: ConfigState,
        gathered: Gathered,
        layer: str,
        category: str | None,
        names: SensitiveNames,
    ) -> None:
        self._names = names
        self._state = state
        self._gathered = gathered
        self._layer = layer
        self._left = list(gathered.left)
        new = [found.key for found in gathered.settings if found.key not in state.category_of]
        self._categories = categories_by_word(new)
        self._category = category
        self._values: dict[str, tuple[Found, JSON]] = {}

    def run(self) -> Draft:
        additions: dict[str, dict[str, Any]] = {}
        for found in self._gathered.settings:
            typed = self._typed(found)
            if typed is None:
                continue
            self._values[found.key] = (found, typed[0])
            if found.key not in self._state.category_of:
                home = self._category or found.category or self._categories[found.key]
                additions.setdefault(home, {})[found.key] = self._entry(found, *typed)
        files = _contracts(self._state, additions)
        state = self._state.update({path: File(path, data) for path, data in files.items()})
        rows = tuple(self._row(state, found, value) for found, value in self._values.values())
        return Draft(self._gathered, state, self._layer, rows, files, tuple(self._left))

    def _typed(self, found: Found) -> tuple[JSON, JSON] | None:
        """Value and default as JSON; None when the setting cannot be taken over."""
        category = self._state.category_of.get(found.key)
        spec = self._state.contracts[category].settings[found.key] if category is not None else None
        why = self._obstacle(found, spec)
        kind = spec.type if spec is not None else found.kind
        value, default = _reading(found.value, found, kind), _reading(found.default, found, kind)
        if why is None and spec is not None and value is _UNREADABLE:
            why = f"it is no {spec.type}, as its contract wants"
        # A type that the source itself does not keep to is not its type.
        value = found.value if value is _UNREADABLE else value
        default = None if default is _UNREADABLE else default
        if why is None and spec is None and value is None and default is None:
            why = "it says neither a value nor a default"
        if why is not None:
            self._left.append(Left(found.key, f"{found.place}: {why}"))
            return None
        return value, default

    def _obstacle(self, found: Found, spec: SettingSpec | None) -> str | None:
        """Why a setting must not be taken over as it is."""
        if spec is None:
            return "it was sealed for another config repo" if is_sealed(found.value) else None
        if spec.sensitive or not (found.sensitive or self._looks_secret(found, ())):
            return None
        return "it is a secret, and its contract does not say so; mark it x-kemudi-sensitive first"

    def _looks_secret(self, found: Found, more: tuple[str, ...]) -> bool:
        logged = [
            text for each in self._gathered.log if each.key == found.key for text in (each.old, each.new)
        ]
        names = SensitiveNames((*self._names.patterns, *more))
        return _is_secret(found.key, (found.value, found.default, *logged), names)

    def _entry(self, found: Found, value: JSON, default: JSON) -> dict[str, Any]:
        """The contract entry of a setting that is new."""
        sensitive = found.sensitive or self._looks_secret(found, _CAUTIOUS)
        known = value if value is not None else default
        kind = _type_for(known, default, found.kind)
        if default is None or type_of(default) not in (kind, "integer" if kind == "number" else kind):
            default = known
        entry: dict[str, Any] = {
            "type": kind,
            "description": description_of(found.key, found.description, self._gathered.source),
        }
        if not is_exact(known):
            entry["x-kemudi-bigint"] = True
        if sensitive:
            entry["x-kemudi-sensitive"] = True
        else:
            entry["default"] = default
        if found.requires_restart:
            entry["x-kemudi-requires-restart"] = True
        if entry["type"] in ("integer", "number") and (unit := unit_of(found.key)) is not None:
            entry["x-kemudi-unit"] = unit
        return entry

    def _row(self, state: ConfigState, found: Found, value: JSON) -> Row:
        category = state.category_of[found.key]
        spec = state.contracts[category].settings[found.key]
        is_new = found.key not in self._state.category_of
        kind = self._kind(state, category, spec, value, is_new=is_new)
        return Row(found.key, category, kind, spec.type, spec.sensitive, is_new, value, found.place)

    def _kind(
        self, state: ConfigState, category: str, spec: SettingSpec, value: JSON, *, is_new: bool
    ) -> Kind:
        file = state.layer_file(self._layer, category)
        here = file.values.get(spec.key) if file is not None else None
        if value is None:
            return "unset" if here is None else "change"
        effective = here if here is not None else _below(state, self._layer, category, spec.key)
        if is_sealed(value):
            return "same" if str(effective) == value else "kept"
        if spec.sensitive and here is not None:
            return "kept"
        if is_new:
            return "new"
        return "same" if _same(effective, value) else "change"


def _below(state: ConfigState, layer: str, category: str, key: str) -> JSON | Envelope:
    """What a layer has from those below it, where it says nothing itself."""
    assert state.manifest is not None  # noqa: S101  # `draft` has looked
    stacks = {
        env.layers[: env.layers.index(layer)] for env in state.manifest.environments if layer in env.layers
    }
    if len(stacks) != 1:
        return None
    for lower in reversed(next(iter(stacks))):
        file = state.layer_file(lower, category)
        if file is not None and key in file.values:
            return file.values[key]
    return state.contracts[category].defaults.get(key)


def _same(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one is not None and one == other and repr(one) == repr(other)


def _reading(value: JSON, found: Found, kind: str | None) -> JSON | _Unreadable:
    """What a value says by its type; `_UNREADABLE` if it is none of that type."""
    if value is None or is_sealed(value):
        return value
    if isinstance(value, str) and (found.is_text or kind not in (None, "string")):
        try:
            return read_text(value, kind)
        except ValueError:
            return _UNREADABLE
    return float(value) if kind == "number" and type(value) is int else value


def _type_for(value: JSON, default: JSON, kind: str | None) -> str:
    """The type of a contract entry: what the values are; a whole number where others are not is a number."""
    types = {type_of(each) for each in (value, default) if each is not None}
    if kind == "number" and types <= {"integer", "number"}:
        return "number"
    return "number" if types == {"integer", "number"} else type_of(value)


def _is_secret(key: str, values: tuple[JSON, ...], names: SensitiveNames) -> bool:
    """By the name of the key or of a member, or because a value has the form of a token."""
    for value in values:
        if value is None:
            continue
        found = guard(key, value, sensitive=None, names=names, layer="")
        if found is not None or (isinstance(value, str) and looks_like(value)):
            return True
    return names.match(key) is not None and all(isinstance(value, str | None) for value in values)


def _contracts(state: ConfigState, additions: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for category, entries in sorted(additions.items()):
        path = contract_path(category)
        there = state.files.get(path)
        schema: dict[str, Any] = json.loads(there.data) if there is not None else _empty_contract(category)
        schema["properties"] = dict(sorted({**schema["properties"], **entries}.items()))
        files[path] = contract_text(schema).encode()
        editor = path.replace("contracts/", "contracts/editor/")
        files[editor] = contract_text(editor_rendering(schema)).encode()
    return files


def _empty_contract(category: str) -> dict[str, Any]:
    return {
        "$schema": DIALECT,
        "title": category,
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
