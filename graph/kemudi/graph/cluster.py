"""Key ranges as tasks on a Dask cluster: `kemudi[dask]`.

The process that runs the sync takes the lease, plans the ranges and gives out pieces of them, each of about a second of
batches, so that SYNC_PAUSED, SYNC_PARALLELISM and the batch size hold within that time. A task carries its range, the
lease's epoch, the registry's names and a few numbers. Where registry and graph are, and their passwords, a worker knows
from its own environment and settings: nothing secret passes through the scheduler.

A piece counts by its checkpoints in the graph alone. A worker that dies in the middle has its task given to another,
which goes on from there; one that was believed dead and wakes up writes nothing that is not the next batch.
"""

import atexit
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from distributed import CancelledError, Client, Security, wait

import kemudi.client
from kemudi.graph.errors import TaskFailedError
from kemudi.graph.mapping import Names
from kemudi.graph.opening import open_store
from kemudi.graph.registry import Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Range
from kemudi.graph.sync.copying import BATCHES, Progress
from kemudi.graph.sync.gate import StoppedError
from kemudi.graph.sync.lease import Fence
from kemudi.graph.sync.ranges import FixedPace, copy_range
from kemudi.schema.errors import KemudiError, UnavailableError, UsageError
from kemudi.schema.hardening import harden

REGISTRY_VARIABLE: Final = "KEMUDI_REGISTRY"
PIECE_SECONDS: Final = 1.0
"""So long a worker goes on before it asks again."""

_RANGES: Final = 64
"""More than there will be workers: the last ones to end then wait for little."""

_CONNECT_SECONDS: Final = 10.0
_WORKERLESS_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5
_TLS_HINT: Final = "Name them in Dask's own settings, distributed.comm.tls."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """What one task is to copy. It is all that a worker is told.

    Attributes:
        part: The range, as far as it is known to be.
        epoch: Of the lease that it is copied under.
        batch_size: Rows in one transaction.
        attempts: How often a batch is tried again.
        names: Of the registry's tables and columns, where they are not the usual ones.
    """

    part: Range
    epoch: int
    batch_size: int
    attempts: int
    names: Names | None


