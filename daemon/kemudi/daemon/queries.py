"""Questions about history that HTTP callers ask, on a handle of their own: the reconciling thread never waits."""

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import KemudiError

_CACHED: Final = 10_000


class Queries:
    """Opened at the first question. Safe to use from several threads."""

    def __init__(self, path: Path, version: Callable[[], int] = lambda: 0) -> None:
        """Take the repository, and what changes when it was made anew."""
        self._path = path
        self._version = version
        self._opened_version = 0
        self._lock = threading.Lock()
        self._repository: ConfigRepository | None = None
        # Ancestry between two commits never changes.
        self._ancestry: Callable[[str, str], bool] = lru_cache(_CACHED)(self._is_ancestor)

    def resolve(self, name: str) -> str | None:
        """The commit of any git name, None when there is none."""
        with self._lock:
            try:
                return self._open().resolve(name)
            except KemudiError:
                return None

    def tip(self, branch: str | None) -> str | None:
        """The branch's commit now."""
        if branch is None:
            return None
        with self._lock:
            try:
                return self._open().branch_tip(branch)
            except KemudiError:
                return None

    def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether a commit is another one or follows it. False when either is not known here."""
        if descendant == ancestor:
            return True
        try:
            return self._ancestry(ancestor, descendant)
        except KemudiError:
            return False

    def close(self) -> None:
        """Release the handle."""
        with self._lock:
            if self._repository is not None:
                self._repository.close()
                self._repository = None

    def _is_ancestor(self, ancestor: str, descendant: str) -> bool:
        with self._lock:
            return self._open().is_ancestor(ancestor, descendant)

    def _open(self) -> ConfigRepository:
        version = self._version()
        if self._repository is not None and version != self._opened_version:
            self._repository.close()
            self._repository = None
        if self._repository is None:
            self._repository = ConfigRepository.open(self._path)
            self._opened_version = version
        return self._repository
