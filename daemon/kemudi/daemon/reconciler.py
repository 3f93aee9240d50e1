"""When to look, and for whom: one thread that turns hints, polls, retries and orders into passes."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from kemudi.daemon.attempt import Stopped
from kemudi.daemon.conditions import Condition, ConditionType, Reason, conditions_of
from kemudi.daemon.environment import Environment
from kemudi.daemon.logs import Log
from kemudi.daemon.metrics import Metrics
from kemudi.daemon.pause import Pauses
from kemudi.daemon.settings import DaemonSettings
from kemudi.daemon.source import Source
from kemudi.daemon.status import EnvironmentStatus
from kemudi.daemon.trigger import Cause, Hints, Trigger
from kemudi.schema import manifest as repo
from kemudi.schema.errors import ConflictError, KemudiError, UnavailableError

ORDER_SECONDS: Final = 30.0
"""How long a request waits for the reconciling thread."""

MakeEnvironment = Callable[[str, str, repo.Environment], Environment]
"""From the config repo's id, a mode and the entry in `kemudi.yaml`."""

T = TypeVar("T")


@dataclass
class Reconciler:
    """Everything but `statuses`, `environments`, `submit` and `stop` belongs to its thread."""

    settings: DaemonSettings
    source: Source
    trigger: Trigger
    pauses: Pauses
    make: MakeEnvironment
    metrics: Metrics
    log: Log
    clock: Callable[[], float] = time.monotonic
    beat: float = 0.0
    _environments: dict[str, Environment] = field(default_factory=dict)
    _statuses: tuple[EnvironmentStatus, ...] = ()
    _gone: dict[str, EnvironmentStatus] = field(default_factory=dict)
    _orders: "deque[Callable[[], None]]" = field(default_factory=deque)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _first: threading.Event = field(default_factory=threading.Event)
    _poll_due: float = 0.0
    _discovered: str | None = None

    @property
    def environments(self) -> Sequence[Environment]:
        """Those that are served, in the order of `kemudi.yaml`."""
        return tuple(self._environments.values())

    @property
    def statuses(self) -> Sequence[EnvironmentStatus]:
        """Of every environment that was asked for; those of the last pass."""
        return self._statuses

    @property
    def source_status(self) -> dict[str, Any]:
        """How git is followed."""
        problem = self.source.problem
        conditions = [condition.as_json() for condition in self.source.conditions()]
        if problem is not None:
            conditions.append(Condition(ConditionType.SOURCE, "True", problem.reason, str(problem)).as_json())
        return {"branch": self.source.branch, "tip": self.source.tip, "conditions": conditions}

    def run(self) -> None:
        """Work until `stop`. The first pass begins at once."""
        hints = Hints(frozenset({Cause.START}))
        while not self._stopping.is_set():
            self.beat = self.clock()
            self.once(hints)
            self._first.set()
            hints = self._next_hints()

    def once(self, hints: Hints) -> None:
        """One pass over git and every environment."""
        for cause in hints.causes:
            self.metrics.hints.labels(cause).inc()
        try:
            self._run_orders()
            self._pass(hints)
        except Exception as error:  # noqa: BLE001  # a bug must not end the daemon: what is served stays served
            self.log.warning("internal error", error=error)
            self._stopping.wait(0.5)

    def wait_first(self, timeout_seconds: float) -> bool:
        """Wait for the end of the first pass."""
        return self._first.wait(timeout_seconds)

    def stop(self) -> None:
        """End `run` after the pass that is under way. Any thread."""
        self._stopping.set()
        self.trigger.ring(Cause.REQUEST)

    def close(self) -> None:
        """Give back leases, release git and Redis. After `run` has ended."""
        for environment in self._environments.values():
            environment.stop()
        self.source.close()

    def submit(self, order: Callable[[], T]) -> T:
        """Run something in the reconciling thread and wait for it. Raises what it raises, or UnavailableError."""
        answer: Future[T] = Future()

        def carry_out() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(order())
                except BaseException as error:  # noqa: BLE001  # it belongs to the one who waits
                    answer.set_exception(error)

        self._orders.append(carry_out)
        self.trigger.ring(Cause.REQUEST)
        try:
            return answer.result(ORDER_SECONDS)
        except TimeoutError:
            answer.cancel()
            raise UnavailableError("the daemon is busy; try again") from None

    def accept_rewrite(self, env: str, reason: str) -> EnvironmentStatus:
        """Serve a rewritten history from now on. Any thread. Raises ConflictError when there is nothing to accept."""
        return self.submit(lambda: self._accept(env, reason))

    def operated(self, env: str, kind: str, reason: str) -> EnvironmentStatus:
        """An operator did something: look at the environment again. Any thread."""
        return self.ordered(env, lambda environment: environment.noted(kind, reason))

    def ordered(self, env: str, order: Callable[[Environment], None]) -> EnvironmentStatus:
        """Do something to an environment, then look at it again. Any thread. Raises what it raises."""
        return self.submit(lambda: self._carried_out(env, order))

    def _pass(self, hints: Hints) -> None:
        self.source.begin(hints)
        if self._discovered is None:
            self._discover()
        for environment in self.environments:
            environment.reconcile(hints)
        if self.source.tip != self._discovered and self._discover():
            for environment in self.environments:
                environment.reconcile(hints)
        self._publish_statuses()
        for environment in self.environments:
            environment.make_ready()

    def _discover(self) -> bool:
        """Take the environments from the newest readable `kemudi.yaml`. Returns whether any changed."""
        try:
            state = self.source.newest_manifest_state()
        except (Stopped, KemudiError):
            return False
        if state is None or state.manifest is None:
            return False
        self._discovered = self.source.tip
        wanted = {
            each.name: each
            for each in state.manifest.environments
            if not self.settings.environments or each.name in self.settings.environments
        }
        changed = False
        for name, entry in wanted.items():
            mode = (self.settings.mode or entry.mode) if self.source.has_work_tree else "commit"
            found = self._environments.get(name)
            if found is None:
                self._environments[name] = self.make(state.manifest.id, mode, entry)
                self._gone.pop(name, None)
                changed = True
            else:
                changed = found.configure(mode, entry.reject) or changed
        for name in [name for name in self._environments if name not in wanted]:
            self._retire(name)
        self._environments = {name: self._environments[name] for name in wanted}
        return changed

    def _retire(self, name: str) -> None:
        """`kemudi.yaml` names an environment no more: what Redis serves stays, and nobody publishes to it."""
        environment = self._environments[name]
        environment.stop()
        self._gone[name] = environment.status
        self.log.warning("environment gone", env=name)

    def _publish_statuses(self) -> None:
        served = [environment.status for environment in self.environments]
        missing = [name for name in self.settings.environments if name not in self._environments]
        missing += [name for name in self._gone if name not in missing]
        self._statuses = (*served, *(self._absent(name) for name in missing))

    def _absent(self, name: str) -> EnvironmentStatus:
        before = self._gone.get(name)
        problem = self.source.problem
        if problem is None and self.source.tip is None:
            try:
                self.source.look("commit")
            except Stopped as stopped:
                problem = stopped
        reason = problem.reason if problem is not None else Reason.NO_SUCH_ENVIRONMENT
        message = str(problem) if problem is not None else "kemudi.yaml names no such environment"
        applied = before.applied if before is not None else None
        conditions = conditions_of(reason, message, served=False)
        return EnvironmentStatus(name, self.source.tip, applied, conditions)

    def _run_orders(self) -> None:
        while self._orders:
            self._orders.popleft()()

    def _accept(self, env: str, reason: str) -> EnvironmentStatus:
        environment = self._environments[env]
        self.source.begin(Hints(frozenset({Cause.REQUEST})))
        environment.look_again()
        status = environment.reconcile(Hints(frozenset({Cause.REQUEST})))
        if status.ready.reason is not Reason.HISTORY_REWRITTEN:
            raise ConflictError(
                f"there is no rewritten history to accept in {env}: it is {status.ready.reason}",
                hint="`kemudi status` shows how it stands.",
            )
        environment.accept_rewrite(reason)
        status = environment.reconcile(Hints(frozenset({Cause.REQUEST})))
        self._publish_statuses()
        return status

    def _carried_out(self, env: str, order: Callable[[Environment], None]) -> EnvironmentStatus:
        environment = self._environments[env]
        self.source.begin(Hints(frozenset({Cause.REQUEST})))
        order(environment)
        environment.look_again()
        status = environment.reconcile(Hints(frozenset({Cause.REQUEST})))
        self._publish_statuses()
        return status

    def _next_hints(self) -> Hints:
        """Sleep until something is due or somebody rings."""
        now = self.clock()
        if self._poll_due <= now:
            self._poll_due = now + self.settings.poll_seconds
        due = [self._poll_due]
        due += [each.retry_at for each in self.environments if each.retry_at is not None]
        due += [each.drift_due for each in self.environments if each.drift_due > now]
        resume = self.pauses.seconds_to_next_end()
        if resume is not None:
            due.append(now + resume + 0.01)
        ends = [each.bench.overrides.seconds_to_next_end() for each in self.environments]
        due += [now + seconds + 0.01 for seconds in ends if seconds is not None]
        hints = self.trigger.wait(min(due) - now)
        return Hints(hints.causes | self._due_causes(), hints.paths, hints.rescan)

    def _due_causes(self) -> frozenset[Cause]:
        now = self.clock()
        causes = set()
        if now >= self._poll_due:
            causes.add(Cause.POLL)
        if any(each.retry_at is not None and now >= each.retry_at for each in self.environments):
            causes.add(Cause.RETRY)
        if any(now >= each.drift_due for each in self.environments):
            causes.add(Cause.DRIFT)
        return frozenset(causes)
