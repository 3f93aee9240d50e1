"""Where a client connects and which files it trusts: arguments first, `KEMUDI_*` variables second.

A connection that is set wrongly is an error at once and names what to set. A store that is away is not an error.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import BaseModel

from kemudi.schema.errors import UsageError
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import VerifyKeys

DEFAULT_SERVICE: Final = "client"

Contracts: TypeAlias = str | Path | Mapping[str, type[BaseModel]] | Iterable[type[BaseModel]]
"""A folder of `<category>.schema.json`, models by category, or models whose class names name their category."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What `connect` was told, completed from the environment.

    Attributes:
        env: The environment to read.
        redis_url: The store, as `kemudi.store.connection` takes it.
        service: The name to acknowledge under.
        categories: The categories to load, None for all.
        keyset: The keyset file, the keysets themselves, or None without secrets.
        verify_key: The file of the pinned public keys, or the keys themselves.
        state_dir: Where the disk copy lies, None for no copy.
        timeout: How long to wait for a first snapshot, in seconds.
    """

    env: str
    redis_url: str
    service: str
    categories: tuple[str, ...] | None
    keyset: Path | KeysetBundle | None
    verify_key: Path | VerifyKeys
    state_dir: Path | None
    timeout: float

    @classmethod
    def resolved(
        cls,
        environ: Mapping[str, str],
        *,
        env: str | None = None,
        redis_url: str | None = None,
        service: str | None = None,
        categories: Collection[str] | None = None,
        keyset: str | Path | KeysetBundle | None = None,
        verify_key: str | Path | VerifyKeys | None = None,
        state_dir: str | Path | None = None,
        timeout: float = 5.0,
    ) -> "ClientSettings":
        """Complete the arguments from the variables. Raises UsageError that names what to set."""
        if isinstance(categories, str):
            raise UsageError(
                "categories is a collection of names, not one name", hint=f"categories=[{categories!r}]"
            )
        keyset = keyset if keyset is not None else environ.get("KEMUDI_KEYSET") or None
        verify = verify_key if verify_key is not None else environ.get("KEMUDI_VERIFY_KEY") or None
        if verify is None:
            raise UsageError(
                "no verify key: set KEMUDI_VERIFY_KEY to the file of the daemon's public key, or pass verify_key=",
                hint="a client serves only snapshots signed by a key that it was given beforehand",
            )
        return cls(
            env=_required(env or environ.get("KEMUDI_ENV"), "environment", "KEMUDI_ENV", "env"),
            redis_url=_required(
                redis_url or environ.get("KEMUDI_REDIS_URL"), "store", "KEMUDI_REDIS_URL", "redis_url"
            ),
            service=service or environ.get("KEMUDI_SERVICE") or DEFAULT_SERVICE,
            categories=None if categories is None else tuple(sorted(set(categories))),
            keyset=Path(keyset) if isinstance(keyset, str) else keyset,
            verify_key=Path(verify) if isinstance(verify, str) else verify,
            state_dir=_state_dir(state_dir, environ),
            timeout=_seconds(timeout),
        )


def _required(value: str | None, what: str, variable: str, argument: str) -> str:
    if not value:
        raise UsageError(f"no {what}: set {variable}, or pass {argument}=")
    return value


def _seconds(timeout: float) -> float:
    if not 0 <= timeout <= 3600:
        raise UsageError("timeout is a number of seconds from 0 to 3600")
    return float(timeout)


def _state_dir(given: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """The folder told, that of the service manager, or the user's own; none where the user has no home."""
    told = given if given is not None else environ.get("KEMUDI_STATE_DIR")
    if told:
        return Path(told) / "client"
    managed = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if managed:
        return Path(managed) / "kemudi" / "client"
    home = environ.get("XDG_STATE_HOME") or (f"{environ['HOME']}/.local/state" if environ.get("HOME") else "")
    return Path(home) / "kemudi" / "client" if home.startswith("/") else None
