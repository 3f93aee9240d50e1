"""The working state of one reconcile of one environment, and the ways in which it can end early."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from kemudi.daemon.conditions import Reason
from kemudi.daemon.order import Position, Relation
from kemudi.schema.findings import Finding
from kemudi.schema.state import ConfigState, ResolvedCategory
from kemudi.store.manifest import Manifest
from kemudi.store.snapshot import Category

if TYPE_CHECKING:  # overrides end a reconcile by a Rejected
    from kemudi.daemon.overrides import Override


class Stopped(Exception):  # noqa: N818  # an outcome, not a failure
    """The reconcile ends here; what is applied stays. Not an error of the program.

    Attributes:
        reason: The word for status, log and metrics.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a candidate is bad. Kept as data: an exception that is kept holds the frames that it passed.

    Attributes:
        reason: The word for status, log and metrics.
        findings: What is wrong, and where; at least one.
    """

    reason: Reason
    findings: tuple[Finding, ...]

    @property
    def message(self) -> str:
        """The first finding, and how many more there are."""
        first = self.findings[0]
        more = f" and {len(self.findings) - 1} more" if len(self.findings) > 1 else ""
        return f"{first.file}:{first.line}:{first.column}: {first.message}{more}"


class Rejected(Stopped):
    """The candidate itself is bad; an older commit may be good."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.reason, rejection.message)
        self.rejection = rejection

    @classmethod
    def for_findings(cls, reason: Reason, findings: tuple[Finding, ...]) -> Self:
        """Bad for these reasons."""
        return cls(Rejection(reason, findings))


class NothingToDo(Exception):  # noqa: N818  # an outcome, not a failure
    """The candidate is what is applied, and was looked at before."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at git (and the work tree) found: enough to know whether something is new.

    Attributes:
        mode: `commit` or `worktree`.
        revision: Full SHA, or `worktree@<12 hex>`.
        base: The commit it is or stands on.
    """

    mode: str
    revision: str
    base: str

    @property
    def is_commit(self) -> bool:
        """Whether the revision alone determines the content."""
        return self.revision == self.base


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is applied: as published by this daemon, or as learned from Redis.

    Attributes:
        manifest: Its manifest, verified.
        signed: The manifest's bytes in Redis.
        base: The commit it stands on, empty if unknown.
        blobs: Category to its bytes; a category whose blobs were damaged when it was learned is absent.
        resolved: Category to the very object that the blobs encode; empty after learning.
        counts: Category to its number of settings.
        held: Category to the revision it is held at.
        findings: Why they are held.
        sealed_with: Category to the names of the keys at rest that its secrets are sealed with.
        overrides: Those that are in it; None after learning, when that is not known.
    """

    manifest: Manifest
    signed: bytes
    base: str
    blobs: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    resolved: Mapping[str, ResolvedCategory] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    sealed_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    overrides: "tuple[Override, ...] | None" = None

    @property
    def by_digest(self) -> dict[str, bytes]:
        """Every blob at hand by its digest."""
        return {
            digest: blob
            for name, blobs in self.blobs.items()
            for digest, blob in zip(self.manifest.categories[name], blobs, strict=True)
        }


@dataclass(slots=True)
class Attempt:
    """Filled in step by step; each step reads what the steps before it wrote.

    Attributes:
        seen: The candidate.
        relation: Of the candidate to what is applied.
        position: Its place in history.
        state: The config repo at the candidate, checked.
        held: Category to the revision it is held at.
        findings: Why they are held.
        resolved: The categories of the environment, without those that are held at what is applied.
        fresh: The categories that differ from what is applied, unsealed.
        blobs: Every category, encoded.
        counts: Category to its number of settings.
        digests: Category to the names of its blobs.
        sealed_with: Category to the names of the keys at rest that its secrets are sealed with.
        overrides: Those that lie over the layers.
        merged: Those that git has caught up with.
        snapshot: What is published, or was found to be.
        published: Whether Redis was changed.
        seconds: How long each step took.
    """

    seen: Seen | None = None
    relation: Relation = Relation.SAME
    position: Position | None = None
    state: ConfigState | None = None
    held: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    resolved: dict[str, ResolvedCategory] = field(default_factory=dict)
    fresh: dict[str, Category] = field(default_factory=dict)
    blobs: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    digests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sealed_with: dict[str, tuple[str, ...]] = field(default_factory=dict)
    overrides: "tuple[Override, ...]" = ()
    merged: "tuple[Override, ...]" = ()
    snapshot: Snapshot | None = None
    published: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def candidate(self) -> Seen:
        """The candidate; the step `detect` has run."""
        assert self.seen is not None  # noqa: S101  # the order of the steps
        return self.seen

    @property
    def candidate_base(self) -> str:
        """The commit of what is published, "" when nothing is."""
        return self.snapshot.base if self.snapshot is not None else ""

    @property
    def config(self) -> ConfigState:
        """The config repo at the candidate; the step `parse` has run."""
        assert self.state is not None  # noqa: S101  # the order of the steps
        return self.state

    @property
    def place(self) -> Position:
        """The candidate's place; the step `resolve` has run."""
        assert self.position is not None  # noqa: S101  # the order of the steps
        return self.position
