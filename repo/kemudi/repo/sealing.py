"""One setting sealed for its place in a config repo: the state says for whom, what type, and where it stands."""

from kemudi.repo.secrets import seal
from kemudi.schema.contract import Contract, SettingSpec
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Context
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.secret import Secret
from kemudi.schema.state import ConfigState


def seal_setting(state: ConfigState, layer: str, key: str, value: JSON | Secret[JSON]) -> str:
    """The `ENC[…]` line of a sensitive setting in one layer. Reads nothing and writes nothing.

    Args:
        state: The config repo; its contracts, manifest and recipients decide.
        layer: `base`, or an environment's overlay.
        key: A setting that its contract calls sensitive.
        value: The plaintext, as JSON; in a `Secret` or bare.

    Raises UsageError for an unknown key or layer, a key that is not sensitive, or a value that breaks the contract;
    FindingsError when kemudi.yaml or recipients.yaml cannot be used. The value is in no message.
    """
    contract, spec = sensitive_setting(state, key)
    plain = value.reveal() if isinstance(value, Secret) else value
    if contract.check_value(key, plain):
        raise UsageError(f"the value of {key} does not fit its contract", hint=f"It must be: {spec.type}.")
    context = context_of(state, layer, key)
    return seal(context, spec.type, contract.normalise(key, plain), tuple(readers_of(state, layer).values()))


def sensitive_setting(state: ConfigState, key: str) -> tuple[Contract, SettingSpec]:
    """The contract and the description of a sensitive setting. Raises UsageError."""
    category = state.category_of.get(key)
    if category is None:
        raise UsageError(f"no contract has a setting {key!r}", hint=did_you_mean(key, state.category_of))
    contract = state.contracts[category]
    spec = contract.settings[key]
    if not spec.sensitive:
        raise UsageError(
            f"{key} is not sensitive in its contract; its value stands in the file as it is",
            hint=f"To make it a secret, mark it x-kemudi-sensitive in {contract.file} first.",
        )
    return contract, spec


def context_of(state: ConfigState, layer: str, key: str) -> Context:
    """The place that a setting is sealed for. Raises UsageError for an unknown key or layer, FindingsError."""
    contract, _ = sensitive_setting(state, key)
    manifest = state.manifest
    if manifest is None:
        raise FindingsError("kemudi.yaml is not valid", state.findings)
    if layer not in manifest.layers:
        raise UsageError(
            f"there is no layer {layer!r}; the config repo has: {', '.join(manifest.layers)}",
            hint=did_you_mean(layer, manifest.layers),
        )
    return Context(manifest.id, layer, contract.category, key)


def readers_of(state: ConfigState, layer: str) -> dict[str, str]:
    """Name → public key of everyone whom a layer's values are sealed to. Raises FindingsError."""
    if state.manifest is None or state.recipients is None:
        raise FindingsError("kemudi.yaml or recipients.yaml is not valid", state.findings)
    return {each.name: each.key for each in state.recipients.for_layer(layer, state.manifest)}
