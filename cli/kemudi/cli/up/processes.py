"""Child processes that end with their parent: started, watched, restarted, stopped in reverse order."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kemudi.schema.errors import UnavailableError

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

RESTART_WINDOW: Final = 60.0
MOST_RESTARTS: Final = 5
GRACE_SECONDS: Final = 8.0


def _end_with_parent() -> None:
    # prctl(2): the kernel sends SIGTERM when the parent dies, however it dies; so no kill -9 leaves children behind.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One process of ours.

    Attributes:
        name: For messages and for the log file.
        argv: Program and arguments; nothing secret, since everybody can list them.
        env: The whole environment.
        log: Where stdout and stderr go, appended.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start it in a session of its own: a Ctrl-C in the terminal reaches the supervisor alone."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # the supervisor has one thread
            )
        self.starts.append(time.monotonic())

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace time."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Supervisor:
    """The children in the order of their start."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._children: list[Child] = []
        self._say = say

    def start(self, child: Child, ready: Callable[[], bool], timeout: float) -> None:
        """Start a child and wait until `ready`. Raises UnavailableError with its log when it ends or is too slow."""
        self._children.append(child)
        child.start()
        deadline = time.monotonic() + timeout
        while not ready():
            if not child.running:
                raise UnavailableError(f"{child.name} ended while starting; {child.log}:\n{child.tail()}")
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{child.name} was not ready within {timeout:.0f} s; {child.log}:\n{child.tail()}"
                )
            self._revive(self._children[:-1])
            time.sleep(0.05)

    def watch(self) -> None:
        """Restart what died. Raises UnavailableError when one dies again and again."""
        self._revive(self._children)

    def _revive(self, children: Sequence[Child]) -> None:
        for child in children:
            if child.running:
                continue
            recent = [moment for moment in child.starts if time.monotonic() - moment < RESTART_WINDOW]
            if len(recent) > MOST_RESTARTS:
                raise UnavailableError(
                    f"{child.name} ended {len(recent)} times; {child.log}:\n{child.tail()}"
                )
            # A pause that grows with each recent start; the one who waits for it is only this loop.
            if time.monotonic() - child.starts[-1] > 0.25 * 2 ** len(recent):
                self._say(f"{child.name} ended and is started again")
                child.start()

    def stop(self) -> None:
        """Stop all, the last started first."""
        for child in reversed(self._children):
            child.stop()


def base_environment() -> dict[str, str]:
    """Our own environment without KEMUDI_*: what a child shall know is given to it by name."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
