"""The words in which the daemon says how an environment is: the same in status, logs and metrics.

A condition has a type, a status (`True`, `False`, `Unknown`), a reason out of the list below and a message.
Polarity: `Ready` is good when `True`; every other type is present only when there is something to say, and
then is `True`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Truth = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    """`True`: Redis serves what git asks for. `False`: something older or nothing; the reason says why."""
    RECONCILING = "Reconciling"
    """Present while the daemon works toward the newest revision by itself, as between two retries."""
    STALLED = "Stalled"
    """Present when only a person can help: fix the commit, accept the rewrite, resume, provide a key."""
    HELD = "Held"
    """Present when `reject: category` keeps single categories at an older revision."""
    DRIFTED = "Drifted"
    """Present while the last check of Redis found something that the daemon had not written."""
    OVERRIDDEN = "Overridden"
    """Present while break-glass overrides stand above what git says; the message names each, and its end."""
    DEGRADED_WATCH = "DegradedWatch"
    """Present when file events are not available, so changes are found by polling alone."""
    SOURCE = "Source"
    """Present when git cannot be followed as usual; what is applied goes on being served and repaired."""


class Reason(StrEnum):
    """Why a condition has its status."""

    APPLIED = "Applied"
    """The newest revision is served."""
    STARTING = "Starting"
    """No reconcile has ended yet."""
    FETCH_FAILED = "FetchFailed"
    """The remote, or the local repository, cannot be read. Retried with backoff."""
    VALIDATION_FAILED = "ValidationFailed"
    """The newest revision has errors; the last good one is served. Ends with a correcting commit."""
    SECRET_REFUSED = "SecretRefused"  # noqa: S105  # a word, not a password
    """A sealed value cannot be opened or breaks its contract, or no key seals it at rest."""
    UNVERIFIED_COMMIT = "UnverifiedCommit"
    """`verify:` asks for signed commits, and one since the applied one is not signed by an allowed signer."""
    STORE_FAILED = "StoreFailed"
    """Redis is away, full or refuses. Retried with backoff; applied at once when it is back."""
    HISTORY_REWRITTEN = "HistoryRewritten"
    """The branch no longer contains what is applied. Ends with `kemudi accept-rewrite`."""
    HEAD_DETACHED = "HeadDetached"
    """Work-tree mode: HEAD names no branch, so saves belong to no line of history."""
    OFF_BRANCH = "OffBranch"
    """Work-tree mode: another branch than the served one is checked out."""
    UNBORN_BRANCH = "UnbornBranch"
    """The served branch has no commit yet."""
    BRANCH_DELETED = "BranchDeleted"
    """The served branch is gone."""
    GIT_BUSY = "GitBusy"
    """Work-tree mode: git holds `index.lock`, so the tree may be half-way. Looked at when it is released."""
    STALE_LOCK = "StaleLock"
    """`index.lock` is there and old: a git process died. Nothing waits for it; remove it by hand."""
    PAUSED = "Paused"
    """An operator stopped publishing; reason and end are in `paused`."""
    NOT_LEADER = "NotLeader"
    """Another daemon holds the lease of this environment and publishes."""
    FENCED = "Fenced"
    """Another daemon took over while this one was publishing; its write was refused by Redis."""
    STALE = "Stale"
    """The pointer in Redis moved meanwhile; read again."""
    NO_SUCH_ENVIRONMENT = "NoSuchEnvironment"
    """`kemudi.yaml` does not name this environment (any more)."""
    CATEGORY_HELD = "CategoryHeld"
    """At least one category has errors and stays at the revision in `held`."""
    DRIFT_REPAIRED = "DriftRepaired"
    """What Redis served was not what was applied; it was put back."""
    BREAK_GLASS = "BreakGlass"
    """Somebody overrode a setting for a while. Ends at its time, when git says the same, or by hand."""
    WATCH_UNAVAILABLE = "WatchUnavailable"
    """The system has no file events left to give (inotify limits), or none here."""
    MANIFEST_REFUSED = "ManifestRefused"
    """Redis serves this environment from another config repo, or in a newer format: not written over."""
    INTERNAL_ERROR = "InternalError"
    """A bug: the log has the traceback. Retried with backoff."""


HUMAN: Final = frozenset(
    {
        Reason.VALIDATION_FAILED,
        Reason.SECRET_REFUSED,
        Reason.UNVERIFIED_COMMIT,
        Reason.HISTORY_REWRITTEN,
        Reason.HEAD_DETACHED,
        Reason.OFF_BRANCH,
        Reason.UNBORN_BRANCH,
        Reason.BRANCH_DELETED,
        Reason.PAUSED,
        Reason.NO_SUCH_ENVIRONMENT,
        Reason.CATEGORY_HELD,
        Reason.MANIFEST_REFUSED,
    }
)
"""Reasons that make an environment `Stalled`: retrying does not help."""

RETRIED: Final = frozenset(
    {
        Reason.STORE_FAILED,
        Reason.FETCH_FAILED,
        Reason.FENCED,
        Reason.STALE,
        Reason.GIT_BUSY,
        Reason.INTERNAL_ERROR,
    }
)
"""Reasons that make an environment `Reconciling`: the daemon tries again by itself."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an environment.

    Attributes:
        type: What it is about.
        status: `True`, `False` or `Unknown`, as text.
        reason: One word for programs.
        message: One sentence for people; never a value of a setting.
    """

    type: ConditionType
    status: Truth
    reason: Reason
    message: str = ""

    def as_json(self) -> dict[str, str]:
        """The pinned wire form."""
        return {
            "type": str(self.type),
            "status": self.status,
            "reason": str(self.reason),
            "message": self.message,
        }


def conditions_of(reason: Reason, message: str, *, served: bool) -> tuple[Condition, ...]:
    """`Ready`, and `Stalled` or `Reconciling` where they apply, for the outcome of one reconcile.

    `served` says whether Redis serves the newest revision all the same, as under another leader.
    """
    ready = Condition(ConditionType.READY, "True" if served else "False", reason, message)
    if reason in HUMAN:
        return (ready, Condition(ConditionType.STALLED, "True", reason, message))
    if reason in RETRIED:
        return (ready, Condition(ConditionType.RECONCILING, "True", reason, message))
    return (ready,)