class Cluster:
    """A `Copier` that has the ranges copied by the workers of a Dask cluster.

    Args:
        address: Of the scheduler, as tcp://host:8786, or tls:// with what Dask's own configuration says of keys.
        names: As in `Piece`.
    """

    def __init__(self, address: str, names: Names | None) -> None:
        self._address = address
        self._names = names

    def parts(self, rows: int, batch_size: int) -> int:
        """See `Copier`."""
        return max(1, min(_RANGES, rows // (BATCHES * batch_size)))

    def copy(self, fence: Fence, progress: Progress) -> None:
        """See `Copier`. Raises UnavailableError without a scheduler or workers, TaskFailedError."""
        client = _connected(self._address)
        with closing(client):
            _Handing(client, fence.epoch, self._names, progress).run()


class _Handing:
    """Gives out pieces and takes them back, until all ranges are through."""

    def __init__(self, client: Any, epoch: int, names: Names | None, progress: Progress) -> None:
        self._client = client
        self._epoch = epoch
        self._names = names
        self._progress = progress
        self._given: dict[str, tuple[Range, Any]] = {}  # a future of Dask
        self._workers_at = time.monotonic()

    def run(self) -> None:
        """See `Copier.copy`."""
        try:
            while self._progress.unfinished():
                self._give(self._progress.batch_size())
                self._await_one()
                self._take_back()
        finally:
            self._client.cancel([task for _, task in self._given.values()])

    def _give(self, size: int) -> None:
        for part in self._progress.due():
            if part.name not in self._given:
                piece = Piece(part, self._epoch, size, self._progress.attempts(), self._names)
                # Impure: the same piece may be asked for again, and what it does is not in its result.
                task = self._client.submit(copy_piece, piece, pure=False)
                self._given[part.name] = (part, task)

    def _await_one(self) -> None:
        try:
            wait([task for _, task in self._given.values()], _LOOK_SECONDS, "FIRST_COMPLETED")
        except TimeoutError:
            self._require_workers()
        except CancelledError as error:
            raise UnavailableError(
                "the Dask scheduler went away",
                hint="The checkpoint is kept; the next run goes on from there.",
            ) from error
        else:
            self._workers_at = time.monotonic()

    def _take_back(self) -> None:
        for name, (part, task) in list(self._given.items()):
            if task.done():
                del self._given[name]
                reached, rows = _result_of(task)
                if reached.after_id > part.after_id:
                    self._progress.copied(reached, rows)

    def _require_workers(self) -> None:
        """Tasks wait for workers without an end, so somebody else has to lose patience."""
        if self._client.scheduler_info(n_workers=1)["workers"]:
            self._workers_at = time.monotonic()
        elif time.monotonic() - self._workers_at > _WORKERLESS_SECONDS:
            raise UnavailableError(
                f"the Dask cluster has had no worker for {_WORKERLESS_SECONDS:g} s",
                hint="Start some with `dask worker`; the checkpoint is kept.",
            )


def copy_piece(piece: Piece) -> tuple[Range, int]:
    """What a worker does: copy for about a second. Where the range stands then, and the rows from where it stood.

    Raises TaskFailedError: a sentence that holds no address and no parameters.
    """
    try:
        store = _GRAPH.opened()
        with closing(_registry(piece.names)) as registry:
            pace = _PiecePace(piece)
            try:
                reached = copy_range(piece.part, Fence(store, piece.epoch), registry, pace)
            except StoppedError:
                reached = pace.reached
            return reached, registry.count_between(piece.part.after_id, reached.after_id)
    except KemudiError as error:
        raise TaskFailedError(f"{error} (worker on {socket.gethostname()})", hint=error.hint) from None


class _PiecePace:
    """The pace of a piece: the first batch, and others until the time is over."""

    def __init__(self, piece: Piece) -> None:
        self.reached = piece.part
        self._fixed = FixedPace(piece.batch_size, piece.attempts)
        self._until = time.monotonic() + PIECE_SECONDS
        self._begun = False

    def size(self) -> int:
        """See `Pace`."""
        if self._begun and time.monotonic() >= self._until:
            raise StoppedError("the piece is over")
        self._begun = True
        return self._fixed.size()

    def tried(self, action: Callable[[], T]) -> T:
        """See `Pace`."""
        return self._fixed.tried(action)

    def copied(self, part: Range, rows: int) -> None:  # noqa: ARG002  # the rows are counted at the end
        """See `Pace`."""
        self.reached = part


@dataclass(slots=True)
class _Graph:
    """The Neo4j of a worker process, by the settings that it reads itself; opened once."""

    _store: GraphStore | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def opened(self) -> GraphStore:
        """Raises KemudiError when it cannot be; the next call tries again."""
        with self._opening:
            if self._store is None:
                harden()
                with ExitStack() as stack:
                    config = stack.enter_context(
                        kemudi.client.connect(service="sync-worker", contracts=CONTRACTS)
                    )
                    store = open_store(config, None)
                    stack.callback(store.close)
                    atexit.register(stack.pop_all().close)
                self._store = store
            return self._store


_GRAPH: Final = _Graph()


def _registry(names: Names | None) -> Registry:
    dsn = os.environ.get(REGISTRY_VARIABLE)
    if not dsn:
        raise UsageError(
            f"{REGISTRY_VARIABLE} is not set",
            hint="Start `dask worker` with the variables of the sync: the registry's address and the client's.",
        )
    return Registry(dsn, names)


def _connected(address: str) -> Any:
    _require_keys(address)
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except ValueError as error:
        raise UsageError(
            f"{address!r} is not the address of a Dask scheduler", hint="tcp://host:8786"
        ) from error
    except (OSError, TimeoutError) as error:
        raise UnavailableError(
            f"no Dask scheduler answers at {address}", hint="Start one with `dask scheduler`."
        ) from error
    try:
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except TimeoutError as error:
        client.close()
        raise UnavailableError(
            f"the Dask cluster at {address} has no worker", hint="Start some with `dask worker`."
        ) from error
    return client


def _require_keys(address: str) -> None:
    """Asked before there is a client: one that fails for this cannot be closed any more."""
    if not address.startswith("tls://"):
        return
    try:
        context = Security().get_connection_args("client").get("ssl_context")
    except OSError as error:
        raise UsageError("the keys for TLS that Dask is to use cannot be read", hint=_TLS_HINT) from error
    if context is None:
        raise UsageError(f"{address} needs keys for TLS, and Dask knows of none", hint=_TLS_HINT)


def _result_of(task: Any) -> tuple[Range, int]:
    try:
        found: tuple[Range, int] = task.result()
    except KemudiError:
        raise
    except Exception as error:
        # A worker that dies again and again with a piece, a scheduler that went away, a cluster of another version.
        raise TaskFailedError(
            f"the Dask cluster could not copy a range ({type(error).__name__})",
            hint="The log of its workers says more; the checkpoint is kept.",
        ) from error
    return found
