"""The settings that Kemudi's own services read, brought into a config repo; what is there stays as it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kemudi.cli.example import example_folder
from kemudi.cli.workspace import find_root
from kemudi.repo import layout
from kemudi.repo.edits import header, with_value
from kemudi.repo.importing.commits import Step, commit_steps
from kemudi.repo.loose import replace_file
from kemudi.repo.messages import compose
from kemudi.repo.people import identity
from kemudi.repo.porcelain import enclosing_repository
from kemudi.repo.worktree import WorkTree
from kemudi.schema.contract import contract_text, editor_rendering
from kemudi.schema.errors import FindingsError
from kemudi.schema.paths import contract_path, values_path
from kemudi.schema.state import ConfigState, File

BASE = "base"


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a setup did. `elsewhere` are settings that another category has already."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    elsewhere: tuple[str, ...]
    revision: str | None


def set_up(repo: Path) -> SetUp:
    """Add the settings that are missing, and to those that are there what their contract entries lack.

    Raises UsageError when there is no config repo, FindingsError when it is not valid, ConflictError.
    """
    root = find_root(repo)
    state = _load(root)
    _check(state, "the config repo has to be valid before settings are added")
    setting_up = _SettingUp(state, _load(example_folder()))
    files = setting_up.files()
    _check(state.update({path: File(path, data) for path, data in files.items()}), "nothing was written")
    revision = _write(root, files, len(setting_up.created)) if files else None
    return SetUp(tuple(setting_up.created), tuple(setting_up.updated), tuple(setting_up.elsewhere), revision)


class _SettingUp:
    def __init__(self, state: ConfigState, example: ConfigState) -> None:
        self._state = state
        self._example = example
        self.created: list[str] = []
        self.updated: list[str] = []
        self.elsewhere: list[str] = []

    def files(self) -> dict[str, bytes]:
        """The files to write, by path; none when nothing is missing."""
        files: dict[str, bytes] = {}
        for category in self._example.contracts:
            files |= self._contract(category)
            files |= self._values(category)
        return files

    def _contract(self, category: str) -> dict[str, bytes]:
        path = contract_path(category)
        theirs = json.loads(self._example.files[path].data)
        there = self._state.files.get(path)
        ours = json.loads(there.data) if there is not None else {**theirs, "properties": {}}
        before = json.dumps(ours)
        for key, entry in theirs["properties"].items():
            self._setting(category, key, entry, ours["properties"])
        if json.dumps(ours) == before:
            return {}
        editor = path.replace("contracts/", "contracts/editor/")
        return {path: contract_text(ours).encode(), editor: contract_text(editor_rendering(ours)).encode()}

    def _setting(self, category: str, key: str, entry: Mapping[str, Any], ours: dict[str, Any]) -> None:
        owner = self._state.category_of.get(key, category)
        if owner != category:
            self.elsewhere.append(key)
        elif key not in ours:
            ours[key] = dict(entry)
            self.created.append(key)
        else:
            mine = ours[key]
            lacking = {name: value for name, value in entry.items() if name not in mine}
            if mine.get("x-kemudi-sensitive"):
                lacking.pop("default", None)
            if lacking:
                mine.update(lacking)
                self.updated.append(key)

    def _values(self, category: str) -> dict[str, bytes]:
        manifest = self._state.manifest
        example = self._example.document(values_path(BASE, category))
        if manifest is None or BASE not in manifest.layers or example is None:
            return {}
        path = values_path(BASE, category)
        there = self._state.files.get(path)
        before = there.data.decode() if there is not None else header(Path(path))
        text = before
        for key, value in example.values.items():
            if key in self.created:
                text = with_value(text, key, value, file=path)
        return {path: text.encode()} if text != before else {}


def _load(root: Path) -> ConfigState:
    return ConfigState.load(WorkTree(root).scan().files.values())


def _check(state: ConfigState, message: str) -> None:
    errors = [finding for finding in state.findings if finding.severity == "error"]
    if errors:
        raise FindingsError(message, errors)


def _write(root: Path, files: Mapping[str, bytes], created: int) -> str | None:
    """Commit the files; outside of git they are only written."""
    top = enclosing_repository(root)
    if top is None:
        for path, data in files.items():
            replace_file(root / path, data, durable=True)
        return None
    where = layout.find(root)
    message = compose(f"Set up {created} settings of Kemudi's services", "", (), "setup")
    step = Step.now(message, identity(where), files)
    prefix = root.resolve().relative_to(top.resolve()).as_posix().removeprefix(".")
    return commit_steps(where, prefix, [step]).revision
