"""Where requests meet the reconciling thread: answers from what it left, and orders handed over to it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from kemudi.daemon.conditions import Condition, Reason
from kemudi.daemon.convergence import Convergence
from kemudi.daemon.environment import Environment
from kemudi.daemon.metrics import Metrics
from kemudi.daemon.pause import Pauses
from kemudi.daemon.queries import Queries
from kemudi.daemon.status import EnvironmentStatus, client_state
from kemudi.daemon.trigger import Cause, Trigger
from kemudi.daemon.waiting import Target, Waiter
from kemudi.schema.documents import JSON
from kemudi.schema.errors import KemudiError, UsageError
from kemudi.store.values import Acknowledgement


class Reconciling(Protocol):
    """What the desk needs of the reconciler."""

    @property
    def environments(self) -> Sequence[Environment]:
        """Those that are served."""

    @property
    def statuses(self) -> Sequence[EnvironmentStatus]:
        """Of every environment that was asked for, also of those that cannot be served."""

    @property
    def source_status(self) -> dict[str, Any]:
        """How git is followed."""

    def accept_rewrite(self, env: str, reason: str) -> EnvironmentStatus:
        """Serve a rewritten history. Waits for the reconciling thread."""

    def ordered(self, env: str, order: Callable[[Environment], None]) -> EnvironmentStatus:
        """Do something to an environment, then look at it again. Waits for the reconciling thread."""

    def operated(self, env: str, kind: str, reason: str) -> EnvironmentStatus:
        """Note what an operator did, and look at the environment again. Waits for the reconciling thread."""


@dataclass
class Desk:
    """Used by the threads of the HTTP server."""

    reconciler: Reconciling
    trigger: Trigger
    pauses: Pauses
    queries: Queries
    measured: Metrics
    local: bool
    branch: Callable[[], str | None]
    closing: bool = False

    def status(self) -> dict[str, Any]:
        """The pinned wire form of every environment, and how git is followed."""
        shown = [status.as_json(self._clients(status.env)) for status in self.reconciler.statuses]
        return {"environments": shown, "source": self.reconciler.source_status}

    def readiness(self) -> tuple[bool, str]:
        """Whether every environment is served and Redis answers; what is not as git wants it."""
        statuses = self.reconciler.statuses
        if not statuses:
            return False, "no environment is known yet"
        waiting = [status.env for status in statuses if status.applied is None]
        if waiting:
            first = next(status for status in statuses if status.applied is None)
            return False, f"nothing was published yet to {', '.join(waiting)}: {_said(first.ready)}"
        for environment in self.reconciler.environments:
            if environment.status.ready.reason is Reason.STORE_FAILED:
                return False, environment.status.ready.message
            try:
                environment.bench.store.ping()
            except KemudiError as error:
                return False, str(error)
        held = [
            f"{status.env}: {_said(status.ready)}" for status in statuses if status.ready.status != "True"
        ]
        return True, "; ".join(held)

    def metrics(self) -> bytes:
        """The text exposition format, with the clients as they are now."""
        for status in self.reconciler.statuses:
            states = [client_state(client, status.applied) for client in self._clients(status.env)]
            for state in ("current", "behind", "refused"):
                self.measured.clients.labels(status.env, state).set(states.count(state))
        return self.measured.render()

    def drift(self, env: str | None) -> dict[str, Any]:
        """What Redis serves now, compared with what is applied."""
        chosen = self.reconciler.environments if env is None else [self._environment(env)]
        found = [
            {"env": each.bench.env, "drift": [item.as_json() for item in each.differences()]}
            for each in chosen
        ]
        if any(one["drift"] for one in found):
            self.trigger.ring(Cause.DRIFT)
        return {"environments": found}

    def log(self, env: str | None, limit: int) -> dict[str, Any]:
        """The log that the store keeps of an environment, the newest first. It is bounded, and gone with the store.

        Raises UsageError, StoreUnavailableError.
        """
        chosen = self.reconciler.environments if env is None else [self._environment(env)]
        found = [
            {"env": each.bench.env, "entries": [asdict(entry) for entry in each.bench.store.log(limit)]}
            for each in chosen
        ]
        return {"environments": found}

    def begin_wait(self, env: str, revision: str) -> "Waiting":
        """Somebody waits for a revision. Raises UsageError."""
        if not revision:
            raise UsageError("`revision` is missing")
        environment = self._environment(env)
        self.trigger.ring(Cause.REQUEST)
        waiter = Waiter(Target(revision), self.queries, environment.history, self.branch(), local=self.local)
        return Waiting(self, environment, waiter)

    def request_reconcile(self) -> None:
        """Look at git and at Redis now."""
        self.trigger.ring(Cause.REQUEST, rescan=True)

    def webhook(self) -> None:
        """Something was pushed somewhere."""
        self.trigger.ring(Cause.WEBHOOK)

    def accept_rewrite(self, env: str, reason: str) -> dict[str, Any]:
        """Serve a rewritten history from now on. Raises UsageError, ConflictError."""
        self._environment(env)
        return self.reconciler.accept_rewrite(env, reason).as_json(self._clients(env))

    def pause(self, env: str, reason: str, until: datetime | None) -> dict[str, Any]:
        """Stop publishing. Raises UsageError."""
        self._environment(env)
        self.pauses.pause(env, reason, until)
        return self.reconciler.operated(env, "paused", reason).as_json(self._clients(env))

    def resume(self, env: str) -> dict[str, Any]:
        """Publish again. Raises UsageError."""
        self._environment(env)
        self.pauses.resume(env)
        return self.reconciler.operated(env, "resumed", "").as_json(self._clients(env))

    def overrides(self, env: str | None) -> dict[str, Any]:
        """The break-glass overrides in force. Raises UsageError."""
        chosen = self.reconciler.environments if env is None else [self._environment(env)]
        found = [{"env": one.bench.env, "overrides": [*map(dict, one.status.overrides)]} for one in chosen]
        return {"environments": found}

    def override(
        self, env: str, key: str, value: JSON, reason: str, author: str, until: datetime
    ) -> dict[str, Any]:
        """Put a value above every layer for a while. Raises UsageError, RefusedError, ConflictError."""
        self._environment(env)

        def order(environment: Environment) -> None:
            environment.break_glass.set(key, value, reason=reason, author=author, until=until)

        return self.reconciler.ordered(env, order).as_json(self._clients(env))

    def end_override(self, env: str, key: str, reason: str) -> dict[str, Any]:
        """End an override before its time. Raises UsageError when there is none."""
        self._environment(env)
        status = self.reconciler.ordered(env, lambda environment: environment.break_glass.end(key, reason))
        return status.as_json(self._clients(env))

    def clients(self, environment: Environment) -> list[Acknowledgement]:
        """What every live process says. Raises StoreUnavailableError."""
        return environment.bench.store.acknowledgements()

    def _clients(self, env: str) -> list[Acknowledgement]:
        """The same for display: none while Redis is away, which the conditions say."""
        found = next((each for each in self.reconciler.environments if each.bench.env == env), None)
        if found is None or found.status.ready.reason is Reason.STORE_FAILED:
            return []
        try:
            return self.clients(found)
        except KemudiError:
            return []

    def _environment(self, env: str) -> Environment:
        found = next((each for each in self.reconciler.environments if each.bench.env == env), None)
        if found is None:
            known = ", ".join(each.bench.env for each in self.reconciler.environments) or "none"
            raise UsageError(f"the daemon serves no environment {env[:63]!r}; it serves: {known}")
        return found


@dataclass(slots=True)
class Waiting:
    """One long poll."""

    desk: Desk
    environment: Environment
    waiter: Waiter

    def look(self) -> Convergence:
        """How it stands now. While Redis is away nobody can be known to run anything."""
        status = self.environment.status
        try:
            clients = self.desk.clients(self.environment)
        except KemudiError as error:
            served = status.applied.revision if status.applied is not None else None
            return Convergence(self.waiter.revision, served, "timeout", (), str(error))
        return self.waiter.judge(status, clients)

    def at_the_end(self, found: Convergence) -> Convergence:
        """The answer when the time is up."""
        return self.waiter.at_the_end(found)


def _said(condition: Condition) -> str:
    return f"{condition.reason} {condition.message}".strip()
