"""Sealed values in the files of a config repo: found, written, replaced."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from kemudi.cli.workspace import find_root, open_workspace
from kemudi.repo.edits import rename_key, set_sealed, set_value, unset_value
from kemudi.repo.renewal import Renewed
from kemudi.repo.sealing import StoredSecret, seal_setting, sensitive_setting, stored_secrets, would_change
from kemudi.schema.contract import SettingSpec
from kemudi.schema.documents import JSON
from kemudi.schema.errors import UsageError
from kemudi.schema.paths import values_path
from kemudi.schema.secret import Secret
from kemudi.schema.state import ConfigState


class Written(NamedTuple):
    """The file, and whether it changed."""

    path: Path
    changed: bool


def seal_into_file(repo: Path, layer: str, key: str, text: str, identities: Sequence[str] = ()) -> Written:
    """Seal `text` as the value of `key` in a layer and write that one line.

    With an identity that opens the line, a value that is there already leaves it alone. Raises UsageError for an
    unknown key or layer, a key that is not sensitive, or a value that breaks the contract; it is in no message.
    """
    workspace = open_workspace(find_root(repo))
    state = workspace.state
    contract, spec = sensitive_setting(state, key)
    value = contract.normalise(key, _typed(spec, text))
    sealed = seal_setting(state, layer, key, Secret(value))
    path = workspace.root / values_path(layer, contract.category)
    stored = next((each.text for each in stored_secrets(state, layer) if each.key == key), None)
    if not would_change(state, layer, key, value, stored, identities):
        return Written(path, changed=False)
    set_value(path, key, sealed)
    return Written(path, changed=True)


def find_stored(state: ConfigState, key: str, layer: str | None, env: str | None) -> StoredSecret:
    """The line of a sensitive setting: in a layer, or the one that counts in an environment. Raises UsageError."""
    if (layer is None) == (env is None):
        raise UsageError("name either a --layer or an --env")
    order = [layer] if layer is not None else _layers_of(state, env or "")
    found = {each.layer: each for each in stored_secrets(state) if each.key == key and each.layer in order}
    if not found:
        where = f"the layer {layer}" if layer is not None else f"any layer of {env}"
        raise UsageError(f"{key} is not set in {where}")
    return found[next(each for each in reversed(order) if each in found)]


def write_renewed(root: Path, renewed: Iterable[Renewed]) -> None:
    """Write lines that were sealed anew, file by file; a renamed key keeps its line. Raises UsageError."""
    by_file: dict[Path, dict[str, str]] = {}
    for each in renewed:
        path = root / values_path(each.layer, each.category)
        if each.old_category != each.category:
            set_value(path, each.key, each.text)
            unset_value(root / values_path(each.layer, each.old_category), each.old_key)
            continue
        if each.old_key != each.key:
            rename_key(path, each.old_key, each.key)
        by_file.setdefault(path, {})[each.key] = each.text
    for path, sealed in by_file.items():
        set_sealed(path, sealed)


def reseal(root: Path, key: str, value: str) -> None:
    """Replace the value of a secret in every layer that sets it."""
    state = open_workspace(root).state
    for stored in tuple(stored_secrets(state)):
        if stored.key == key:
            path = root / values_path(stored.layer, stored.category)
            set_value(path, key, seal_setting(state, stored.layer, key, value))


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


def _layers_of(state: ConfigState, env: str) -> list[str]:
    known = {each.name: each for each in state.manifest.environments} if state.manifest is not None else {}
    if env not in known:
        raise UsageError(f"there is no environment {env!r}; there are: {', '.join(known)}")
    return list(known[env].layers)


def _typed(spec: SettingSpec, text: str) -> JSON:
    if spec.type == "string":
        return text
    try:
        value: JSON = json.loads(text)
    except ValueError:
        hint = 'Text is written in double quotes: "…".' if "string" in spec.type else None
        raise UsageError(f"the value of {spec.key} is not a JSON {spec.type}", hint=hint) from None
    return value
