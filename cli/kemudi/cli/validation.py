"""Validation of the files as they are on disk: all of them, or what a change against a base can have broken."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from kemudi.cli.formats.report import Report
from kemudi.cli.workspace import find_root
from kemudi.repo.worktree import WorkTree
from kemudi.schema import manifest as manifests
from kemudi.schema import rules
from kemudi.schema.findings import Finding
from kemudi.schema.manifest import RepoManifest
from kemudi.schema.paths import File, category_of_contract, contract_path, values_path
from kemudi.schema.state import ConfigState

# These decide what every other file means.
_GOVERNING = frozenset({manifests.FILE, manifests.RECIPIENTS_FILE})


def validate(path: Path, base: str | None = None) -> Report:
    """Check the config repo that `path` leads to.

    Args:
        path: Its folder, or one above it.
        base: A name of git's: only the files that changed since then, where this branch left it, and the files that
            a changed contract or `kemudi.yaml` is about.

    Raises UsageError, UnavailableError.
    """
    root = find_root(path)
    tree = WorkTree(root)
    files = tree.scan().files
    if base is None:
        state = ConfigState.load(files.values())
        return Report(root, _prefix(root), state, tuple(sorted(files)), _findings(state))
    changed, sha = _changed(tree, base)
    scope = _Scope(files, changed)
    small = scope.small_state()
    findings = scope.shown(_findings(small)) if small is not None else ()
    if small is not None and not findings:
        state = small
    else:
        # Only the whole repository says where a mistyped key belongs, and that is worth the time when it is wrong.
        state = ConfigState.load(files.values())
        findings = scope.shown(_findings(state))
    checked = tuple(sorted(scope.affected & files.keys()))
    return Report(root, _prefix(root), state, checked, findings, frozenset(changed), sha)


def _findings(state: ConfigState) -> tuple[Finding, ...]:
    if state.manifest is None or not state.manifest.policies:
        return state.findings
    from kemudi.repo.policy import policies_of

    return tuple(sorted({*state.findings, *policies_of(state).findings}))


def _changed(tree: WorkTree, base: str) -> tuple[frozenset[str], str]:
    from kemudi.repo.comparison import named_base
    from kemudi.repo.repository import ConfigRepository

    with ConfigRepository.open(tree.root) as repository:
        sha, _ = named_base(repository, base, repository.head().sha)
        return frozenset(tree.differences(repository.file_ids(sha))), sha


def _prefix(root: Path) -> str:
    """The folder of the config repo in its repository, found without git."""
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            found = root.relative_to(folder).as_posix()
            return "" if found == "." else f"{found}/"
    return ""


class _Scope:
    """What some changed files can have broken."""

    def __init__(self, files: Mapping[str, File], changed: Collection[str]) -> None:
        self._files = files
        self._changed = changed
        manifest = files.get(manifests.FILE)
        self._manifest = manifests.read_manifest(manifest.data)[0] if manifest is not None else None
        self._categories = {name for path in changed if (name := self._category(path)) is not None}
        self.affected = frozenset(self._affected())

    def shown(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings that the change may have caused."""
        return tuple(each for each in findings if self._is_shown(each))

    def small_state(self) -> ConfigState | None:
        """A state of only the categories that changed; None where a finding may depend on the others.

        It does where contracts, governing files or the set of paths changed, but not for a value edited in place.
        """
        if self._manifest is None or not all(self._is_plain(path) for path in self._changed):
            return None
        paths = {manifests.FILE, manifests.RECIPIENTS_FILE, *map(contract_path, self._categories)}
        paths |= {values_path(layer, name) for layer in self._manifest.layers for name in self._categories}
        return ConfigState.load(self._files[path] for path in paths if path in self._files)

    def _is_plain(self, path: str) -> bool:
        file = self._files.get(path)
        name = self._category(path)
        if file is None or file.kind != "file" or name is None or category_of_contract(path) is not None:
            return False
        return contract_path(name) in self._files

    def _affected(self) -> Iterator[str]:
        if self._manifest is None or _GOVERNING & set(self._changed):
            yield from self._files
        for path in self._changed:
            yield path
            name = category_of_contract(path)
            if name is not None:
                yield from (each for each in self._files if self._category(each) == name)
                # Two contracts may claim one key, and unknown keys are compared with those of all contracts.
                yield from (each for each in self._files if category_of_contract(each) is not None)

    def _category(self, path: str) -> str | None:
        name = category_of_contract(path)
        if name is not None:
            return name
        folder, _, rest = path.partition("/")
        layers = self._layers(self._manifest)
        return rest.removesuffix(".yaml") if folder in layers and rest.endswith(".yaml") else None

    @staticmethod
    def _layers(manifest: RepoManifest | None) -> tuple[str, ...]:
        return manifest.layers if manifest is not None else ()

    def _is_shown(self, finding: Finding) -> bool:
        if finding.file in self.affected:
            return True
        # A rule between settings may point at another layer's file than the one that was edited.
        return finding.rule == rules.CROSS_KEY and self._category(finding.file) in self._categories
