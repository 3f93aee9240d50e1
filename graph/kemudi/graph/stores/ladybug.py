"""The embedded store: Ladybug, an in-process Cypher database in one file.

One process at a time may have the file open for writing, so the graph service and the sync share a process there.
"""

import contextlib
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ladybug

from kemudi.graph.errors import GraphUnavailableError, QueryTimeoutError
from kemudi.graph.queries import query as text_of
from kemudi.graph.queries import statements
from kemudi.graph.stores.base import Parameters, Record
from kemudi.schema.failpoints import failpoint

_READERS: Final = 4
_BUFFER_BYTES: Final = 256 * 2**20
_THREADS: Final = 2
_INTERRUPTED: Final = "interrupted"


class LadybugStore:
    """A Ladybug database in one file. Many readers at once, each with a connection of its own; one writer."""

    name = "ladybug"
    parallel_writers = 1

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises GraphUnavailableError while another process has it open."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = ladybug.Database(
                str(path), buffer_pool_size=_BUFFER_BYTES, max_num_threads=_THREADS
            )
            self._writer = ladybug.Connection(self._database)
            self._all_readers = [ladybug.Connection(self._database) for _ in range(_READERS)]
        except RuntimeError as error:
            raise GraphUnavailableError(
                f"the graph store {path} cannot be opened: {_first_line(error)}",
                hint="Only one process at a time may open it; stop the other one.",
            ) from error
        self._readers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for reader in self._all_readers:
            self._readers.put(reader)
        self._writing = threading.Lock()
        self._closed = False

    def prepare(self) -> None:
        """Create the tables that are missing."""
        with self._writing:
            for statement in statements("ddl_ladybug"):
                _run(self._writer, statement, {})

    def read(self, query: str, parameters: Parameters, *, timeout: float | None = None) -> list[Record]:
        """Records as dictionaries; Ladybug interrupts the query after `timeout` seconds."""
        with self._reader() as reader:
            reader.set_query_timeout(int((timeout or 0) * 1000))
            try:
                return _run(reader, text_of(query), parameters)
            except RuntimeError as error:
                if timeout is not None and _INTERRUPTED in str(error).lower():
                    raise QueryTimeoutError(timeout) from error
                raise GraphUnavailableError(
                    f"the embedded store refused {query}: {_first_line(error)}"
                ) from error

    def write(self, steps: Sequence[tuple[str, Parameters]]) -> None:
        """One transaction at a time; rolled back as a whole when a step fails."""
        with self._writing:
            self._require_open()
            try:
                _run(self._writer, "BEGIN TRANSACTION", {})
                for name, parameters in steps:
                    _run(self._writer, text_of(name), parameters)
                failpoint("graph.before-commit")
                _run(self._writer, "COMMIT", {})
            except RuntimeError as error:
                with contextlib.suppress(RuntimeError):
                    _run(self._writer, "ROLLBACK", {})
                raise GraphUnavailableError(
                    f"the embedded store refused a batch: {_first_line(error)}"
                ) from error
        failpoint("graph.after-commit")

    def ping(self) -> None:
        """An embedded store answers as long as it is open."""
        self._require_open()

    def close(self) -> None:
        """Wait for the running queries, then close the file."""
        if self._closed:
            return
        with self._writing:
            self._closed = True
            for _ in self._all_readers:
                self._readers.get(timeout=10)
            for connection in (*self._all_readers, self._writer):
                connection.close()
            self._database.close()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Any]:
        self._require_open()
        try:
            reader = self._readers.get(timeout=30)
        except queue.Empty:
            raise GraphUnavailableError("all connections of the embedded store are busy") from None
        try:
            yield reader
        finally:
            self._readers.put(reader)

    def _require_open(self) -> None:
        if self._closed:
            raise GraphUnavailableError("the embedded store is closed")


def _run(connection: Any, statement: str, parameters: Mapping[str, Any]) -> list[Record]:  # untyped
    result = connection.execute(statement, dict(parameters))
    try:
        return list(result.rows_as_dict())
    finally:
        result.close()


def _first_line(error: BaseException) -> str:
    # The rest of the message may repeat parameters.
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
