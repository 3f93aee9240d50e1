"""Saying what this process runs, so that the daemon can tell when a commit has arrived everywhere.

Only names leave the process: of settings read and of settings that wait for a restart. That an acknowledgement
cannot be written never matters to the process.
"""

import os
import secrets
import socket
from typing import Final

from kemudi.client.serving import Serving
from kemudi.store.values import Acknowledgement, utc_text

TTL_SECONDS: Final = 30.0
REFRESH_SECONDS: Final = 10.0
MOST_PENDING: Final = 1_000


def new_instance() -> str:
    """A name for this process among those of its service: host, process id and a random part."""
    host = "".join(
        char if char.isascii() and (char.isalnum() or char in ".-") else "-" for char in socket.gethostname()
    )
    return f"{host[:100] or 'host'}-{os.getpid()}-{secrets.token_hex(4)}"


def acknowledgement(
    serving: Serving, service: str, instance: str, *, refused_revision: str = "", reason: str = ""
) -> Acknowledgement:
    """What to say now.

    Args:
        serving: What the process serves.
        service: The service.
        instance: The process.
        refused_revision: The revision that it refuses at present, "" for none.
        reason: Why; also why the store is not believed, while what was read before is served.
    """
    snapshot = serving.snapshot
    return Acknowledgement(
        service=service,
        instance=instance,
        revision=snapshot.revision or "",
        generation="" if snapshot.generation is None else str(snapshot.generation),
        state="refused" if refused_revision else "current",
        reason=reason,
        restart_pending=serving.restart_pending[:MOST_PENDING],
        keys_read=tuple(sorted(serving.keys_read)),
        at=utc_text(),
        refused_revision=refused_revision,
        key_ids=serving.key_ids,
    )
