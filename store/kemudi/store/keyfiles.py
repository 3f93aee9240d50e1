"""Key files that may be replaced while a process runs: a rotation needs no restart."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from kemudi.schema.errors import KemudiError

_log: Final = logging.getLogger("kemudi.store")

T = TypeVar("T")


class KeyFile(Generic[T]):
    """What a key file holds, read again when it was replaced.

    Args:
        path: The file; None for a value that comes from elsewhere.
        load: Reads it. What it raises at the first read is raised, later it is logged and the old value kept.
        value: The value, where there is no file.
    """

    def __init__(self, path: Path | None, load: Callable[[Path], T] | None, value: T | None = None) -> None:
        self._path = path
        self._load = load
        self._stamp = self._look()
        self._value = value if path is None or load is None else load(path)

    @classmethod
    def fixed(cls, value: T | None) -> "KeyFile[T]":
        """A value without a file."""
        return cls(None, None, value)

    @property
    def value(self) -> T | None:
        """What was read last."""
        return self._value

    def reload(self) -> bool:
        """Read the file again if it was replaced. True when there is a new value."""
        stamp = self._look()
        if self._path is None or self._load is None or stamp is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._value = self._load(self._path)
        except KemudiError as error:
            _log.warning("keeping the keys read before: %s", error)
            return False
        return True

    def _look(self) -> tuple[int, int, int] | None:
        try:
            state = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return None if state is None else (state.st_ino, state.st_mtime_ns, state.st_size)
