"""What the daemon counts, for Prometheus. Labels are environments, stages, outcomes, reasons: never keys."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_FAST: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """The counters of one daemon, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.reconciles = self._counter("reconciles", "Reconciles that did something.", "env", "outcome")
        self.failures = self._counter("reconcile_failures", "Reconciles that ended early.", "env", "reason")
        self.duration = self._histogram("reconcile_seconds", "From the first step to the last.", "env")
        self.stages = self._histogram("stage_seconds", "One step of a reconcile.", "env", "stage")
        self.last_sync = self._gauge(
            "last_sync_timestamp_seconds", "When Redis was seen to serve what git says.", "env"
        )
        self.last_applied = self._gauge(
            "last_applied_timestamp_seconds", "When a snapshot was last published.", "env"
        )
        self.generation = self._gauge("applied_generation", "A part of the generation.", "env", "part")
        self.settings = self._gauge("applied_settings", "Settings served.", "env")
        self.ready = self._gauge("ready", "1: the newest revision is served.", "env")
        self.condition = self._gauge("condition", "1: the condition holds.", "env", "type", "reason")
        self.leader = self._gauge("leader", "1: this daemon publishes.", "env")
        self.clients = self._gauge("clients", "Live clients.", "env", "state")
        self.drift = self._counter("drift", "Things in Redis that nobody published.", "env", "kind")
        self.repairs = self._counter("drift_repairs", "Snapshots put back.", "env")
        self.fenced = self._counter("fenced", "Publishes that another daemon fenced off.", "env")
        self.skipped = self._counter("skipped_revisions", "Commits that were coalesced.", "env")
        self.hints = self._counter("hints", "Wake-ups by cause.", "cause")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kemudi_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"kemudi_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"kemudi_{name}", text, labels, registry=self._registry, buckets=_FAST)

    def show_conditions(self, env: str, now: Mapping[str, str], before: Mapping[str, str]) -> None:
        """Set the conditions (type to reason) that hold, clear those that held before."""
        for kind, reason in before.items():
            if now.get(kind) != reason:
                self.condition.labels(env, kind, reason).set(0)
        for kind, reason in now.items():
            self.condition.labels(env, kind, reason).set(1)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)
