"""Seal values into the files of a config repo, for the recipients that the repo names."""

from pathlib import Path
from typing import Any

import yaml

from kemudi.cli.workspace import Workspace, find_root, open_workspace
from kemudi.repo.edits import set_value
from kemudi.repo.secrets import seal
from kemudi.schema.contract import Contract, SettingSpec
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Context, Envelope
from kemudi.schema.errors import FindingsError, UsageError


def seal_into_file(repo: Path, layer: str, key: str, text: str) -> Path:
    """Seal `text` as the value of `key` in a layer and write that one line. Returns the file.

    Raises UsageError for an unknown key or layer, or a key that is not sensitive; FindingsError when the value breaks
    the contract. The value is in no message.
    """
    workspace = open_workspace(find_root(repo))
    contract, spec = _sensitive(workspace, key)
    value = _typed(spec, text)
    problems = contract.check_value(key, value)
    if problems:
        raise UsageError(f"the value of {key} does not fit its contract", hint=f"It must be: {spec.type}.")
    return _seal(workspace, contract, spec, layer, value)


def reseal(root: Path, key: str, value: str) -> None:
    """Replace the value of a secret in every layer that sets it."""
    workspace = open_workspace(root)
    contract, spec = _sensitive(workspace, key)
    for layer in _layers(workspace):
        path = root / layer / f"{contract.category}.yaml"
        if path.is_file() and key in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}):
            _seal(workspace, contract, spec, layer, value)


def write_recipients(root: Path, recipient: str) -> None:
    """Make one daemon the only recipient of every environment, in `recipients.yaml`."""
    workspace = open_workspace(root)
    assert workspace.state.manifest is not None  # noqa: S101  # the shipped example has one
    names = [each.name for each in workspace.state.manifest.environments]
    content = {
        "recipients": {"daemon": {"key": recipient, "kind": "daemon"}},
        "environments": {name: ["daemon"] for name in names},
    }
    (root / "recipients.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _layers(workspace: Workspace) -> list[str]:
    manifest = workspace.state.manifest
    if manifest is None:
        raise FindingsError("kemudi.yaml is not valid", workspace.state.findings)
    return list(dict.fromkeys(layer for env in manifest.environments for layer in env.layers))


def _sensitive(workspace: Workspace, key: str) -> tuple[Contract, SettingSpec]:
    for contract in workspace.state.contracts.values():
        spec = contract.settings.get(key)
        if spec is not None:
            if not spec.sensitive:
                raise UsageError(
                    f"{key} is not sensitive in its contract; write its value into the file as it is"
                )
            return contract, spec
    raise UsageError(f"no contract has a setting {key!r}")


def _typed(spec: SettingSpec, text: str) -> Any:  # JSON
    import json

    if spec.type == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise UsageError(f"the value of {spec.key} is not a JSON {spec.type}") from None


def _seal(workspace: Workspace, contract: Contract, spec: SettingSpec, layer: str, value: JSON) -> Path:
    state, manifest = workspace.state, workspace.state.manifest
    layers = _layers(workspace)
    if layer not in layers:
        raise UsageError(f"there is no layer {layer!r}; the config repo has: {', '.join(layers)}")
    if manifest is None or state.recipients is None:
        raise FindingsError("kemudi.yaml or recipients.yaml is not valid", state.findings)
    context = Context(manifest.id, layer, contract.category, spec.key)
    recipients = state.recipients.keys_for_layer(layer, manifest)
    sealed = seal(context, spec.type, value, recipients)
    Envelope.parse(sealed)
    path = workspace.root / layer / f"{contract.category}.yaml"
    set_value(path, spec.key, sealed)
    return path
