"""The secret key with which this console seals approvals. Consoles that share it believe each other's approvals."""

import os
import secrets
from pathlib import Path
from typing import Final

from kemudi.repo.approvals import Seal
from kemudi.schema.errors import UsageError

FILE: Final = "approvals.key"
_BYTES: Final = 32


def read_seal(state: Path) -> Seal:
    """The seal of a state folder; its key is made at the first start. Raises UsageError for a damaged one."""
    path = state / FILE
    if not path.exists():
        _make(path)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise UsageError(f"{path} can be read by others", hint=f"chmod 600 {path}")
        text = file.read(200).strip()
    try:
        key = bytes.fromhex(text.decode())
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise UsageError(
            f"{path} is damaged: it is no key", hint="Delete it; what was approved is then asked again."
        )
    return Seal(key)


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(beside, path)
    except FileExistsError:
        return  # another console of this folder was faster; its key is the key
    finally:
        beside.unlink()
