"""What a state of a config repo consists of."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kemudi.schema.contract import Contract
from kemudi.schema.documents import Document
from kemudi.schema.findings import Finding
from kemudi.schema.guard import SensitiveNames
from kemudi.schema.layers import LayerFile, ResolvedCategory, Sealing
from kemudi.schema.manifest import Recipients, RepoManifest, RoleGrant
from kemudi.schema.paths import File

Source = Literal["manifest", "contract", "keys", "defaults", "values", "stray", "twin"]


class Parsed(NamedTuple):
    """A values file as it was read."""

    document: Document | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Everything that a state knows. The mappings are never changed once a state holds them.

    Attributes:
        loaded: False only before the first files.
        files: Every relevant file by path.
        manifest: `kemudi.yaml`.
        recipients: `recipients.yaml`.
        roles: `roles.yaml`.
        contracts: The usable contracts by category.
        known_categories: Categories that have a contract file, usable or not.
        owners: The category of each key.
        parsed: Values files as read, by path.
        layer_files: Values files as checked, by layer and category.
        resolved: By environment and category.
        cross: Findings of rules between settings, by environment and category; only where there are some.
        found: All other findings, by what found them and path; only where there are some.
    """

    loaded: bool = False
    files: dict[str, File] = field(default_factory=dict)
    manifest: RepoManifest | None = None
    recipients: Recipients | None = None
    roles: tuple[RoleGrant, ...] = ()
    contracts: dict[str, Contract] = field(default_factory=dict)
    known_categories: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    parsed: dict[str, Parsed] = field(default_factory=dict)
    layer_files: dict[tuple[str, str], LayerFile] = field(default_factory=dict)
    resolved: dict[str, dict[str, ResolvedCategory]] = field(default_factory=dict)
    cross: dict[tuple[str, str], tuple[Finding, ...]] = field(default_factory=dict)
    found: dict[tuple[Source, str], tuple[Finding, ...]] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer, `()` without a manifest."""
        return self.manifest.layers if self.manifest is not None else ()

    def environments_of(self, layer: str | None) -> tuple[str, ...]:
        """The environments that a layer is part of; all for `default`."""
        if self.manifest is None:
            return ()
        named = self.manifest.environments_of(layer) if layer is not None else ()
        return named or tuple(each.name for each in self.manifest.environments)

    @property
    def names(self) -> SensitiveNames:
        """Which keys are sensitive by their name."""
        return (
            SensitiveNames(self.manifest.sensitive_names) if self.manifest is not None else SensitiveNames()
        )

    def sealing(self, layer: str) -> Sealing:
        """What sealed values of a layer must say."""
        if self.manifest is None:
            return Sealing("", None)
        keys = self.recipients.keys_for_layer(layer, self.manifest) if self.recipients is not None else None
        return Sealing.for_keys(self.manifest.id, keys, self.names)
