"""Who set which value, when and why: from the history of the config repo, computed beside the requests."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kemudi.console.board import Board


@dataclass(frozen=True, slots=True)
class Origin:
    """The commit that gave a setting its value.

    Attributes:
        revision: Full SHA.
        author_name: Who.
        author_email: Their address.
        at: When, UTC.
        reason: The body of its message, or the subject where there is none.
    """

    revision: str
    author_name: str
    author_email: str
    at: datetime
    reason: str


class Provenance:
    """Origins by environment, for the newest commit that was looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Mapping[str, Mapping[str, Origin]] = {}

    def of(self, board: Board, env: str) -> Mapping[str, Origin]:
        """Origins by key; those of the commit before while the newest one is still read."""
        del board
        return self._known.get(env, {})
