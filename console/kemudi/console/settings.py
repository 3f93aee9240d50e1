"""What the console is told when it starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kemudi.console.access.oidc import OidcSettings

PORT: Final = 8420


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Set once, by the command line.

    Attributes:
        repo: The config repo: its folder in a work tree, or one above it.
        daemon_url: Where the daemon answers.
        state: Folder of sessions, local users, tokens and the audit log; 0700.
        loopback: Whether only this machine can reach the port.
        public_url: Scheme and host that people use, behind a proxy; empty for the address of the port itself.
        proxy_header: Header in which a trusted proxy names the user; empty: none is believed.
        proxies: Addresses whose `proxy_header` is believed.
        daemon_token: File of the bearer token that the daemon wants, if it wants one.
        oidc: The identity provider that people may sign in with.
    """

    repo: Path
    daemon_url: str
    state: Path
    loopback: bool = True
    public_url: str = ""
    proxy_header: str = ""
    proxies: frozenset[str] = frozenset()
    daemon_token: Path | None = None
    oidc: OidcSettings | None = None

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the console by https, so that cookies may insist on it."""
        return self.public_url.startswith("https://")
