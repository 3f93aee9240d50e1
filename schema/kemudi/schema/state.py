"""A whole config repo at one revision: manifest, contracts, every layer, resolved, and everything that is wrong.

A state is immutable. `update` makes the next one from the files that changed: what they do not touch is shared, the
same objects, so that a one-line commit costs one file whatever the size of the repo.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

from kemudi.schema.contract import Contract
from kemudi.schema.documents import Document, Place
from kemudi.schema.findings import Finding
from kemudi.schema.layers import LayerFile, Override, ResolvedCategory, ResolvedSetting
from kemudi.schema.manifest import Recipients, RepoManifest, RoleGrant
from kemudi.schema.paths import File, category_of_contract
from kemudi.schema.sentences import sentence
from kemudi.schema.state_build import build
from kemudi.schema.state_parts import Parts

__all__ = ["ConfigState", "File", "Override", "Place", "ResolvedCategory", "ResolvedSetting"]


class ConfigState:
    """Made by `load` or `update`; never raises on content, which is reported in `findings`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @classmethod
    def load(cls, files: Iterable[File]) -> "ConfigState":
        """The state of these files. Paths that mean nothing to Kemudi are left aside."""
        return cls(build(Parts(), {file.path: file for file in files}))

    def update(self, changes: Mapping[str, File | None]) -> "ConfigState":
        """The state after some files changed; None = deleted. Equal to `load` of all the files.

        What is not touched is shared: documents, contracts, resolved categories stay the same objects. A change
        that changes nothing gives the same state.
        """
        parts = build(self._parts, changes)
        return self if parts is self._parts else ConfigState(parts)

    @property
    def files(self) -> Mapping[str, File]:
        """The files that may mean something, by path."""
        return MappingProxyType(self._parts.files)

    @property
    def manifest(self) -> RepoManifest | None:
        """`kemudi.yaml`; None if it is missing or tells no environments."""
        return self._parts.manifest

    @property
    def recipients(self) -> Recipients | None:
        """`recipients.yaml`; None if it is missing or cannot be read."""
        return self._parts.recipients

    @property
    def roles(self) -> tuple[RoleGrant, ...]:
        """`roles.yaml`."""
        return self._parts.roles

    @property
    def contracts(self) -> Mapping[str, Contract]:
        """The usable contracts by category."""
        return MappingProxyType(self._parts.contracts)

    @property
    def category_of(self) -> Mapping[str, str]:
        """The category of every key."""
        return MappingProxyType(self._parts.owners)

    def resolve(self, env: str) -> Mapping[str, ResolvedCategory]:
        """Every category in one environment. Raises KeyError for an unknown environment.

        Values that are wrong are left out, so look at `findings_for` before serving them.
        """
        if self.manifest is None:
            raise KeyError(env)
        self.manifest.environment(env)
        return MappingProxyType(self._parts.resolved.get(env, {}))

    def document(self, path: str) -> Document | None:
        """The document of a values file, if it could be read."""
        parsed = self._parts.parsed.get(path)
        return parsed.document if parsed is not None else None

    def layer_file(self, layer: str, category: str) -> LayerFile | None:
        """One layer's checked file of a category; None if there is none."""
        return self._parts.layer_files.get((layer, category))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding in every file, in file and line order."""
        found = {finding for each in self._parts.found.values() for finding in each}
        found.update(self._cross_findings())
        return tuple(sorted(found))

    def findings_for(self, env: str, category: str | None = None) -> tuple[Finding, ...]:
        """The errors that keep `env` (or one category of it) from being served as these files say."""
        found = {
            finding
            for (_, path), each in self._parts.found.items()
            if self._affects(path, env, category)
            for finding in each
            if finding.severity == "error"
        }
        for (where, name), each in self._parts.cross.items():
            if where == env and category in (None, name):
                found.update(each)
        return tuple(sorted(found))

    def _affects(self, path: str, env: str, category: str | None) -> bool:
        folder, _, name = path.partition("/")
        of_path = category_of_contract(path)
        if self.manifest is not None and folder in self.manifest.layers:
            if env not in self.manifest.environments_of(folder):
                return False
            of_path = name.removesuffix(".yaml")
        return category is None or of_path not in self._parts.known_categories or of_path == category

    def _cross_findings(self) -> Iterable[Finding]:
        """One finding for all environments of a layer, or one that names those that it holds in."""
        where: defaultdict[Finding, list[str]] = defaultdict(list)
        for (env, _), each in self._parts.cross.items():
            for finding in each:
                where[finding].append(env)
        for finding, environments in where.items():
            everywhere = self._parts.environments_of(finding.layer)
            if set(environments) == set(everywhere):
                yield finding
            else:
                named = [env for env in everywhere if env in environments]
                said = sentence("%(message)s (in %(envs)s)", message=finding.message, envs=", ".join(named))
                yield replace(finding, message=said)
