"""The service manager is told when the daemon is ready, alive and stopping (systemd's sd_notify protocol)."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends states to the socket that the service manager named, or nowhere.

    Attributes:
        address: A path, or `@name` for an abstract socket; empty when no manager listens.
        watchdog_seconds: How often the manager wants a sign of life, None when it does not.
    """

    address: str = ""
    watchdog_seconds: float | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC. A watchdog meant for another process is none."""
        usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        mine = not pid or pid == str(os.getpid())
        seconds = int(usec) / _MICROSECONDS if usec.isdigit() and mine else None
        return cls(environ.get("NOTIFY_SOCKET", ""), seconds)

    def tell(self, *states: str) -> None:
        """Send the states in one datagram. A manager that does not listen is not our failure."""
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.connect(address)
                channel.sendall("\n".join(states).encode())
        except OSError:
            return
