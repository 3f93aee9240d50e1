"""What the daemon is told at start: one frozen object, passed in, never looked up later."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from kemudi.schema.errors import UsageError

DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"
DEFAULT_PORT: Final = 8422
_REMOTE: Final = re.compile(r"[a-z][a-z0-9+.-]*://|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:")

Mode = Literal["commit", "worktree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """Where the desired state is, where the served state goes, and how often each is looked at.

    Attributes:
        repo: The folder of the config repo (or one above it), or the address of a remote.
        branch: The branch to serve; None means the one that HEAD names at start.
        environments: The environments to serve; empty means all that `kemudi.yaml` names.
        mode: Overrides the `mode` of every served environment; None leaves it to `kemudi.yaml`.
        redis_url: The server that holds the snapshots.
        identity: File with the age identities that open sealed values; without it they stay closed.
        signing_key: File with the Ed25519 key that signs what is published.
        keyset: File with the keysets that seal secrets in Redis; needed once a category holds one.
        state_dir: The daemon's own folder: local refs, mirror, pauses, what was applied last.
        host: Address to listen on. Beyond loopback a token is required.
        port: TCP port; 0 takes a free one.
        poll_seconds: Between two looks at git when no hint arrives.
        drift_seconds: Between two comparisons of Redis with what was applied.
        lease_ttl: Seconds after which a silent leader is replaced.
        pinned_verify_keys: Public keys that are trusted beside the own one, for a rotation with overlap.
        webhook_secret: File with the shared secret of `POST /hooks/git`; without it there are no webhooks.
        token_file: File with the bearer token of callers.
        allowed_signers: OpenSSH file of the signers whose commits count where `verify: ssh` is asked for.
        gpg_home: GnuPG folder whose keys count where `verify: gpg` is asked for.
    """

    repo: Path | str
    branch: str | None = None
    environments: tuple[str, ...] = ()
    mode: Mode | None = None
    redis_url: str = DEFAULT_REDIS_URL
    identity: Path | None = None
    signing_key: Path | None = None
    keyset: Path | None = None
    state_dir: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    poll_seconds: float = 2.0
    drift_seconds: float = 30.0
    lease_ttl: float = 6.0
    pinned_verify_keys: Path | None = None
    webhook_secret: Path | None = None
    token_file: Path | None = None
    allowed_signers: Path | None = None
    gpg_home: Path | None = None

    def __post_init__(self) -> None:
        for name in ("poll_seconds", "drift_seconds", "lease_ttl"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be above zero seconds")
        if not self.listens_on_loopback and self.token_file is None:
            raise UsageError(
                f"the daemon would listen on {self.host}, which others can reach, without a token",
                hint="Name a file of mode 0600 that holds one (KEMUDI_DAEMON_TOKEN), or listen on 127.0.0.1.",
            )

    @property
    def remote_url(self) -> str | None:
        """The address of the remote, None for a local repository."""
        return self.repo if isinstance(self.repo, str) and is_remote(self.repo) else None

    @property
    def mirror(self) -> Path:
        """Where a remote is mirrored."""
        return self.state_dir / "mirror.git"

    @property
    def listens_on_loopback(self) -> bool:
        """Whether only this machine can reach the port."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def is_remote(text: str) -> bool:
    """Whether a config repo is named by an address (`https://…`, `git@host:path`) rather than by a path."""
    return _REMOTE.match(text) is not None


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """The state directory that systemd names, else the user's."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local" / "state")
    return Path(home) / "kemudi" / "daemon"


def settings_from_environ(environ: Mapping[str, str] | None = None) -> DaemonSettings:
    """Settings from `KEMUDI_*` variables alone. Raises UsageError that names the variable."""
    values = dict(os.environ if environ is None else environ)

    def path(name: str) -> Path | None:
        return Path(values[name]) if values.get(name) else None

    repo = values.get("KEMUDI_REPO") or "."
    return DaemonSettings(
        repo=repo if is_remote(repo) else Path(repo),
        branch=values.get("KEMUDI_BRANCH") or None,
        environments=tuple(name for name in re.split(r"[,\s]+", values.get("KEMUDI_ENV", "")) if name),
        mode=_mode(values.get("KEMUDI_MODE")),
        redis_url=values.get("KEMUDI_REDIS_URL") or DEFAULT_REDIS_URL,
        identity=path("KEMUDI_IDENTITY"),
        signing_key=path("KEMUDI_SIGNING_KEY"),
        keyset=path("KEMUDI_KEYSET"),
        state_dir=path("KEMUDI_STATE_DIR") or default_state_dir(values),
        host=values.get("KEMUDI_DAEMON_HOST") or "127.0.0.1",
        port=int(_number(values, "KEMUDI_DAEMON_PORT", DEFAULT_PORT)),
        poll_seconds=_number(values, "KEMUDI_POLL_SECONDS", 2.0),
        drift_seconds=_number(values, "KEMUDI_DRIFT_SECONDS", 30.0),
        lease_ttl=_number(values, "KEMUDI_LEASE_TTL", 6.0),
        pinned_verify_keys=path("KEMUDI_VERIFY_KEY"),
        webhook_secret=path("KEMUDI_WEBHOOK_SECRET"),
        token_file=path("KEMUDI_DAEMON_TOKEN"),
        allowed_signers=path("KEMUDI_ALLOWED_SIGNERS"),
        gpg_home=path("KEMUDI_GPG_HOME"),
    )


def _mode(text: str | None) -> Mode | None:
    if not text:
        return None
    if text == "commit":
        return "commit"
    if text == "worktree":
        return "worktree"
    raise UsageError(f"KEMUDI_MODE is `commit` or `worktree`, not {text!r}")


def _number(values: Mapping[str, str], name: str, default: float) -> float:
    text = values.get(name)
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} is a number, not {text!r}") from None
