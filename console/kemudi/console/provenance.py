"""Who set which value, when and why: the history of the config repo, read on a handle of its own."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from kemudi.console.board import Board
from kemudi.repo.approvals import Statement, every_statement
from kemudi.repo.errors import UnknownRevisionError
from kemudi.repo.history import Entry, History
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import KemudiError

_PATIENCE_SECONDS: Final = 0.4
"""How long a page waits for the history to catch up with a new commit; then it shows what was known before."""

Answer = TypeVar("Answer")
Places = tuple[tuple[str, str], ...]
"""Layer and setting."""


@dataclass(frozen=True, slots=True)
class Review:
    """What somebody said of a proposal.

    Attributes:
        revision: The commit that they spoke of.
        said: Who, when, what. Whether it is to be believed is not looked at.
        places: What the commit changes; empty where it is not here, or changes no setting.
    """

    revision: str
    said: Statement
    places: Places


class Provenance:
    """Answers about history. Safe to use from several threads; they take turns, and nobody waits for long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open: tuple[ConfigRepository, History] | None = None
        self._head: str | None = None
        self._origins: Mapping[str, Mapping[str, Entry]] = {}
        self._places: dict[str, Places] = {}

    def of(self, board: Board, env: str) -> Mapping[str, Entry]:
        """The entry that gave each setting its value, by key; those of an older commit while the newest is read."""
        if (
            board.head is not None
            and board.head != self._head
            and self._lock.acquire(timeout=_PATIENCE_SECONDS)
        ):
            try:
                self._catch_up(board)
            except KemudiError:
                self._forget()
            finally:
                self._lock.release()
        return self._origins.get(env, {})

    def prepare(self, board: Board) -> None:
        """Read the history for the first time, which may take a while, beside everything else."""
        threading.Thread(target=self.of, args=(board, ""), name="console-history", daemon=True).start()

    def of_key(self, key: str, env: str, *, limit: int, before: str | None = None) -> Sequence[Entry]:
        """What happened to a setting in one environment, newest first. Raises KemudiError."""
        return self._ask(lambda history: history.of_key(key, env=env, limit=limit, before=before))

    def latest(self, limit: int, *, before: str | None = None) -> Sequence[Entry]:
        """The newest entries of all settings. Raises KemudiError."""
        return self._ask(lambda history: history.latest(limit, before=before))

    def reviews(self, most: int) -> Sequence[Review]:
        """What reviewers said of proposals, in any console, the newest first. Raises KemudiError."""

        def said(history: History) -> Sequence[Review]:
            repository = self._open[0] if self._open is not None else None
            assert repository is not None  # noqa: S101  # `_ask` has opened it
            return [
                Review(sha, each, self._places_of(history, sha))
                for sha, each in every_statement(repository)[:most]
            ]

        return self._ask(said)

    def _places_of(self, history: History, sha: str) -> Places:
        """A commit never changes, so it is asked for once; one that is not here may come."""
        if sha not in self._places:
            try:
                changed = history.of_commit(sha)
            except UnknownRevisionError:
                return ()
            self._places[sha] = tuple(sorted({(entry.layer, entry.key) for entry in changed}))
        return self._places[sha]

    def close(self) -> None:
        """Close the handle."""
        with self._lock:
            self._forget()

    def _ask(self, question: Callable[[History], Answer]) -> Answer:
        with self._lock:
            try:
                return question(self._history())
            except KemudiError:
                self._forget()
                raise

    def _catch_up(self, board: Board) -> None:
        if board.head == self._head:
            return
        history = self._history()
        found = {
            env: {entry.key: entry for entry in history.blame(env, at=board.head)}
            for env in board.environments
        }
        self._origins, self._head = found, board.head

    def _history(self) -> History:
        if self._open is None:
            repository = ConfigRepository.open(self._path)
            self._open = repository, History(repository)
        return self._open[1]

    def _forget(self) -> None:
        if self._open is not None:
            repository, history = self._open
            self._open = None
            history.close()
            repository.close()
