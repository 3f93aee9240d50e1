"""Checks that can refuse a new snapshot before it is served.

A check sees the settings that it asked for as they would be, those that require a restart included. It refuses by
raising, by returning False, or by giving no answer in time. A refused snapshot is refused as a whole: the process
keeps everything of the old one, and says so with the reason. The check is asked again at every newer snapshot and
from time to time, because what it looks at may have changed.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from kemudi.client.diff import changed_names, selected
from kemudi.client.view import Selection, Served, cache_of, plaintexts
from kemudi.schema.errors import UsageError
from kemudi.schema.masking import described, masked

TIMEOUT_SECONDS: Final = 10.0
MOST_SECONDS: Final = 20.0
"""While a check is waited for nothing is acknowledged, and an acknowledgement lives 30 seconds."""

Check: TypeAlias = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a snapshot is not served: one line, secrets masked.

    Attributes:
        kind: `prepare` or `binding`.
        reason: For the acknowledgement and the log.
    """

    kind: str
    reason: str


class Preparation:
    """A registered check, asked until `.close()`. Also usable as a context manager."""

    def __init__(self, owner: "Preparations", selector: str, check: Check, timeout: float) -> None:
        self._owner = owner
        self._check = check
        self._timeout = timeout
        self._running: _Run | None = None
        self.selector = selector

    def close(self) -> None:
        """Ask no more. May be repeated."""
        self._owner.remove(self)

    def ask(self, values: Mapping[str, Any]) -> Callable[[], str | None]:
        """Start the check in a thread. The answer waits for it, and is what is wrong, None for consent.

        While an earlier call hangs no other is started. Its answer would be about other values, so it counts for
        nothing.
        """
        if self._running is not None and not self._running.done:
            return lambda: f"an earlier call of the check has given no answer in {self._timeout:g} s"
        self._running = _Run(self._check, values, self._timeout)
        return self._running.problem

    def after_fork(self) -> None:
        """In the child no call of the parent runs."""
        self._running = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Preparations:
    """The checks of one client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registered: tuple[Preparation, ...] = ()

    def add(self, selector: str, check: Check, timeout: float = TIMEOUT_SECONDS) -> Preparation:
        """Register a check of a category, or of the settings whose names match a glob. Raises UsageError."""
        if not 0 < timeout <= MOST_SECONDS:
            raise UsageError(f"the time limit of a check is more than 0 and at most {MOST_SECONDS:g} seconds")
        preparation = Preparation(self, selector, check, timeout)
        with self._lock:
            self._registered = (*self._registered, preparation)
        return preparation

    def remove(self, preparation: Preparation) -> None:
        """Forget it."""
        with self._lock:
            self._registered = tuple(other for other in self._registered if other is not preparation)

    def after_fork(self) -> None:
        """In the child the lock may be held by nobody."""
        self._lock = threading.Lock()
        for preparation in self._registered:
            preparation.after_fork()

    def refusal(self, accepted: Served, candidate: Served) -> Refusal | None:
        """Ask every check whose settings change. All run at once; waits for the slowest, at most its time limit.

        Args:
            accepted: The snapshot accepted last, without pins.
            candidate: The one to judge, without pins.
        """
        if not self._registered:
            return None
        changed = set(changed_names(accepted, candidate))
        asked: list[tuple[Preparation, Callable[[], str | None]]] = []
        for preparation in self._registered:
            wanted = selected(preparation.selector, candidate)
            if changed & (wanted | selected(preparation.selector, accepted)):
                asked.append((preparation, preparation.ask(Selection(cache_of(candidate), wanted))))
        for preparation, answer in asked:
            problem = answer()
            if problem is not None:
                secrets = [*plaintexts(accepted), *plaintexts(candidate)]
                return Refusal("prepare", masked(f"{preparation.selector}: {problem}", secrets))
        return None


class _Run:
    """One call of a check. Its thread is a daemon: a check that hangs holds up neither the client nor the exit."""

    def __init__(self, check: Check, values: Mapping[str, Any], timeout: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._timeout = timeout
        self._problem: str | None = "the check did not finish"
        self._done = threading.Event()
        thread = threading.Thread(target=self._call, args=(check, values), name="kemudi-prepare", daemon=True)
        thread.start()

    def _call(self, check: Check, values: Mapping[str, Any]) -> None:
        try:
            self._problem = "the check refused" if check(values) is False else None
        except BaseException as error:  # noqa: BLE001 - whatever a check raises is its way to refuse
            self._problem = described(error)
        finally:
            self._done.set()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def problem(self) -> str | None:
        """What is wrong, None for consent."""
        if not self._done.wait(max(0.0, self._deadline - time.monotonic())):
            return f"the check gave no answer in {self._timeout:g} s"
        return self._problem
