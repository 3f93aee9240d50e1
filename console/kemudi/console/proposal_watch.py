"""What keeps open pages true about proposals: made, approved, changed or taken away, here, by hand or on the remote."""

import threading
from typing import Final

from structlog.typing import FilteringBoundLogger

from kemudi.console.waiting import Waiting
from kemudi.console.watch import Watch
from kemudi.repo.proposal_model import Proposal
from kemudi.schema.errors import KemudiError

_SECONDS: Final = 0.25


class ProposalWatch:
    """One thread that looks at a few files, and reads proposals only when one of them has changed."""

    def __init__(self, waiting: Waiting, watch: Watch, log: FilteringBoundLogger) -> None:
        self._waiting = waiting
        self._watch = watch
        self._log = log
        self._stamp: object = None
        self._known: dict[str, Proposal] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console-proposals", daemon=True)

    def start(self) -> None:
        """Begin to look. What is there at the start is told as well: a page may have opened meanwhile."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def _run(self) -> None:
        self._look()
        while not self._ending.wait(_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            stamp = self._waiting.stamp()
            if stamp == self._stamp:
                return
            found = {each.id: each for each in self._waiting.all()}
        except KemudiError:
            return  # the pages say that git cannot be read; the next look may work
        except Exception:  # noqa: BLE001  # whatever it is: this thread must go on
            self._log.exception("proposals cannot be looked at")
            return
        before, self._known, self._stamp = self._known, found, stamp
        for name in sorted(before.keys() | found.keys()):
            shown = found.get(name) or before[name]
            if _shown(before.get(name)) != _shown(found.get(name)):
                self._waiting.tell(self._watch.board, shown)


def _shown(found: Proposal | None) -> object:
    return None if found is None else (found.tip, found.state, found.approvals, found.asked)
