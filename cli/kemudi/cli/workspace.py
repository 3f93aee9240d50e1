"""The config repo as the commands see it: the files of the work tree or of a commit, checked and resolved."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kemudi.repo.worktree import WorkTree
from kemudi.schema.errors import FindingsError, KemudiError, UsageError
from kemudi.schema.explain import explain
from kemudi.schema.manifest import Environment
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.state import ConfigState


@dataclass(frozen=True, slots=True)
class Workspace:
    """A config repo at one revision.

    Attributes:
        root: The folder of kemudi.yaml.
        state: Its files, checked.
        revision: Full SHA, `worktree@<12 hex>` for uncommitted files, or None outside git.
    """

    root: Path
    state: ConfigState
    revision: str | None


def find_root(path: Path) -> Path:
    """The folder of kemudi.yaml: `path`, its `config-repo`, or the nearest one above it. Raises UsageError."""
    start = path.resolve()
    for folder in (start, start / "config-repo", *start.parents):
        if (folder / "kemudi.yaml").is_file():
            return folder
    raise UsageError(
        f"no kemudi.yaml in {path} or above it",
        hint="Name the config repo with --repo or KEMUDI_REPO, or start one with `kemudi init`.",
    )


def open_workspace(path: Path) -> Workspace:
    """The files as they are on disk. Raises UsageError when there is no config repo."""
    root = find_root(path)
    return Workspace(root, ConfigState.load(WorkTree(root).scan().files.values()), None)


def workspace_for(path: Path, env: str) -> Workspace:
    """What an environment is made of: saved files in work-tree mode, the commit at HEAD otherwise.

    Raises UsageError for an unknown environment, FindingsError when its files do not validate.
    """
    on_disk = open_workspace(path)
    # On disk first: a repo that is not in git yet can be looked at, too.
    environment = environment_of(on_disk, env)
    workspace = _at_revision(on_disk, environment)
    findings = workspace.state.findings_for(env)
    if findings:
        raise FindingsError(f"{env} cannot be resolved: its files do not validate", findings)
    return workspace


def describe(workspace: Workspace, env: str, key: str) -> dict[str, Any]:
    """One setting in the pinned form of `kemudi get --json`, without `live`. Raises UsageError."""
    found = explain(workspace.state, env, key).as_json()
    wanted = (
        "key",
        "value",
        "type",
        "category",
        "source",
        "layer",
        "sensitive",
        "requires_restart",
        "description",
    )
    return {name: found[name] for name in wanted} | {"revision": workspace.revision}


def keys_of(workspace: Workspace, category: str | None) -> list[str]:
    """Every setting, or those of one category, in the order of the contracts. Raises UsageError."""
    contracts = workspace.state.contracts
    if category is not None and category not in contracts:
        raise UsageError(f"there is no category {category!r}", hint=did_you_mean(category, contracts))
    return [
        key
        for name, contract in sorted(contracts.items())
        if category in {None, name}
        for key in contract.settings
    ]


def environment_of(workspace: Workspace, env: str) -> Environment:
    """The environment of that name. Raises UsageError, and FindingsError where kemudi.yaml cannot be used."""
    manifest = workspace.state.manifest
    if manifest is None:
        raise FindingsError("kemudi.yaml does not validate", workspace.state.findings)
    known = {each.name: each for each in manifest.environments}
    if env not in known:
        raise UsageError(
            f"there is no environment {env!r}; there are: {', '.join(known)}", hint=did_you_mean(env, known)
        )
    return known[env]


def _at_revision(on_disk: Workspace, environment: Environment) -> Workspace:
    from kemudi.repo.repository import ConfigRepository

    try:
        repository = ConfigRepository.open(on_disk.root)
    except KemudiError:
        return on_disk
    with repository:
        head = repository.head().sha
        if head is None:
            return on_disk
        if environment.mode == "commit":
            return Workspace(on_disk.root, ConfigState.load(repository.files(head).values()), head)
        tree = WorkTree(on_disk.root)
        scan = tree.scan()
        clean = tree.matches(repository.file_ids(head))
        return Workspace(on_disk.root, on_disk.state, head if clean else scan.revision)
