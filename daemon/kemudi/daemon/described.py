"""What the status of an environment says beside the outcome of its last reconcile."""

from collections.abc import Sequence

from kemudi.daemon.attempt import Snapshot
from kemudi.daemon.bench import Bench
from kemudi.daemon.conditions import Condition, ConditionType, Reason
from kemudi.daemon.status import AppliedStatus
from kemudi.schema.findings import Finding
from kemudi.store.values import DriftItem


def extra_conditions(bench: Bench, drift: Sequence[DriftItem]) -> tuple[Condition, ...]:
    """How git is followed, what is held back, and what was put back."""
    found = list(bench.source.conditions())
    snapshot = bench.snapshot
    if snapshot is not None and snapshot.held:
        names = ", ".join(f"{name} at {revision[:12]}" for name, revision in sorted(snapshot.held.items()))
        found.append(Condition(ConditionType.HELD, "True", Reason.CATEGORY_HELD, names))
    if drift:
        text = f"{len(drift)} found and put back"
        found.append(Condition(ConditionType.DRIFTED, "True", Reason.DRIFT_REPAIRED, text))
    return tuple(found)


def held_findings(snapshot: Snapshot | None, attempted: str | None) -> tuple[Finding, ...]:
    """Why categories of the newest revision are held back."""
    return snapshot.findings if snapshot is not None and snapshot.manifest.revision == attempted else ()


def applied_status(snapshot: Snapshot | None) -> AppliedStatus | None:
    """What Redis serves."""
    if snapshot is None:
        return None
    manifest = snapshot.manifest
    return AppliedStatus(manifest.revision, manifest.generation, manifest.applied_at, snapshot.base)
