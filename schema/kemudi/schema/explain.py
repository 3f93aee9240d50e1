"""Where the value of one setting comes from: the layer, the line, and what it replaced."""

from dataclasses import dataclass
from typing import Any

from kemudi.schema.contract import SettingSpec
from kemudi.schema.documents import JSON, Place
from kemudi.schema.envelope import Envelope
from kemudi.schema.errors import UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.secret import MASK
from kemudi.schema.state import ConfigState
from kemudi.schema.wording import expectation, shown


@dataclass(frozen=True, slots=True)
class Explanation:
    """The provenance of one setting in one environment. Never holds a sensitive value.

    Attributes:
        env: The environment.
        category: The setting's category.
        spec: What its contract says.
        value: As it is served; None for a sensitive or unset one.
        layer: The layer that set it, `default`, or None where nothing does.
        place: Where the value stands; None for a default.
        overrides: Layer, place and value of what it replaced, the nearest first.
        contract: Where the contract describes it.
    """

    env: str
    category: str
    spec: SettingSpec
    value: JSON
    layer: str | None
    place: Place | None
    overrides: tuple[tuple[str, Place, JSON], ...]
    contract: Place

    def as_json(self) -> dict[str, Any]:
        """For `kemudi explain --json`."""
        source = {"file": self.place.file, "line": self.place.line} if self.place is not None else None
        return {
            "key": self.spec.key,
            "env": self.env,
            "category": self.category,
            "value": self.value,
            "type": self.spec.type,
            "layer": self.layer,
            "source": source,
            "overrides": [
                {"layer": layer, "file": place.file, "line": place.line, "value": value}
                for layer, place, value in self.overrides
            ],
            "default": self.spec.default,
            "has_default": self.spec.has_default,
            "description": self.spec.description,
            "sensitive": self.spec.sensitive,
            "requires_restart": self.spec.requires_restart,
            "owner": self.spec.owner,
            "unit": self.spec.unit,
            "expires": self.spec.expires,
            "contract": {"file": self.contract.file, "line": self.contract.line},
        }

    def as_text(self) -> str:
        """For people, one fact a line."""
        value = "is not set" if self.layer is None else f"is {self._said(self.value)}"
        facts = [f"  {name:<10} {text}" for name, text in self._facts(self.spec) if text]
        return "\n".join([f"{self.spec.key} {value} in {self.env}", *facts])

    def _facts(self, spec: SettingSpec) -> list[tuple[str, str]]:
        source = str(self.place) if self.place is not None else self.layer or ""
        facts = [("from", source)]
        facts += [
            ("overrides", f"{place}  {self._said(old)}  [{layer}]") for layer, place, old in self.overrides
        ]
        facts += [
            ("default", self._said(spec.default) if spec.has_default else "none"),
            ("type", expectation(spec.schema, spec.unit)),
            ("about", spec.description),
            ("restart", "a process keeps the value that it started with" if spec.requires_restart else ""),
            ("sensitive", "sealed in git and in the store" if spec.sensitive else ""),
            ("owner", spec.owner or ""),
            ("expires", spec.expires or ""),
            ("contract", str(self.contract)),
        ]
        return facts

    def _said(self, value: JSON) -> str:
        return MASK if self.spec.sensitive else shown(value)


def explain(state: ConfigState, env: str, key: str) -> Explanation:
    """Explain one setting. Raises UsageError for an unknown environment or key."""
    environments = [each.name for each in state.manifest.environments] if state.manifest else []
    if env not in environments:
        raise UsageError(f"there is no environment {env!r}", hint=did_you_mean(env, environments))
    category = state.category_of.get(key)
    if category is None:
        raise UsageError(f"no contract has a setting {key!r}", hint=did_you_mean(key, state.category_of))
    contract = state.contracts[category]
    spec = contract.settings[key]
    resolved = state.resolve(env)[category].settings.get(key)
    if resolved is None:
        return Explanation(env, category, spec, None, None, None, (), contract.place_of(key))
    overrides = tuple((old.layer, old.place, _open(spec, old.value)) for old in resolved.overrides)
    value = _open(spec, resolved.value)
    at = contract.place_of(key)
    return Explanation(env, category, spec, value, resolved.layer, resolved.place, overrides, at)


def _open(spec: SettingSpec, value: JSON | Envelope) -> JSON:
    return None if spec.sensitive or isinstance(value, Envelope) else value
