"""Break-glass at work: orders of operators, ends that come due, and what is applied published anew over a gate.

A pause, a bad commit or a git that is away keeps new revisions back; none of them keeps an override back. Where the
usual way does not get as far as publishing, the revision that is applied is published once more, with the overrides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kemudi.daemon.attempt import Attempt, Seen, Stopped
from kemudi.daemon.bench import Bench
from kemudi.daemon.conditions import Condition, ConditionType, Reason
from kemudi.daemon.overrides import Override, admitted
from kemudi.daemon.telemetry import Telemetry
from kemudi.schema.documents import JSON
from kemudi.schema.errors import ConflictError, KemudiError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.state import ConfigState


@dataclass
class BreakGlass:
    """The overrides of one environment. Belongs to the reconciling thread."""

    bench: Bench
    telemetry: Telemetry

    def set(self, key: str, value: JSON, *, reason: str, author: str, until: datetime) -> None:
        """Put an override in force. Raises UsageError, RefusedError, ConflictError, UnavailableError."""
        bench = self.bench
        made = admitted(
            self._state(),
            bench.env,
            key,
            value,
            reason=reason,
            author=author,
            until=until,
            now=datetime.now(UTC),
        )
        bench.overrides.put(made)
        failpoint("overrides.recorded")
        self._changed("override-set", made.said, (key,))

    def end(self, key: str, reason: str) -> None:
        """End an override before its time. Raises UsageError when there is none, UnavailableError."""
        override = self.bench.overrides.find(key)
        self.bench.overrides.end([override], reason)
        failpoint("overrides.recorded")
        self._changed("override-ended", f"{key}: {reason}", (key,))

    def expire(self) -> None:
        """Write down the end of those whose time is over. They are not in force from then on, written or not."""
        due = self.bench.overrides.due()
        if not due:
            return
        try:
            self.bench.overrides.end(due, "Its time is over.")
        except KemudiError as error:
            self.telemetry.warned(self.bench.env, error)
            self.bench.settled = None
            return
        keys = tuple(each.key for each in due)
        self._changed("override-expired", ", ".join(keys), keys)

    def merged(self, overrides: tuple[Override, ...]) -> None:
        """Git says the same now, and it is served: the overrides have done their work."""
        if not overrides:
            return
        try:
            self.bench.overrides.end(overrides, "Git says the same now.")
        except KemudiError as error:
            self.telemetry.warned(self.bench.env, error)
            return
        keys = tuple(each.key for each in overrides)
        self.telemetry.noted(self.bench, "override-merged", ", ".join(keys), keys)

    @property
    def lags(self) -> bool:
        """Whether what is served lacks an override, or still has one, and may be published."""
        bench = self.bench
        snapshot = bench.snapshot
        if snapshot is None or not bench.overrides.involved or bench.keeper.lease is None:
            return False
        if bench.gate is not None and bench.gate.reason is not Reason.PAUSED:
            return False
        # What was applied from a work tree is in no commit: it waits for the next save, or for the end of the pause.
        is_commit = bool(snapshot.base) and snapshot.base == snapshot.manifest.revision
        return is_commit and snapshot.overrides != bench.overrides.effective()

    def publish(self, walk: Callable[[Attempt], None]) -> None:
        """Walk the steps for the revision that is applied, whatever keeps newer ones back. Raises as the steps do."""
        bench = self.bench
        assert bench.snapshot is not None  # noqa: S101  # `lags` has looked
        base = bench.snapshot.base
        gate, bench.gate = bench.gate, None
        try:
            walk(Attempt(seen=Seen("commit", base, base)))
        finally:
            bench.gate = gate

    def condition(self) -> tuple[Condition, ...]:
        """What the status says while something is overridden."""
        active = self.bench.overrides.effective()
        if not active:
            return ()
        text = "; ".join(each.said for each in active)
        return (Condition(ConditionType.OVERRIDDEN, "True", Reason.BREAK_GLASS, text),)

    def as_json(self) -> tuple[dict[str, Any], ...]:
        """Every override in force, and whether it is served."""
        snapshot = self.bench.snapshot
        served = (snapshot.overrides or ()) if snapshot is not None else ()
        return tuple(each.as_json() | {"served": each in served} for each in self.bench.overrides.effective())

    def _state(self) -> ConfigState:
        """What is applied, by whose contracts and policies an override is judged; else the newest."""
        bench = self.bench
        applied = bench.applied
        try:
            if applied is not None and applied.base and applied.base == applied.revision:
                seen = Seen("commit", applied.base, applied.base)
            else:
                seen = bench.source.look(bench.mode)
            bench.source.read(seen)
            return bench.source.state(seen)
        except Stopped as stopped:
            raise ConflictError(f"what is applied cannot be read now: {stopped}") from None

    def _changed(self, kind: str, text: str, keys: tuple[str, ...]) -> None:
        """Look at the revision again, also at one that an override stood against."""
        self.bench.settled = None
        self.bench.bad.clear()
        self.telemetry.noted(self.bench, kind, text, keys)
