"""The secrets of one file in the user's editor: opened text exists in memory only, and briefly."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from kemudi.cli.workspace import Workspace
from kemudi.repo.edits import render, set_value, unset_value
from kemudi.repo.sealing import open_stored, same_value, seal_setting, stored_secrets
from kemudi.schema.contract import Contract
from kemudi.schema.documents import JSON, read_document
from kemudi.schema.errors import KemudiError, UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.paths import values_path
from kemudi.schema.rules import RULES
from kemudi.schema.secret import Secret

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
# What keeps these editors from writing the text anywhere else: swap, backup, undo and history files.
_PRIVATE_FLAGS: Final = dict.fromkeys(
    ("vi", "vim", "nvim"), ("-n", "-i", "NONE", "--cmd", "set nobackup nowritebackup noundofile")
)


def edit_secrets(
    workspace: Workspace, layer: str, category: str, identities: Sequence[str]
) -> tuple[str, ...]:
    """Let the user edit the secrets of one file, and write what changed. Returns the keys that did.

    Raises UsageError, RefusedError, UnsealError's family; no message holds a value.
    """
    contract = _contract(workspace, layer, category)
    before = _opened(workspace, layer, contract, identities)
    with _memory_folder() as folder:
        path = folder / f"{layer}-{category}.yaml"
        path.write_text(_text(layer, contract, before), encoding="utf-8")
        while True:
            _run_editor(path)
            try:
                lines = _changed(workspace, layer, contract, before, path.read_bytes())
                break
            except KemudiError as error:
                if not (
                    sys.stdin.isatty() and click.confirm(f"{error}. Edit again?", default=True, err=True)
                ):
                    raise
    target = workspace.root / values_path(layer, category)
    for key, sealed in lines.items():
        if sealed is None:
            unset_value(target, key)
        else:
            set_value(target, key, sealed)
    return tuple(lines)


def _contract(workspace: Workspace, layer: str, category: str) -> Contract:
    state = workspace.state
    contract = state.contracts.get(category)
    if contract is None:
        raise UsageError(f"there is no category {category!r}", hint=did_you_mean(category, state.contracts))
    if not contract.sensitive:
        raise UsageError(f"no setting of {category} is sensitive; edit {values_path(layer, category)} itself")
    layers = state.manifest.layers if state.manifest is not None else ()
    if layer not in layers:
        raise UsageError(f"there is no layer {layer!r}; the config repo has: {', '.join(layers)}")
    return contract


def _opened(
    workspace: Workspace, layer: str, contract: Contract, identities: Sequence[str]
) -> dict[str, Secret[JSON]]:
    found = {}
    for stored in stored_secrets(workspace.state, layer):
        if stored.category != contract.category:
            continue
        found[stored.key] = open_stored(workspace.state, stored, identities)
    return found


def _text(layer: str, contract: Contract, values: Mapping[str, Secret[JSON]]) -> str:
    missing = [key for key in contract.settings if key in contract.sensitive and key not in values]
    lines = [
        f"# Secrets of {values_path(layer, contract.category)}. Save and leave to seal what you changed.",
        *([f"# Not set here: {', '.join(missing)}"] if missing else []),
        *(f"{key}: {render(value.reveal())}" for key, value in values.items()),
    ]
    return "\n".join(lines) + "\n"


def _changed(
    workspace: Workspace, layer: str, contract: Contract, before: Mapping[str, Secret[JSON]], data: bytes
) -> dict[str, str | None]:
    document, findings = read_document(data, "the edited text")
    if document is None or findings:
        first = findings[0]
        raise UsageError(
            f"line {first.line} of the edited text cannot be read: {RULES[first.rule].title.lower()}"
        )
    lines: dict[str, str | None] = {key: None for key in before if key not in document.values}
    for key, value in document.values.items():
        if key not in contract.sensitive:
            raise UsageError(f"{key} is no sensitive setting of {contract.category}")
        if key not in before or not same_value(before[key], Secret(contract.normalise(key, value))):
            lines[key] = seal_setting(workspace.state, layer, key, value)
    return lines


def _run_editor(path: Path) -> None:
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not chosen and not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal for an editor",
            hint="Set EDITOR to a program that needs none, or use `kemudi secret set KEY --from-file -`.",
        )
    words = shlex.split(chosen or "vi")
    flags = _PRIVATE_FLAGS.get(Path(words[0]).name, ()) if words else ()
    try:
        done = subprocess.run([*words, *flags, str(path)], cwd=path.parent, check=False)
    except OSError as error:
        raise UsageError(f"the editor cannot be started: {error.strerror}", hint="Set EDITOR.") from None
    if done.returncode:
        raise UsageError(f"the editor ended with code {done.returncode}; nothing was changed")


@contextmanager
def _memory_folder() -> Iterator[Path]:
    """A folder of mode 0700 that no disk holds, removed at the end, also when the terminal is closed."""
    folder = Path(tempfile.mkdtemp(prefix="kemudi-", dir=_in_memory()))
    mask = os.umask(0o077)
    ended = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.umask(mask)
        for number, handler in ended.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _in_memory() -> Path:
    """A writable folder on a file system in memory. Raises UsageError where there is none."""
    for name in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", "/run/shm"):  # noqa: S108  # only its folders
        if name and os.access(name, os.W_OK | os.X_OK) and _kind_of(Path(name)) in _IN_MEMORY:
            return Path(name)
    raise UsageError(
        "there is no file system in memory here, and opened secrets are not written to a disk",
        hint="Use `kemudi secret set KEY --layer LAYER`, which asks for the value.",
    )


def _kind_of(path: Path) -> str:
    """The type of the file system that a path is on; empty where the system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    fields = [line.split(" ") for line in mounts]
    where = path.resolve()
    # Of two mounts at one place the later one is seen.
    above = [each for each in fields if len(each) > 2 and where.is_relative_to(each[1])]
    return max(above, key=lambda each: len(each[1]), default=["", "", ""])[2]
