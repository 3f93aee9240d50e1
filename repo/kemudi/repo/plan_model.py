"""What a plan says: plain values, computed by `kemudi.repo.plan`, rendered by `kemudi.repo.plan_text`.

No value of a sensitive setting is ever part of one: such a change holds two fingerprints instead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kemudi.schema.documents import JSON, Place
from kemudi.schema.findings import Finding

ChangeKind = Literal["add", "change", "remove"]
ContractKind = Literal[
    "category-added",
    "category-removed",
    "setting-added",
    "setting-removed",
    "type",
    "sensitive",
    "limits",
    "default",
    "requires-restart",
    "unit",
    "text",
    "rules",
]
Quiet = Literal["hidden", "same", "layout"]


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one setting in one environment.

    Attributes:
        env: The environment.
        key: The setting.
        category: Its category.
        kind: `add`: there was no value before, not even a default. `remove`: there is none any more.
        old: The value before; None for none, and for a sensitive setting.
        new: The value after; likewise.
        old_layer: The layer that set the value before; `default` for the contract's default, None for no value.
        new_layer: The layer that sets the value after; likewise.
        type: A JSON type, several joined by `|`, or `any`; by the contract after.
        unit: `seconds`, `rows`, …
        sensitive: Whether either side is sealed: then no value is shown.
        requires_restart: A running process keeps the value that it started with.
        owner: The team that answers for it.
        fingerprint: Of the new sealed value: 8 hex digits of the ciphertext's SHA-256.
        old_fingerprint: Of the old one.
        place: Where the new value stands, or where the old one stood; None for defaults.
        readers: Services that read it now, as their processes say; None = nobody was asked.
        findings: What the policies say of it.
    """

    env: str
    key: str
    category: str
    kind: ChangeKind
    old: JSON
    new: JSON
    old_layer: str | None
    new_layer: str | None
    type: str
    unit: str | None
    sensitive: bool
    requires_restart: bool
    owner: str | None
    fingerprint: str | None = None
    old_fingerprint: str | None = None
    place: Place | None = None
    readers: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The pinned wire form."""
        return {
            "key": self.key,
            "category": self.category,
            "kind": self.kind,
            "old": self.old,
            "new": self.new,
            "old_layer": self.old_layer,
            "new_layer": self.new_layer,
            "type": self.type,
            "unit": self.unit,
            "sensitive": self.sensitive,
            "requires_restart": self.requires_restart,
            "owner": self.owner,
            "fingerprint": self.fingerprint,
            "old_fingerprint": self.old_fingerprint,
            "source": _source(self.place),
            "readers": None if self.readers is None else list(self.readers),
            "findings": [finding.as_json() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class NoEffect:
    """An edit that changes nothing in some environments.

    Attributes:
        file: The file that was edited.
        key: The setting, None for a file in which only comments or layout changed.
        environments: Where nothing changes.
        why: `hidden`: a higher layer sets the key. `same`: it had this value already. `layout`: no value changed.
        message: One sentence.
    """

    file: str
    key: str | None
    environments: tuple[str, ...]
    why: Quiet
    message: str

    def as_json(self) -> dict[str, Any]:
        """For `--format json`."""
        return {
            "file": self.file,
            "key": self.key,
            "environments": list(self.environments),
            "why": self.why,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Drift:
    """Something in Redis that is not what git says, as the daemon reports it."""

    category: str | None
    key: str | None
    kind: str

    def as_json(self) -> dict[str, Any]:
        """For `--format json`."""
        return {"category": self.category, "key": self.key, "kind": self.kind}


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """What becomes of one environment.

    Attributes:
        env: Its name.
        changes: In the order of categories and contracts.
        kind: Whether the environment itself comes or goes.
        refused: Categories that keep what they have until their errors are mended; `*` = all of them.
        base: The revision that it was compared with, where that is not the plan's: what Redis serves.
        drift: What Redis serves otherwise than git says; None = nobody was asked.
    """

    env: str
    changes: tuple[Change, ...]
    kind: Literal["kept", "added", "removed"] = "kept"
    refused: tuple[str, ...] = ()
    base: str | None = None
    drift: tuple[Drift, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """The pinned wire form."""
        return {
            "env": self.env,
            "kind": self.kind,
            "changes": [change.as_json() for change in self.changes],
            "refused": list(self.refused),
            "base": self.base,
            "drift": None if self.drift is None else [item.as_json() for item in self.drift],
        }


@dataclass(frozen=True, slots=True)
class ContractChange:
    """What changed in a contract.

    Attributes:
        category: The contract's category.
        key: The setting, None where the contract as a whole is concerned.
        kind: What changed of it.
        message: One sentence, without a sensitive value.
        place: Where the contract says so.
        breaks: What stops working by it, one sentence each; empty when nothing does.
        readers: Services that read the setting now; None = nobody was asked.
    """

    category: str
    key: str | None
    kind: ContractKind
    message: str
    place: Place
    breaks: tuple[str, ...] = ()
    readers: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """For `--format json`."""
        return {
            "category": self.category,
            "key": self.key,
            "kind": self.kind,
            "message": self.message,
            "source": _source(self.place),
            "breaks": list(self.breaks),
            "readers": None if self.readers is None else list(self.readers),
        }


@dataclass(frozen=True, slots=True)
class RepositoryChange:
    """What changed in the files that govern the rest: environments, services, policies, recipients, roles, flags."""

    file: str
    message: str

    def as_json(self) -> dict[str, str]:
        """For `--format json`."""
        return {"file": self.file, "message": self.message}


@dataclass(frozen=True, slots=True)
class GrantedException:
    """A policy that was set aside by a trailer: `Kemudi-Exception: <rule> <why>`."""

    rule: str
    why: str
    findings: int

    def as_json(self) -> dict[str, Any]:
        """For `--format json`."""
        return {"rule": self.rule, "why": self.why, "findings": self.findings}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a change does. Immutable.

    Attributes:
        base: The revision before, None where there is none.
        head: The revision after; `worktree@<12 hex>` for uncommitted files.
        environments: In promotion order; those that go away come last.
        contracts: Changed contracts.
        repository: Changes in the files that govern the rest.
        quiet: Edits without effect.
        findings: Errors of the files, and what the policies say of the change as a whole.
        exceptions: Policies that were set aside.
        notes: What a reader should know of this plan, one sentence each.
    """

    base: str | None
    head: str
    environments: tuple[EnvironmentPlan, ...]
    contracts: tuple[ContractChange, ...] = ()
    repository: tuple[RepositoryChange, ...] = ()
    quiet: tuple[NoEffect, ...] = ()
    findings: tuple[Finding, ...] = ()
    exceptions: tuple[GrantedException, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> Iterator[Change]:
        """The changes of all environments."""
        return (change for each in self.environments for change in each.changes)

    def as_json(self) -> dict[str, Any]:
        """The pinned wire form, for `--format json`, the API and the console."""
        return {
            "base": self.base,
            "head": self.head,
            "environments": [each.as_json() for each in self.environments],
            "contracts": [each.as_json() for each in self.contracts],
            "repository": [each.as_json() for each in self.repository],
            "quiet": [each.as_json() for each in self.quiet],
            "findings": [each.as_json() for each in self.findings],
            "exceptions": [each.as_json() for each in self.exceptions],
            "notes": list(self.notes),
        }


Readers = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Services by environment and key."""


def _source(place: Place | None) -> dict[str, Any] | None:
    return None if place is None else {"file": place.file, "line": place.line}
