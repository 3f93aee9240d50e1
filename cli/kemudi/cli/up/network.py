"""Loopback ports, and whether something answers there."""

import http.client
import json
import socket
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from kemudi.schema.errors import UnavailableError

LOOPBACK: Final = "127.0.0.1"
_TRIES: Final = 200


def free_port(wanted: int, taken: Iterable[int] = ()) -> int:
    """`wanted`, or the next port above it that is free on loopback and not in `taken`."""
    busy = set(taken)
    for port in range(wanted, min(wanted + _TRIES, 65536)):
        if port not in busy and _is_free(port):
            return port
    raise UnavailableError(f"no free port from {wanted} to {wanted + _TRIES - 1} on {LOOPBACK}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do it: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def fetch(url: str, *, method: str = "GET", timeout: float = 5.0) -> tuple[int, Any]:
    """Status and JSON body of a loopback address; `(0, None)` when nothing answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=timeout)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None
    except (OSError, http.client.HTTPException, ValueError):
        return 0, None
    finally:
        connection.close()
