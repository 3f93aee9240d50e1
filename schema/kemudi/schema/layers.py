"""From files of values to resolved settings: each file against its contract, then the layers over each other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from kemudi.schema import guard
from kemudi.schema.contract import Contract, Problem
from kemudi.schema.documents import JSON, Document, Place, escape
from kemudi.schema.envelope import (
    Envelope,
    recipients_digest,
)
from kemudi.schema.findings import Finding
from kemudi.schema.paths import contract_path


class Override(NamedTuple):
    """A value that a later layer replaced."""

    layer: str
    place: Place
    value: JSON | Envelope


class ResolvedSetting(NamedTuple):
    """The value of one setting in one environment, and where it comes from.

    Attributes:
        key: The setting.
        value: As it is served; an Envelope for a sensitive one.
        layer: The layer that set it; `default` for the contract's default.
        place: Where the value stands; None for a default.
        overrides: What it replaced, the nearest layer first.
    """

    key: str
    value: JSON | Envelope
    layer: str
    place: Place | None
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolvedCategory:
    """All settings of one category in one environment; a sensitive one that no layer sets is absent."""

    name: str
    contract: Contract
    settings: Mapping[str, ResolvedSetting]


@dataclass(frozen=True, slots=True)
class Sealing:
    """What must be sealed in one layer, and what the text of a sealed value must say.

    Attributes:
        repo_id: Of the manifest.
        recipients: Digest of the layer's recipients; None if `recipients.yaml` is missing or wrong.
        count: How many recipients these are.
        names: Which keys are sensitive by their name.
    """

    repo_id: str
    recipients: str | None
    count: int = 0
    names: guard.SensitiveNames = guard.USUAL

    @classmethod
    def for_keys(
        cls, repo_id: str, keys: Iterable[str] | None, names: guard.SensitiveNames = guard.USUAL
    ) -> "Sealing":
        """The sealing of a layer with these public keys; None = they are not known."""
        if keys is None:
            return cls(repo_id, None, names=names)
        known = frozenset(keys)
        return cls(repo_id, recipients_digest(known), len(known), names)


@dataclass(frozen=True, slots=True, eq=False)
class LayerFile:
    """One layer's file of one category, checked against its contract.

    Attributes:
        layer: Its layer.
        document: None if it could not be read.
        values: By key, as they are served; wrong ones are left out.
        findings: Everything wrong with it.
        has_unknown: Whether some finding depends on which keys other contracts have.
        has_sealed: Whether something in it depends on the recipients.
    """

    layer: str
    document: Document | None
    values: Mapping[str, JSON | Envelope]
    findings: tuple[Finding, ...]
    has_unknown: bool = False
    has_sealed: bool = False


def resolve_category(contract: Contract, files: tuple[LayerFile, ...]) -> ResolvedCategory:
    """Lay files over each other, the lowest layer first. The last layer that sets a key wins, whole."""
    settings: dict[str, ResolvedSetting] = {}
    for each in files:
        document = each.document
        if document is None:
            continue
        for key, value in each.values.items():
            below = settings.get(key)
            overrides: tuple[Override, ...] = ()
            if below is not None and below.place is not None:
                overrides = (Override(below.layer, below.place, below.value), *below.overrides)
            settings[key] = ResolvedSetting(key, value, each.layer, document.place_of_value(key), overrides)
    for key, default in contract.defaults.items():
        if key not in settings:
            settings[key] = ResolvedSetting(key, default, "default", None)
    return ResolvedCategory(contract.category, contract, MappingProxyType(settings))


def check_resolved(resolved: ResolvedCategory, files: tuple[LayerFile, ...]) -> tuple[Finding, ...]:
    """The contract's rules between settings, each finding where a layer set the offending key."""
    contract = resolved.contract
    if not contract.has_cross_rules:
        return ()
    values = {key: _for_rules(setting.value) for key, setting in resolved.settings.items()}
    problems = contract.check_together(values)
    return tuple(_cross_finding(problem, resolved, files) for problem in problems)


def _for_rules(value: JSON | Envelope) -> JSON:
    return str(value) if isinstance(value, Envelope) else value


def _cross_finding(problem: Problem, resolved: ResolvedCategory, files: tuple[LayerFile, ...]) -> Finding:
    ranks = {each.layer: rank for rank, each in enumerate(files)}
    placed = [
        setting
        for key in problem.keys
        if (setting := resolved.settings.get(key)) is not None and setting.place is not None
    ]
    if placed:
        # The first key is the one whose value is wrong; among triggers the highest layer changed last.
        setting = placed[0] if placed[0].key == problem.key else max(placed, key=lambda s: ranks[s.layer])
        place = setting.place or Place(contract_path(resolved.name), 1, 1)
        pointer, layer = f"/{escape(setting.key)}", setting.layer
    else:
        readable = [each for each in files if each.document is not None]
        path = readable[-1].document.file if readable and readable[-1].document else None
        place = Place(path or contract_path(resolved.name), 1, 1)
        pointer, layer = "", readable[-1].layer if readable else "default"
    key = problem.key or None
    return Finding(
        place.file, place.line, place.column, problem.rule, pointer, key, problem.message, None, layer
    )
