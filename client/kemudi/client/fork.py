"""Clients in a process that forks, as gunicorn does with `--preload`.

A child has the memory of its parent and none of its threads, so each client that was open starts its own: new
connections, a new instance name. The parent notices nothing.
"""

import os
import weakref
from typing import Final, Protocol


class Forkable(Protocol):
    """What wants to know of a fork."""

    def after_fork(self) -> None:
        """Called in the child, in its only thread."""


_open: Final["weakref.WeakSet[Forkable]"] = weakref.WeakSet()
"""The one thing of the client that belongs to the whole process: a hook of `os` cannot be taken back."""


def watch(client: Forkable) -> None:
    """Tell this client of forks, until it is closed or forgotten."""
    _open.add(client)


def unwatch(client: Forkable) -> None:
    """Tell it no more."""
    _open.discard(client)


def _in_child() -> None:
    for client in list(_open):
        client.after_fork()


os.register_at_fork(after_in_child=_in_child)
