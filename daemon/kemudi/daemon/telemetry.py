"""What a reconcile leaves behind: one log line, entries in the environment's log in Redis, metrics. Same words each."""

import time

from kemudi.daemon.attempt import Attempt, Rejection, Seen, Snapshot, Stopped
from kemudi.daemon.bench import Bench
from kemudi.daemon.conditions import Condition, Reason
from kemudi.daemon.logs import Log
from kemudi.daemon.metrics import Metrics
from kemudi.daemon.served import described
from kemudi.daemon.status import EnvironmentStatus
from kemudi.daemon.trigger import Hints
from kemudi.schema.errors import KemudiError
from kemudi.store.values import DriftItem, LogEntry

_MOST_ERRORS = 20


class Telemetry:
    """Log and metrics of one daemon."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    def reconciled(
        self,
        before: EnvironmentStatus,
        after: EnvironmentStatus,
        attempt: Attempt,
        outcome: Stopped | None,
        hints: Hints,
    ) -> None:
        """The end of a reconcile: a line if something happened, metrics always."""
        reason = outcome.reason if outcome is not None else Reason.APPLIED
        changed = before.ready != after.ready or before.attempted != after.attempted
        if attempt.published or changed:
            self._line(after, attempt, reason, outcome, hints)
            self._metrics.reconciles.labels(after.env, _outcome(attempt, reason)).inc()
            self._metrics.duration.labels(after.env).observe(after.duration_ms / 1000)
        if outcome is not None and changed:
            self._metrics.failures.labels(after.env, reason).inc()
        if reason is Reason.FENCED:
            self._metrics.fenced.labels(after.env).inc()
        for stage, seconds in attempt.seconds.items():
            if attempt.published:
                self._metrics.stages.labels(after.env, stage).observe(seconds)
        self._gauges(before, after)

    def _line(
        self,
        after: EnvironmentStatus,
        attempt: Attempt,
        reason: Reason,
        outcome: Stopped | None,
        hints: Hints,
    ) -> None:
        snapshot = attempt.snapshot
        self._log.log(
            20 if outcome is None or reason is Reason.NOT_LEADER else 30,
            "reconciled",
            env=after.env,
            outcome=_outcome(attempt, reason),
            reason=str(reason),
            message=str(outcome) if outcome is not None else "",
            revision=after.attempted,
            applied=after.applied.revision if after.applied else None,
            generation=str(after.applied.generation) if after.applied else None,
            causes=sorted(hints.causes),
            duration_ms=round(after.duration_ms, 3),
            settings=after.settings,
            categories=len(snapshot.blobs) if snapshot is not None else 0,
            encoded=len(attempt.fresh),
            errors=[
                f"{item.file}:{item.line}:{item.column}: {item.rule} {item.message}"
                for item in after.errors[:_MOST_ERRORS]
            ],
            steps_ms={name: round(seconds * 1000, 3) for name, seconds in attempt.seconds.items()},
        )

    def _gauges(self, before: EnvironmentStatus, after: EnvironmentStatus) -> None:
        env, metrics = after.env, self._metrics
        ready = after.ready.status == "True"
        metrics.ready.labels(env).set(ready)
        metrics.leader.labels(env).set(after.leader is not None)
        if ready:
            metrics.last_sync.labels(env).set(time.time())
        if after.applied is not None and after.applied != before.applied:
            metrics.last_applied.labels(env).set(time.time())
            metrics.settings.labels(env).set(after.settings)
            generation = after.applied.generation
            for part in ("era", "depth", "serial"):
                metrics.generation.labels(env, part).set(getattr(generation, part))
        if after.conditions != before.conditions:
            metrics.show_conditions(env, _reasons(after.conditions), _reasons(before.conditions))

    def published(self, bench: Bench, before: Snapshot | None, attempt: Attempt) -> None:
        """A snapshot went live: name the commits that were skipped on the way."""
        if before is None or not before.base or not attempt.candidate_base:
            return
        assert attempt.snapshot is not None  # noqa: S101  # it was published
        steps = attempt.snapshot.manifest.generation.depth - before.manifest.generation.depth
        try:
            skipped = bench.source.skipped(before.base, attempt.candidate_base, steps)
            if skipped:
                self._metrics.skipped.labels(bench.env).inc(len(skipped))
                bench.store.append_log(
                    self._entry(bench, "superseded", attempt.candidate_base, skipped=skipped)
                )
        except KemudiError as error:
            self._log.warning("log entry lost", env=bench.env, message=str(error))

    def rejected(self, bench: Bench, seen: Seen, rejection: Rejection) -> None:
        """The newest revision is bad: say so in the environment's log, if this daemon leads."""
        if bench.keeper.lease is None:
            return
        try:
            bench.store.append_log(self._entry(bench, "rejected", seen.revision, reason=rejection.message))
        except KemudiError as error:
            self._log.warning("log entry lost", env=bench.env, message=str(error))

    def drifted(self, env: str, items: tuple[DriftItem, ...]) -> None:
        """Redis held something that nobody had published."""
        self._log.warning("drift", env=env, found=len(items), message=described(items))
        for item in items:
            self._metrics.drift.labels(env, item.kind).inc()

    def repaired(self, env: str, items: tuple[DriftItem, ...]) -> None:
        """It was put back."""
        self._log.info("repaired", env=env, found=len(items))
        self._metrics.repairs.labels(env).inc()

    def warned(self, env: str, error: KemudiError) -> None:
        """Something failed that does not keep anything from being served."""
        self._log.warning("not kept", env=env, message=str(error))

    def crashed(self, env: str, error: Exception) -> None:
        """A bug: type and lines go to the log."""
        self._log.error("internal error", env=env, error=error)

    def noted(self, bench: Bench, kind: str, reason: str, keys: tuple[str, ...] = ()) -> None:
        """Something that an operator did, in the environment's log."""
        revision = bench.snapshot.manifest.revision if bench.snapshot is not None else ""
        self._log.info(kind, env=bench.env, message=reason)
        try:
            bench.store.append_log(self._entry(bench, kind, revision, reason=reason, keys=keys))
        except KemudiError as error:
            self._log.warning("log entry lost", env=bench.env, message=str(error))

    @staticmethod
    def _entry(
        bench: Bench,
        kind: str,
        revision: str,
        *,
        reason: str = "",
        skipped: tuple[str, ...] = (),
        keys: tuple[str, ...] = (),
    ) -> LogEntry:
        applied = bench.snapshot.manifest.generation if bench.snapshot is not None else ""
        return LogEntry(
            kind=kind,
            revision=revision,
            generation=str(applied),
            at=bench.wall(),
            reason=reason,
            holder=bench.keeper.holder,
            skipped=skipped,
            keys=keys,
        )


def _outcome(attempt: Attempt, reason: Reason) -> str:
    if attempt.published:
        return "published"
    return "unchanged" if reason is Reason.APPLIED else "held"


def _reasons(conditions: tuple[Condition, ...]) -> dict[str, str]:
    return {str(condition.type): str(condition.reason) for condition in conditions}
