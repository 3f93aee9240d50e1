"""Read what is needed next while something else is waited for."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
        self._reader = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._expected: tuple[K, Future[T]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.shutdown(cancel_futures=True)

    def expect(self, key: K) -> None:
        """Begin to read what will be taken next."""
        self._expected = (key, self._reader.submit(self._read, key))

    def take(self, key: K) -> T:
        """What `key` stands for, once. It is read now if another was expected, or if reading ahead failed."""
        expected, self._expected = self._expected, None
        if expected is not None:
            error = expected[1].exception()
            if error is None and expected[0] == key:
                return expected[1].result()
        return self._read(key)
