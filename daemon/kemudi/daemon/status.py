"""What the daemon says of each environment: plain results, computed once at the end of a reconcile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kemudi.daemon.conditions import Condition, ConditionType, Reason
from kemudi.schema.findings import Finding
from kemudi.schema.generation import Generation
from kemudi.store.values import Acknowledgement, DriftItem


@dataclass(frozen=True, slots=True)
class AppliedStatus:
    """What Redis serves.

    Attributes:
        revision: Full SHA, or `worktree@<12 hex>`.
        generation: Its place in order.
        at: When it was published; RFC 3339, UTC.
        base: The commit that a work tree stands on; the revision itself for a commit, empty if unknown.
    """

    revision: str
    generation: Generation
    at: str
    base: str = ""

    def as_json(self) -> dict[str, str]:
        """The pinned wire form."""
        return {"revision": self.revision, "generation": str(self.generation), "at": self.at}


@dataclass(frozen=True, slots=True)
class PauseStatus:
    """Why an environment is not published to, and until when (None: until it is resumed)."""

    reason: str
    until: str | None

    def as_json(self) -> dict[str, str | None]:
        """The pinned wire form."""
        return {"reason": self.reason, "until": self.until}


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """One environment after its last reconcile.

    Attributes:
        env: Its name.
        attempted: The newest revision that was looked at, None before the first.
        applied: What Redis serves, None before the first publish.
        conditions: How it is; `Ready` comes first.
        errors: Why `attempted` was refused.
        rejected: The revision that `errors` belong to, None when there are none.
        held: Category to the revision that it is held at (`reject: category`).
        drift: What the last checks found in Redis that the daemon had not written.
        drift_at: When that was.
        paused: Set while an operator has stopped publishing.
        mode: `commit` or `worktree`.
        leader: Who holds the lease, as far as known.
        settings: How many settings are served.
        duration_ms: Of the last reconcile that did something.
        sealed_with: Category to the keys at rest that its served secrets are sealed with.
        overrides: Break-glass overrides in force, in their wire form, and whether each is served.
    """

    env: str
    attempted: str | None = None
    applied: AppliedStatus | None = None
    conditions: tuple[Condition, ...] = (Condition(ConditionType.READY, "Unknown", Reason.STARTING),)
    errors: tuple[Finding, ...] = ()
    rejected: str | None = None
    held: Mapping[str, str] = field(default_factory=dict)
    drift: tuple[DriftItem, ...] = ()
    drift_at: str | None = None
    paused: PauseStatus | None = None
    mode: str = "commit"
    leader: str | None = None
    settings: int = 0
    duration_ms: float = 0.0
    sealed_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    overrides: tuple[Mapping[str, Any], ...] = ()

    @property
    def ready(self) -> Condition:
        """The condition `Ready`."""
        return self.conditions[0]

    def as_json(self, clients: Iterable[Acknowledgement] = ()) -> dict[str, Any]:
        """The pinned wire form, with what the clients say."""
        return {
            "env": self.env,
            "attempted": self.attempted,
            "applied": None if self.applied is None else self.applied.as_json(),
            "conditions": [condition.as_json() for condition in self.conditions],
            "errors": [finding.as_json() for finding in self.errors],
            "clients": [client_as_json(client, self.applied) for client in clients],
            "drift": [item.as_json() for item in self.drift],
            "drift_at": self.drift_at,
            "paused": None if self.paused is None else self.paused.as_json(),
            "rejected": self.rejected,
            "held": dict(self.held),
            "mode": self.mode,
            "leader": self.leader,
            "settings": self.settings,
            "duration_ms": round(self.duration_ms, 3),
            "sealed_with": {name: list(keys) for name, keys in self.sealed_with.items() if keys},
            "overrides": [dict(each) for each in self.overrides],
        }


def client_state(client: Acknowledgement, applied: AppliedStatus | None) -> str:
    """`current`, `behind` or `refused`, of one client against what is applied."""
    if client.state == "refused":
        return "refused"
    try:
        generation = Generation.parse(client.generation)
    except ValueError:
        return "behind"
    return "current" if applied is None or generation >= applied.generation else "behind"


def client_as_json(client: Acknowledgement, applied: AppliedStatus | None) -> dict[str, Any]:
    """The pinned wire form of one client."""
    return {
        "service": client.service,
        "instance": client.instance,
        "revision": client.revision or None,
        "generation": client.generation or None,
        "state": client_state(client, applied),
        "reason": client.reason or None,
        "refused_revision": client.refused_revision or None,
        "restart_pending": list(client.restart_pending),
        "keys_read": list(client.keys_read),
        "key_ids": list(client.key_ids),
        "at": client.at,
    }
