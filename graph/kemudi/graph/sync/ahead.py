"""Read what is needed next while something else is waited for."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Generic, Self, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class Ahead(Generic[K, T]):
    """Reads one thing ahead, in a thread of its own. A context manager: it ends with what is being read.

    Args:
        read: What to read, from its key; it may raise.
        name: Of the thread.
    """

    def __init__(self, read: Callable[[K], T], name: str) -> None:
        self._read = read
        self._name = name
        self._expected: tuple[K, Future[T]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._expected is not None:
            self._expected[1].exception()

    def expect(self, key: K) -> None:
        """Begin to read what will be taken next."""
        future: Future[T] = Future()
        self._expected = (key, future)
        # Not an executor: that would keep the process from ending while a source does not answer.
        threading.Thread(target=self._fill, args=(future, key), name=self._name, daemon=True).start()

    def take(self, key: K) -> T:
        """What `key` stands for, once. It is read now if another was expected, or if reading ahead failed."""
        expected, self._expected = self._expected, None
        if expected is not None:
            error = expected[1].exception()
            if error is None and expected[0] == key:
                return expected[1].result()
        return self._read(key)

    def _fill(self, future: Future[T], key: K) -> None:
        try:
            future.set_result(self._read(key))
        except BaseException as error:  # noqa: BLE001  # reading it again, when it is needed, will say so
            future.set_exception(error)
