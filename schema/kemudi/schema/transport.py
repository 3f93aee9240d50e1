"""Who may listen in on the way to Redis: nobody. Beyond this machine TLS with a verified certificate is required.

`?plaintext=allowed` in a store's URL says that the network between is trusted (a container's own network, a tunnel).
It is an option of the URL, so that it is as visible as the address, and goes wherever the address goes.
"""

import ipaddress
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from kemudi.schema.errors import UsageError

OPTION: Final = "plaintext"
_ALLOWED: Final = "allowed"
_VERIFIED: Final = {"ssl_cert_reqs": {"required"}, "ssl_check_hostname": {"true", "yes", "1", "t", "y", "on"}}


def is_loopback(host: str) -> bool:
    """Whether only this machine is behind a name."""
    name = host.strip("[]").lower()
    if name in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def private_url(url: str, place: str) -> tuple[str, bool]:
    """The URL for redis-py, and whether plaintext is allowed. `place` names it in messages.

    Raises:
        UsageError: Others could listen in, or stand in for the server, and the URL does not say that this is meant.
    """
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True)
        hosts = [*_hosts(parts.netloc), *(value for name, value in options if name == "host")]
    except ValueError:
        hosts = []
    if not hosts:
        raise UsageError(f"the store's URL {place} is malformed")
    said = [value for name, value in options if name == OPTION]
    if said and said != [_ALLOWED]:
        raise UsageError(f"the store's URL {place}: `{OPTION}` is `{_ALLOWED}` or absent")
    if said:
        rest = urlencode([(name, value) for name, value in options if name != OPTION])
        return urlunsplit(parts._replace(query=rest)), True
    if parts.scheme.startswith("unix") or all(is_loopback(host) for host in hosts):
        return url, False
    if not parts.scheme.startswith("rediss"):
        raise UsageError(
            f"the store at {place} is on another machine, and everybody between could read along and stand in for it",
            hint=f"Use rediss:// with ?ssl_ca_certs=PATH. If the network is trusted, say so: ?{OPTION}={_ALLOWED}.",
        )
    for name, value in options:
        if name in _VERIFIED and value.lower() not in _VERIFIED[name]:
            raise UsageError(
                f"the store at {place} is on another machine, and `{name}` lets anybody stand in for it",
                hint=f"Leave `{name}` out and name the authority: ?ssl_ca_certs=PATH.",
            )
    return url, False


def _hosts(netloc: str) -> list[str]:
    """The names of one or several hosts, `[::1]:6379,b`, without credentials and ports."""
    return [urlsplit(f"//{name}").hostname or "" for name in netloc.rpartition("@")[2].split(",")]
