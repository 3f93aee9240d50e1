"""How two environments differ at one state. Pure; secrets are compared by what can be known without a key."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kemudi.repo.plan import same_value
from kemudi.schema.contract import SettingSpec
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import sentence
from kemudi.schema.state import ConfigState, ResolvedSetting

DifferenceState = Literal["different", "unknown"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that two environments do not, or may not, have alike.

    Attributes:
        key: The setting.
        category: Its category.
        state: `unknown`: two seals that may hold the same value.
        left: The value on the left; of a secret only whether there is one.
        right: Likewise.
        left_layer: The layer that sets it, `default`, None for no value.
        right_layer: Likewise.
        sensitive: Whether it is a secret.
    """

    key: str
    category: str
    state: DifferenceState
    left: JSON
    right: JSON
    left_layer: str | None
    right_layer: str | None
    sensitive: bool

    def as_json(self) -> dict[str, Any]:
        """For `--json`, the console and the API."""
        return {
            "key": self.key,
            "category": self.category,
            "state": self.state,
            "left": None if self.sensitive else self.left,
            "right": None if self.sensitive else self.right,
            "left_set": self.left_layer is not None,
            "right_set": self.right_layer is not None,
            "left_layer": self.left_layer,
            "right_layer": self.right_layer,
            "sensitive": self.sensitive,
        }


def compare(state: ConfigState, left: str, right: str) -> tuple[Difference, ...]:
    """The settings that differ, by category and in the order of the contracts.

    Raises UsageError for an unknown environment, FindingsError when one does not validate.
    """
    for env in (left, right):
        _check(state, env)
    return tuple(_differences(state, left, right))


def _check(state: ConfigState, env: str) -> None:
    names = [each.name for each in state.manifest.environments] if state.manifest is not None else []
    if env not in names:
        raise UsageError(
            sentence(
                "there is no environment %(env)s; there are: %(names)s", env=repr(env), names=", ".join(names)
            ),
            hint=did_you_mean(env, names),
        )
    findings = state.findings_for(env)
    if findings:
        raise FindingsError(
            sentence("%(env)s cannot be resolved: its files do not validate", env=env), findings
        )


def _differences(state: ConfigState, left: str, right: str) -> Iterator[Difference]:
    one, other = state.resolve(left), state.resolve(right)
    for category, contract in sorted(state.contracts.items()):
        for key, spec in contract.settings.items():
            a, b = one[category].settings.get(key), other[category].settings.get(key)
            found = _state(a, b)
            if found is not None:
                yield _difference(key, category, found, spec, a, b)


def _state(a: ResolvedSetting | None, b: ResolvedSetting | None) -> DifferenceState | None:
    if a is None or b is None:
        return None if a is b else "different"
    if isinstance(a.value, Envelope) and isinstance(b.value, Envelope):
        return None if a.value == b.value else "unknown"
    return None if same_value(a.value, b.value) else "different"


def _difference(
    key: str,
    category: str,
    found: DifferenceState,
    spec: SettingSpec,
    a: ResolvedSetting | None,
    b: ResolvedSetting | None,
) -> Difference:
    return Difference(
        key,
        category,
        found,
        _shown(a, spec),
        _shown(b, spec),
        a.layer if a is not None else None,
        b.layer if b is not None else None,
        spec.sensitive,
    )


def _shown(setting: ResolvedSetting | None, spec: SettingSpec) -> JSON:
    if spec.sensitive or (setting is not None and isinstance(setting.value, Envelope)):
        return setting is not None
    return setting.value if setting is not None else None  # type: ignore[return-value]  # seals are gone
