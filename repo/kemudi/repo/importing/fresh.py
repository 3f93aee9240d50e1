"""The files that make a folder a config repo, for an import that starts one."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kemudi.repo.edits import render
from kemudi.schema.errors import UsageError
from kemudi.schema.manifest import FILE as MANIFEST_FILE
from kemudi.schema.manifest import NAME, RECIPIENTS_FILE, RESERVED
from kemudi.schema.state import ConfigState, File

ENVIRONMENTS: Final = ("dev", "staging", "prod")
BASE: Final = "base"


def fresh_state(layer: str) -> ConfigState:
    """An empty config repo: dev, staging and prod over `base`, and `layer` as one more if it is none of these.

    Raises UsageError for a name that no layer can have.
    """
    if not NAME.fullmatch(layer) or layer in RESERVED:
        raise UsageError(f"{layer!r} cannot be the name of a layer")
    names = [*ENVIRONMENTS, *([layer] if layer not in (*ENVIRONMENTS, BASE) else [])]
    files = {MANIFEST_FILE: _manifest(str(uuid.uuid4()), names), RECIPIENTS_FILE: recipients_text({}, names)}
    return ConfigState.load(File(path, text.encode()) for path, text in files.items())


def with_service(state: ConfigState, categories: Iterable[str]) -> dict[str, bytes]:
    """`kemudi.yaml` of a fresh state with one service, `app`, that reads every category."""
    assert state.manifest is not None  # noqa: S101  # a fresh state has one
    manifest = state.manifest
    text = _manifest(manifest.id, [env.name for env in manifest.environments], list(categories))
    return {MANIFEST_FILE: text.encode()}


def recipients_text(recipients: Mapping[str, str], environments: Iterable[str]) -> str:
    """`recipients.yaml` where every environment has the same readers; `recipients` is name → public key."""
    lines = ["# Who can open sealed values, by environment. These are public keys; anyone can seal to them."]
    lines.append("recipients:" if recipients else "recipients: {}")
    for name, key in recipients.items():
        kind = name if name in ("daemon", "recovery") else "human"
        lines += [f"  {render(name)}:", f"    key: {render(key)}", f"    kind: {kind}"]
    lines.append("environments:")
    names = render(list(recipients))
    lines += [f"  {env}: {names}" for env in environments]
    return "\n".join(lines) + "\n"


def _manifest(identity: str, environments: Sequence[str], categories: Sequence[str] = ()) -> str:
    lines = [
        "# The config repo: its identity, its environments in promotion order, and who reads what.",
        "format: 1",
        f"id: {identity}",
        "environments:",
    ]
    for name in environments:
        mode = "worktree  # saves are served too, for development" if name == "dev" else "commit"
        lines += [
            f"  - name: {name}",
            f"    layers: [{BASE}, {name}]",
            f"    mode: {mode}",
            "    reject: commit",
        ]
    lines += ["services:", f"  app: [{', '.join(categories)}]"] if categories else ["services: {}"]
    return "\n".join([*lines, "policies: []"]) + "\n"
