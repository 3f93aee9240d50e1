"""What keeps the board fresh: one thread looks at git, one asks the daemon, and the hub is told what changed.

Two threads, because a daemon that hangs must not delay what git says.
"""

import threading
import time
from dataclasses import replace
from typing import Final

from structlog.typing import FilteringBoundLogger

from kemudi.console.board import Board, Sources, changed_keys, make_board
from kemudi.console.desired import Desired, environments_of
from kemudi.console.events import Hub
from kemudi.console.observed import DaemonClient, Observed
from kemudi.schema.errors import KemudiError
from kemudi.schema.sentences import sentence
from kemudi.schema.state import ConfigState

GIT_SECONDS: Final = 0.15
DAEMON_SECONDS: Final = 1.0
HURRY_SECONDS: Final = 0.15
"""How often the daemon is asked while git has something that is not published yet."""

_HURRY_FOR: Final = 10.0


class Watch:
    """Holds the newest board. `board` is one reference: whoever reads it works on one moment.

    Args:
        desired: Git.
        daemon: Whose answers are shown.
        hub: Told what changed.
        log: For a look that failed in a way that is a bug.
    """

    def __init__(self, desired: Desired, daemon: DaemonClient, hub: Hub, log: FilteringBoundLogger) -> None:
        self.board = Board()
        self._desired = desired
        self._daemon = daemon
        self._hub = hub
        self._log = log
        self._looking = threading.Lock()
        self._observed = Observed()
        self._asked_at = float("-inf")
        self._head: str | None = None
        self._moved_at = float("-inf")
        self._sources: Sources | None = None
        self._ending = threading.Event()
        self._threads = (
            threading.Thread(target=self._follow_git, name="console-git", daemon=True),
            threading.Thread(target=self._follow_daemon, name="console-daemon", daemon=True),
        )

    def start(self) -> None:
        """Look once, then go on looking."""
        self.refresh()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._ending.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(5)

    def refresh(self, *, ask: bool = True) -> Board:
        """Look now, and return the board; after a change of one's own the next page must show it."""
        if ask:
            self._observed = self._daemon.look()
            self._asked_at = time.monotonic()
        with self._looking:
            before = self.board
            after = self._look(before)
            if after is not before:
                self.board = after
                self._tell(before, after)
            return after

    def _follow_git(self) -> None:
        while not self._ending.wait(GIT_SECONDS):
            self._try(ask=False)

    def _follow_daemon(self) -> None:
        while not self._ending.wait(HURRY_SECONDS):
            if self._is_due():
                self._try(ask=True)

    def _try(self, *, ask: bool) -> None:
        try:
            self.refresh(ask=ask)
        except Exception:  # noqa: BLE001  # whatever it is: the next look may work, and the pages say how old they are
            self._log.exception("look failed")

    def _is_due(self) -> bool:
        now = time.monotonic()
        hurry = now - self._moved_at < _HURRY_FOR and any(
            each.behind for each in self.board.environments.values()
        )
        return now - self._asked_at >= (HURRY_SECONDS if hurry else DAEMON_SECONDS)

    def _look(self, before: Board) -> Board:
        try:
            branch, head = self._desired.head()
            if head is None:
                return _unreadable(before, sentence("the branch has no commit yet"), self._observed)
            if head != self._head:
                self._head, self._moved_at = head, time.monotonic()
            state = self._desired.state(head)
            published = self._published(state)
        except KemudiError as error:
            return _unreadable(before, error.message, self._observed)
        sources = Sources(branch, head, state, published, self._observed)
        if self._sources is not None and not before.git_problem and _same(self._sources, sources):
            return before
        self._sources = sources
        return make_board(sources, before)

    def _published(self, state: ConfigState) -> dict[str, ConfigState]:
        """The state behind what each environment serves, where it can be read here."""
        found: dict[str, ConfigState] = {}
        for env in environments_of(state):
            status = self._observed.of(env)
            revision = ((status or {}).get("applied") or {}).get("revision")
            known = self._state_of(revision) if revision else None
            if known is not None:
                found[env] = known
        return found

    def _state_of(self, revision: str) -> ConfigState | None:
        if not revision.startswith("worktree@"):
            try:
                return self._desired.state(self._desired.resolve(revision))
            except KemudiError:
                return None
        saved = self._desired.saved()
        return saved.state if saved is not None and saved.revision == revision else None

    def _tell(self, before: Board, after: Board) -> None:
        categories = after.state.category_of if after.state is not None else {}
        rows = [(env, key, categories.get(key, "")) for env, key in changed_keys(before, after)]
        # One event for the frame, after the rows: chain state, banners and counts.
        self._hub.publish([*rows, ("", "", "")], after.head or "", after.serial)


def _unreadable(before: Board, problem: str, observed: Observed) -> Board:
    if (before.git_problem, before.reachable) == (problem, observed.reachable):
        return before
    return replace(before, git_problem=problem, reachable=observed.reachable, serial=before.serial + 1)


def _same(before: Sources, now: Sources) -> bool:
    """Whether a board of these sources would look the same; times in the daemon's status do not count."""
    if (before.branch, before.head) != (now.branch, now.head) or before.state is not now.state:
        return False
    if before.published.keys() != now.published.keys():
        return False
    if any(now.published[env] is not state for env, state in before.published.items()):
        return False
    return _said(before.observed) == _said(now.observed)


def _said(observed: Observed) -> tuple[object, ...]:
    volatile = {"duration_ms", "drift_at", "at"}
    said: dict[str, object] = {}
    for env, status in observed.environments.items():
        shown: dict[str, object] = {name: value for name, value in status.items() if name not in volatile}
        shown["clients"] = [
            {name: value for name, value in client.items() if name not in volatile}
            for client in status.get("clients", ())
        ]
        said[env] = shown
    return observed.reachable, said
