"""What the steps of one environment work with: its collaborators, and what is known of it between reconciles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kemudi.daemon.attempt import Rejection, Seen, Snapshot, Stopped
from kemudi.daemon.lease import LeaseKeeper
from kemudi.daemon.order import AppliedPosition
from kemudi.daemon.overrides import Overrides
from kemudi.daemon.pause import Pauses
from kemudi.daemon.signatures import Signatures
from kemudi.daemon.source import Source
from kemudi.daemon.statefiles import read_json, write_json
from kemudi.daemon.unseal import Unsealer
from kemudi.repo.local import LocalRefs
from kemudi.repo.signatures import Method
from kemudi.schema.generation import Generation
from kemudi.store.base import SnapshotWriter
from kemudi.store.keyfiles import KeyFile
from kemudi.store.sealing import KeysetBundle, Sealer
from kemudi.store.signing import SigningKey, VerifyKeys


@dataclass(frozen=True, slots=True)
class Accepted:
    """A rewritten history that an operator accepted: `tip` and its descendants may be served in `era`."""

    era: int
    tip: str


@dataclass(slots=True)
class Bench:
    """One environment. Owned by the thread that reconciles.

    Attributes:
        env: Its name.
        repo_id: The config repo's id.
        mode: `commit` or `worktree`.
        reject: `commit` or `category`.
        source: The desired state.
        store: The served state.
        keeper: Its lease.
        local: The daemon's own refs: serials and eras.
        unsealer: Opens what is sealed in git.
        signatures: Verifies commits.
        keysets: Seal at rest; the value is None when no keyset file was given.
        signer: Signs manifests.
        trusted: Keys whose manifests count.
        pauses: What operators have paused.
        overrides: What operators have put above the layers.
        record: File that keeps what was applied last.
        snapshot: What is applied, None if that is not known.
        pointer: The bytes that Redis was last seen to hold in the manifest's place.
        remembered: What the record file says was applied, from before a restart.
        remembered_held: Which of its categories were held, and at which revision.
        accepted: The last accepted rewrite.
        era: Accepted rewrites so far.
        serial: Local serials so far.
        gate: Why nothing may be published now, None when it may.
        settled: The revision that needs no other look.
        bad: Commits that were rejected, so that they are not looked at again.
        spare: A serial that was reserved ahead, for the next save.
        reserved: The generation of content that could not be published yet.
        asked: How the commits after the applied one, which stands first, must be signed.
    """

    env: str
    repo_id: str
    mode: str
    reject: str
    source: Source
    store: SnapshotWriter
    keeper: LeaseKeeper
    local: LocalRefs
    unsealer: Unsealer
    signatures: Signatures
    keysets: KeyFile[KeysetBundle]
    signer: SigningKey
    trusted: VerifyKeys
    pauses: Pauses
    overrides: Overrides
    record: Path
    wall: Callable[[], str]
    snapshot: Snapshot | None = None
    pointer: bytes | None = None
    remembered: AppliedPosition | None = None
    remembered_held: Mapping[str, str] = field(default_factory=dict)
    accepted: Accepted | None = None
    era: int = 0
    serial: int = 0
    gate: Stopped | None = None
    settled: str | None = None
    bad: dict[str, Rejection] = field(default_factory=dict)
    spare: int | None = None
    reserved: tuple[str, Generation] | None = None
    asked: tuple[str, Method | None] | None = None

    def __post_init__(self) -> None:
        self.era = self.local.era(self.env)
        self.serial = self.local.serial(self.env)
        document = read_json(self.record)
        if isinstance(document, dict) and document.get("repo_id") == self.repo_id:
            self._recall(document)

    @property
    def sealer(self) -> Sealer | None:
        """Seals this environment's secrets at rest."""
        bundle = self.keysets.value
        return None if bundle is None else Sealer(bundle, repo_id=self.repo_id, env=self.env)

    @property
    def applied(self) -> AppliedPosition | None:
        """What readers may hold: the greater of what Redis serves and what was published before a restart."""
        snapshot = self.snapshot
        if snapshot is None:
            return self.remembered
        manifest = snapshot.manifest
        served = AppliedPosition(manifest.revision, snapshot.base, manifest.generation)
        if self.remembered is None:
            return served
        return max(served, self.remembered, key=lambda position: position.generation)

    def remember(self) -> None:
        """Keep what is applied on disk. It guards the order if Redis and this process are both lost."""
        snapshot = self.snapshot
        if snapshot is None:
            return
        manifest = snapshot.manifest
        self.remembered = AppliedPosition(manifest.revision, snapshot.base, manifest.generation)
        self.remembered_held = dict(snapshot.held)
        document: dict[str, Any] = {
            "repo_id": self.repo_id,
            "revision": manifest.revision,
            "base": snapshot.base,
            "generation": str(manifest.generation),
            "held": dict(snapshot.held),
        }
        if self.accepted is not None:
            document["accepted"] = {"era": self.accepted.era, "tip": self.accepted.tip}
        write_json(self.record, document, durable=False)

    def take_serial(self, at_least: int) -> int:
        """The next local serial. It was written down before it is used, so that no restart gives it again."""
        self.reserve_serial(f"at least {at_least}")
        assert self.spare is not None  # noqa: S101  # reserved just now
        self.serial, self.spare = max(self.spare, at_least), None
        return self.serial

    def reserve_serial(self, why: str) -> None:
        """Write the next serial down ahead: waiting for the disk would be most of the time of serving a save."""
        if self.spare is None:
            self.spare = self.local.advance(self.env, why)

    def accept(self, era: int, tip: str) -> None:
        """Let a rewritten history pass."""
        self.era, self.accepted, self.settled = era, Accepted(era, tip), None
        if self.snapshot is not None:
            self.remember()

    def base_of(self, revision: str) -> str:
        """The commit that an applied revision stands on, empty if unknown."""
        if not revision.startswith("worktree@"):
            return revision
        before = self.remembered
        return before.base if before is not None and before.revision == revision else ""

    def held_in(self, revision: str) -> Mapping[str, str]:
        """The categories that an applied revision holds back, as far as this daemon remembers."""
        before = self.remembered
        return self.remembered_held if before is not None and before.revision == revision else {}

    def is_settled(self, seen: Seen) -> bool:
        """Whether the candidate was looked at, with an outcome that another look would not change."""
        return self.settled == seen.revision

    def _recall(self, document: dict[str, Any]) -> None:
        try:
            generation = Generation.parse(document["generation"])
            self.remembered = AppliedPosition(str(document["revision"]), str(document["base"]), generation)
            held = document.get("held", {})
            self.remembered_held = {str(name): str(revision) for name, revision in held.items()}
            accepted = document.get("accepted")
            if accepted is not None:
                self.accepted = Accepted(int(accepted["era"]), str(accepted["tip"]))
                self.era = max(self.era, self.accepted.era)
        except (AttributeError, KeyError, TypeError, ValueError):
            return
