"""One environment: leads or follows, learns what Redis serves, walks the steps, and says how it went."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kemudi.daemon.attempt import Attempt, NothingToDo, Rejected, Rejection, Seen, Stopped
from kemudi.daemon.backoff import Backoff
from kemudi.daemon.bench import Bench
from kemudi.daemon.breakglass import BreakGlass
from kemudi.daemon.conditions import RETRIED, Condition, ConditionType, Reason, conditions_of
from kemudi.daemon.described import applied_status, extra_conditions, held_findings
from kemudi.daemon.history import PublishedHistory
from kemudi.daemon.resealing import reseal
from kemudi.daemon.served import bounded, inspect, learn, repair
from kemudi.daemon.status import EnvironmentStatus
from kemudi.daemon.steps import STEPS
from kemudi.daemon.telemetry import Telemetry
from kemudi.daemon.trigger import Cause, Hints
from kemudi.repo.errors import CorruptObjectError
from kemudi.schema.errors import KemudiError
from kemudi.schema.failpoints import failpoint
from kemudi.store.errors import StoreRefusedError, StoreUnavailableError
from kemudi.store.values import DriftItem

DRIFT_SHOWN_SECONDS: Final = 10.0
"""Drift stays in the status at least so long, then until a check finds nothing."""

SWEEP_SECONDS: Final = 600.0
"""Between two searches for blobs that a crash left behind; one is made when a daemon begins to lead, too."""

_BAD_KEPT: Final = 1_000
_FROM_RESOLVE: Final = STEPS[1:]
_LOOK_AT_POINTER: Final = frozenset(Cause) - {Cause.WATCH, Cause.WEBHOOK}


@dataclass
class Environment:
    """Owned by the thread that reconciles; `status` may be read from any thread: it is replaced, never changed."""

    bench: Bench
    drift_seconds: float
    telemetry: Telemetry
    clock: Callable[[], float] = time.monotonic
    status: EnvironmentStatus = field(init=False)
    break_glass: BreakGlass = field(init=False)
    history: PublishedHistory = field(default_factory=PublishedHistory)
    retry_at: float | None = None
    _backoff: Backoff = field(default_factory=lambda: Backoff(0.05, 1.0))
    _learn: bool = True
    _gated: Reason | None = None
    _led: bool = False
    _drift_due: float = 0.0
    _drift: tuple[DriftItem, ...] = ()
    _drift_at: str | None = None
    _drift_since: float = 0.0
    _sweep_due: float = 0.0
    _rejection: tuple[str, Rejection] | None = None

    def __post_init__(self) -> None:
        self.status = EnvironmentStatus(self.bench.env, mode=self.bench.mode)
        self.break_glass = BreakGlass(self.bench, self.telemetry)

    @property
    def drift_due(self) -> float:
        """When the next comparison with Redis is due, on the monotonic clock."""
        return self._drift_due

    def configure(self, mode: str, reject: str) -> bool:
        """Follow what `kemudi.yaml` says of this environment. Returns whether that is new."""
        if (mode, reject) == (self.bench.mode, self.bench.reject):
            return False
        self.bench.mode, self.bench.reject, self.bench.settled = mode, reject, None
        self.bench.bad.clear()
        return True

    def look_again(self) -> None:
        """Forget that the candidate was looked at: a pause or the lease has changed."""
        self.bench.settled = None

    def accept_rewrite(self, reason: str) -> None:
        """Begin a new era with the candidate of the last reconcile. Raises KemudiError when it cannot be kept."""
        bench = self.bench
        new = bench.source.look(bench.mode).base
        old = bench.applied.base if bench.applied is not None else ""
        era = bench.local.accept_rewrite(bench.env, old, new, reason)
        bench.accept(max(era, bench.applied.generation.era + 1 if bench.applied is not None else era), new)
        self.noted("rewrite-accepted", reason)

    def noted(self, kind: str, reason: str) -> None:
        """Write what an operator did to the environment's log."""
        self.telemetry.noted(self.bench, kind, reason)

    def reconcile(self, hints: Hints) -> EnvironmentStatus:
        """Make what Redis serves equal to what git says, as far as possible now. Never raises."""
        attempt = Attempt()
        started = time.perf_counter()
        try:
            outcome = self._reconciled(attempt, hints)
            if self.break_glass.lags:
                outcome = self._overridden() or outcome
        except Exception as error:  # noqa: BLE001  # one environment's bug must not stop the others
            self.telemetry.crashed(self.bench.env, error)
            self._learn = True
            outcome = Stopped(Reason.INTERNAL_ERROR, f"internal error ({type(error).__name__}); see the log")
        self._schedule(outcome)
        before = self.status
        self.status = self._described(attempt, outcome, time.perf_counter() - started)
        self.telemetry.reconciled(before, self.status, attempt, outcome, hints)
        return self.status

    def make_ready(self) -> None:
        """Do ahead what the next save would wait for. Called when every environment has been served."""
        snapshot = self.bench.snapshot
        if self.bench.mode != "worktree" or snapshot is None or self.bench.keeper.lease is None:
            return
        try:
            self.bench.reserve_serial(f"after {snapshot.manifest.revision}")
        except KemudiError as error:
            self.telemetry.warned(self.bench.env, error)

    def differences(self) -> tuple[DriftItem, ...]:
        """Compare Redis with what is applied, changing nothing. Any thread. Raises StoreUnavailableError."""
        return (*inspect(self.bench), *(each.drift for each in self.bench.overrides.effective()))

    def stop(self) -> None:
        """Give the lease back and close the store."""
        self.bench.keeper.release()
        self.bench.store.close()

    def _reconciled(self, attempt: Attempt, hints: Hints) -> Stopped | None:
        """None when the newest revision is served; why not, otherwise."""
        bench = self.bench
        bench.gate = None
        self.break_glass.expire()
        try:
            self._prepare(hints)
        except Stopped as stopped:
            bench.gate = stopped
            self._learn = self._learn or stopped.reason in {Reason.STALE, Reason.FENCED}
        except KemudiError as error:
            bench.gate = self._failed(error)
        gate = bench.gate.reason if bench.gate is not None else None
        if gate != self._gated:
            self._gated, bench.settled = gate, None
        try:
            self._walk(attempt)
        except NothingToDo:
            return self._rejection_of(attempt) or bench.gate
        except Stopped as stopped:
            return self._stopped(attempt, stopped)
        except KemudiError as error:
            return self._failed(error)
        return self._rejection_of(attempt)

    def _overridden(self) -> Stopped | None:
        """Publish what is applied with its overrides, although something keeps newer revisions back."""
        try:
            self.break_glass.publish(self._serve)
        except Stopped as stopped:
            self._learn = self._learn or stopped.reason in {Reason.STALE, Reason.FENCED}
            return stopped
        except KemudiError as error:
            return self._failed(error)
        return None

    def _serve(self, attempt: Attempt) -> None:
        self._run(attempt, _FROM_RESOLVE)
        self._apply(attempt)

    def _failed(self, error: KemudiError) -> Stopped:
        """Which of the two sides cannot be reached, or refuses."""
        if isinstance(error, StoreUnavailableError | StoreRefusedError):
            self._learn = True
            return Stopped(Reason.STORE_FAILED, str(error))
        if isinstance(error, CorruptObjectError):
            self.bench.source.report_damage()
        return Stopped(Reason.FETCH_FAILED, str(error))

    def _stopped(self, attempt: Attempt, stopped: Stopped) -> Stopped:
        """What an early end means for the next pass."""
        gate = self.bench.gate
        if stopped.reason in {Reason.STALE, Reason.FENCED}:
            self._learn = True
        elif stopped is gate and attempt.seen is not None:
            self.bench.settled = attempt.seen.revision
        elif gate is not None and gate.reason is Reason.NOT_LEADER:
            # The leader may have published what this daemon has yet to see.
            return gate
        return stopped

    def _prepare(self, hints: Hints) -> None:
        """Lead if possible, learn what Redis serves, repair drift. Raises Stopped when nothing may be published."""
        bench = self.bench
        bench.keysets.reload()
        if bench.signatures.renewed(bench.env):
            bench.bad.clear()
            bench.settled = None
        if bench.snapshot is None:
            learn(bench)
        leads = self._lead()
        if leads and not self._led:
            self._learn, bench.settled, self._sweep_due = True, None, 0.0
        self._led = leads
        if not leads:
            learn(bench)
            raise Stopped(Reason.NOT_LEADER, f"{bench.store.lease_holder() or 'another daemon'} leads")
        if self._learn or hints.causes & _LOOK_AT_POINTER or not hints.causes:
            self._compare(check_blobs=self._learn or self.clock() >= self._drift_due)
            self._learn = False
        pause = bench.pauses.get(bench.env)
        if pause is not None:
            until = f" until {pause.status.until}" if pause.until else ""
            raise Stopped(Reason.PAUSED, f"paused{until}: {pause.reason}")
        if reseal(bench):
            self._keep()

    def _lead(self) -> bool:
        """Take or keep the lease, under an epoch above that of what Redis serves."""
        snapshot = self.bench.snapshot
        epoch = snapshot.manifest.epoch if snapshot is not None else 0
        return self.bench.keeper.acquire(after_epoch=epoch) is not None

    def _compare(self, *, check_blobs: bool) -> None:
        """Learn the pointer; where it or a blob is not what was published, say so and put it back."""
        bench = self.bench
        known = bench.snapshot
        learned = learn(bench)
        altered = known is not None and (bench.pointer is None or learned.foreign or learned.regressed)
        if known is None and (learned.foreign or learned.regressed):
            # Nothing is known that could be put back; the steps publish over it.
            self._found((DriftItem(None, None, "manifest-altered"),))
        elif altered or check_blobs:
            if bench.pointer is None and not bench.keeper.renew():
                # An emptied Redis has lost the lease and the epoch as well: lead anew before putting back.
                bench.keeper.drop()
                self._lead()
            items = inspect(bench)
            if items:
                self._found(items)
                repair(bench, items)
                self.telemetry.repaired(bench.env, items)
            elif self.clock() - self._drift_since >= DRIFT_SHOWN_SECONDS:
                self._drift, self._drift_at = (), None
            self._drift_due = self.clock() + self.drift_seconds
            if bench.snapshot is not None and self.clock() >= self._sweep_due:
                # Walks over every key of the server: seldom. Staged blobs of a crash expire by themselves.
                bench.store.sweep(bench.snapshot.manifest.digests)
                self._sweep_due = self.clock() + SWEEP_SECONDS

    def _found(self, items: tuple[DriftItem, ...]) -> None:
        self._drift, self._drift_at = bounded(items), self.bench.wall()
        self._drift_since = self.clock()
        self.telemetry.drifted(self.bench.env, items)

    def _walk(self, attempt: Attempt) -> None:
        """Walk the steps for the newest revision, and for older ones while they are bad."""
        self._run(attempt, STEPS[:1])
        newest = attempt.candidate
        try:
            self._try(attempt)
            self._rejection = None
        except Rejected as rejected:
            self._reject(newest, rejected.rejection)
            self._fall_back(attempt, newest)
        self._apply(attempt)
        self.bench.settled = newest.revision

    def _try(self, attempt: Attempt) -> None:
        known = self.bench.bad.get(attempt.candidate.revision)
        if known is not None:
            raise Rejected(known)
        self._run(attempt, _FROM_RESOLVE)

    def _run(self, attempt: Attempt, steps: tuple[tuple[str, Callable[[Bench, Attempt], None]], ...]) -> None:
        for name, step in steps:
            failpoint(f"daemon.{name}")
            start = time.perf_counter()
            try:
                step(self.bench, attempt)
            finally:
                attempt.seconds[name] = attempt.seconds.get(name, 0.0) + time.perf_counter() - start

    def _reject(self, seen: Seen, rejection: Rejection) -> None:
        """Note that the newest revision is bad; tell it once."""
        self._note_bad(seen, rejection)
        if self._rejection is None or self._rejection[0] != seen.revision:
            self._rejection = (seen.revision, rejection)
            self.telemetry.rejected(self.bench, seen, rejection)

    def _note_bad(self, seen: Seen, rejection: Rejection) -> None:
        bad = self.bench.bad
        bad[seen.revision] = rejection
        while len(bad) > _BAD_KEPT:
            del bad[next(iter(bad))]

    def _fall_back(self, attempt: Attempt, newest: Seen) -> None:
        """Serve the newest good commit that is newer than what is applied, if there is one.

        Where what was applied is known and nobody serves it any more, it is itself the one to go back to.
        """
        applied = self.bench.applied if self.bench.snapshot is not None else None
        for seen in self.bench.source.older(newest, applied.base if applied is not None else None):
            candidate = Attempt(seen=seen)
            try:
                self._try(candidate)
            except Rejected as rejected:
                self._note_bad(seen, rejected.rejection)
                continue
            except Stopped as stopped:
                if stopped.reason is Reason.HISTORY_REWRITTEN:
                    break
                raise
            attempt.snapshot, attempt.published = candidate.snapshot, candidate.published
            attempt.merged = candidate.merged
            return

    def _apply(self, attempt: Attempt) -> None:
        """Take over what was published, and keep it on disk."""
        if attempt.snapshot is None:
            return
        before = self.bench.snapshot
        self.bench.snapshot = attempt.snapshot
        self.break_glass.merged(attempt.merged)
        failpoint("daemon.announce")
        if attempt.published:
            self.telemetry.published(self.bench, before, attempt)
            self._keep()
        failpoint("daemon.announced")

    def _keep(self) -> None:
        """Write down what was published. It is live already, so a full disk is only worth a warning."""
        try:
            self.bench.remember()
        except KemudiError as error:
            self.telemetry.warned(self.bench.env, error)

    def _rejection_of(self, attempt: Attempt) -> Stopped | None:
        rejection = self._rejection
        if rejection is None or attempt.seen is None or rejection[0] != attempt.seen.revision:
            return None
        return Rejected(rejection[1])

    def _schedule(self, outcome: Stopped | None) -> None:
        if outcome is not None and outcome.reason in RETRIED:
            self.retry_at = self.clock() + self._backoff.next()
        else:
            self.retry_at = None
            self._backoff.reset()

    def _described(self, attempt: Attempt, outcome: Stopped | None, seconds: float) -> EnvironmentStatus:
        bench, before = self.bench, self.status
        if bench.snapshot is not None:
            served = bench.snapshot.manifest
            self.history.add(served.revision, bench.snapshot.base, served.generation)
        attempted = attempt.seen.revision if attempt.seen is not None else before.attempted
        rejection = self._rejection if self._rejection and self._rejection[0] == attempted else None
        did_nothing = "resolve" not in attempt.seconds
        pause = bench.pauses.get(bench.env)
        snapshot = bench.snapshot
        return EnvironmentStatus(
            env=bench.env,
            attempted=attempted,
            applied=applied_status(snapshot),
            conditions=self._conditions(outcome, attempted),
            errors=rejection[1].findings if rejection is not None else held_findings(snapshot, attempted),
            rejected=rejection[0] if rejection is not None else None,
            held=dict(snapshot.held) if snapshot is not None else {},
            drift=(*self._drift, *(each.drift for each in bench.overrides.effective())),
            drift_at=self._drift_at,
            paused=pause.status if pause is not None else None,
            mode=bench.mode,
            leader=bench.keeper.holder if bench.keeper.lease is not None else None,
            settings=snapshot.manifest.settings if snapshot is not None else 0,
            duration_ms=before.duration_ms if did_nothing else seconds * 1000,
            sealed_with=snapshot.sealed_with if snapshot is not None else {},
            overrides=self.break_glass.as_json(),
        )

    def _conditions(self, outcome: Stopped | None, attempted: str | None) -> tuple[Condition, ...]:
        snapshot = self.bench.snapshot
        served = snapshot is not None and snapshot.manifest.revision == attempted
        held = ""
        if snapshot is not None and snapshot.held:
            items = sorted(snapshot.held.items())
            held = "held: " + ", ".join(f"{name} at {revision[:12]}" for name, revision in items)
        if outcome is not None and outcome.reason is Reason.GIT_BUSY:
            # For a moment, as at each `git status` of an editor: what was true before is still the news.
            busy = Condition(ConditionType.RECONCILING, "True", Reason.GIT_BUSY, str(outcome))
            found: tuple[Condition, ...] = (self.status.ready, busy)
        elif outcome is None and held:
            found = conditions_of(Reason.CATEGORY_HELD, held, served=False)
        elif outcome is None:
            found = conditions_of(Reason.APPLIED, "", served=True)
        else:
            following = outcome.reason in {Reason.NOT_LEADER, Reason.PAUSED}
            found = conditions_of(outcome.reason, str(outcome), served=served and following)
        return (*found, *extra_conditions(self.bench, self._drift), *self.break_glass.condition())
