"""One sync at a time on one graph, wherever the processes are: a lease in the graph itself, with fencing.

The node `SyncLease` has an epoch, a holder and a beat. Taking the lease raises the epoch. Every transaction of the sync
ends with a look at it, under its lock: with another epoch there the transaction is rolled back. A holder that slept
past its lease therefore writes nothing, whatever it believes. Whether a holder lives shows its beat alone, watched on
the watcher's own clock: no clocks are compared.
"""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from kemudi.graph.errors import GraphMovedError, LeaseHeldError, LeaseLostError
from kemudi.graph.stores.base import GraphStore, Step
from kemudi.graph.sync.checkpoint import Range, now
from kemudi.graph.sync.gate import StoppedError
from kemudi.schema.errors import KemudiError

LEASE_SECONDS: Final = 15.0
"""A holder whose beat stands still for so long has lost its lease to whoever wants it."""

_BEATS: Final = 5
"""In the time of a lease: some may be late."""

_LOOKS: Final = 20
_LOOK_SECONDS: Final = 0.2
_JOIN_SECONDS: Final = 1.0
_NOBODY: Final = ""


@dataclass(frozen=True, slots=True)
class Fence:
    """Writes under a lease that this process, or one that gave it work, has taken.

    Attributes:
        store: The graph, by any connection.
        epoch: Of the lease.
    """

    store: GraphStore
    epoch: int

    def write(self, steps: Sequence[Step]) -> None:
        """One transaction, if the lease still has this epoch. Raises LeaseLostError, and what the store raises."""
        self._write(steps, ("hold_lease", {"epoch": self.epoch}))

    def move(self, steps: Sequence[Step], part: Range, further: Range) -> None:
        """The same, with the step of a range from where it was.

        Raises GraphMovedError when another has moved the range meanwhile; nothing is written then either.
        """
        moved = {"from_id": part.after_id, "after_id": further.after_id, "until_id": part.until_id}
        self._write(steps, ("move_range", {"epoch": self.epoch, "name": part.name, **moved}))

    def _write(self, steps: Sequence[Step], last: Step) -> None:
        try:
            self.store.write(steps, fence=last)
        except GraphMovedError:
            seen = _look(self.store)
            if seen.epoch != self.epoch:
                raise LeaseLostError(seen.told) from None
            raise


@dataclass(frozen=True, slots=True)
class Seen:
    """The lease at one moment."""

    epoch: int
    beat: int
    holder: str
    since: str

    @property
    def told(self) -> str | None:
        """Who has it, for a message; None: nobody."""
        if self.holder == _NOBODY:
            return None
        host, _, rest = self.holder.rpartition("/")[0].rpartition("/")
        return f"process {rest} on {host}, since {self.since}"


_NONE: Final = Seen(-1, 0, _NOBODY, "")


class Lease:
    """This process's hold on the sync of one graph, from taking it to giving it back.

    Args:
        store: The graph.
        ending: Set when the process ends; nobody waits for a lease then.
        noted: Told whom a take-over waits for.
        seconds: How long a beat may stand still.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: GraphStore,
        ending: threading.Event,
        noted: Callable[[str], None],
        *,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._ending = ending
        self._noted = noted
        self._seconds = seconds
        self._clock = clock
        self._holder = f"{_process()}{secrets.token_hex(4)}"
        self._epoch = 0
        self._passing = threading.Lock()
        self._given_back = threading.Event()
        self._beating: threading.Thread | None = None

    @property
    def fence(self) -> Fence:
        """What writes under it."""
        return Fence(self._store, self._epoch)

    def take(self) -> Fence:
        """Take it when it is free, or when its holder shows no life for the time of a lease.

        May be repeated after an UnavailableError. Raises LeaseHeldError as soon as another holder's beat moves,
        StoppedError when the process ends meanwhile, and what the store raises.
        """
        first, since = _look(self._store), self._clock()
        if first == _NONE:
            self._store.write([("make_lease", {})])
            first = _look(self._store)
        while not self._is_mine(first):
            if self._is_free(first):
                self._try_to_take(first)
            elif self._clock() - since >= self._seconds:
                self._store.end_writes(first.epoch)
                self._try_to_take(first)
            else:
                self._noted(f"waiting whether the sync's holder lives: {first.told}")
                if self._ending.wait(min(_LOOK_SECONDS, self._seconds / _LOOKS)):
                    raise StoppedError("the process ends")
            seen = _look(self._store)
            if seen != first and not self._is_mine(seen):
                if not self._is_free(seen):
                    raise LeaseHeldError(seen.told)
                since = self._clock()
            first = seen
        self._epoch = first.epoch
        self._beating = threading.Thread(target=self._beat, name="sync-lease", daemon=True)
        self._beating.start()
        return self.fence

    def pass_on(self) -> Fence:
        """The next epoch for the same holder: what others were given to do under this one ends.

        May be repeated after an UnavailableError. Raises LeaseLostError, and what the store raises.
        """
        with self._passing:
            try:
                self._pass_to(self._holder)
                self._epoch += 1
            except GraphMovedError:
                seen = _look(self._store)
                if not self._is_mine(seen):
                    raise LeaseLostError(seen.told) from None
                self._epoch = seen.epoch  # an earlier try went through, and its answer was lost
        return self.fence

    def give_back(self) -> None:
        """End the hold; without the graph it ends by itself."""
        if self._beating is None:
            return
        self._given_back.set()
        self._beating.join(_JOIN_SECONDS)
        with contextlib.suppress(KemudiError):
            self._pass_to(_NOBODY)

    def _pass_to(self, holder: str) -> None:
        parameters = {"epoch": self._epoch, "holder": holder, "since": now() if holder else ""}
        self._store.write([], fence=("pass_lease", parameters))

    def _try_to_take(self, seen: Seen) -> None:
        parameters = {"epoch": seen.epoch, "beat": seen.beat, "holder": self._holder, "since": now()}
        with contextlib.suppress(GraphMovedError):  # another was quicker, or the holder lives
            self._store.write([], fence=("take_lease", parameters))

    def _is_mine(self, seen: Seen) -> bool:
        return seen.holder == self._holder

    def _is_free(self, seen: Seen) -> bool:
        """Nobody has it, or somebody who cannot live while this process has the store open."""
        return seen.holder == _NOBODY or (self._store.exclusive and not seen.holder.startswith(_process()))

    def _beat(self) -> None:
        while not self._given_back.wait(self._seconds / _BEATS):
            # A lease that is lost is told to those who write.
            with self._passing, contextlib.suppress(KemudiError):
                self.fence.write([])


def _look(store: GraphStore) -> Seen:
    found = store.read("lease", {})
    return Seen(**found[0]) if found else _NONE


def _process() -> str:
    """Asked for anew each time: a forked process is another one."""
    return f"{socket.gethostname()}/{os.getpid()}/"
