"""The secret key with which this console seals approvals. Consoles that share it believe each other's approvals."""

import secrets
from pathlib import Path
from typing import Final

from kemudi.console.private_files import locked, read_private, write_private
from kemudi.repo.approvals import Seal
from kemudi.schema.errors import UsageError

FILE: Final = "approvals.key"
_BYTES: Final = 32


def read_seal(state: Path) -> Seal:
    """The seal of a state folder; its key is made at the first start. Raises UsageError for a damaged one."""
    path = state / FILE
    if not path.exists():
        with locked(path):
            if not path.exists():  # another console of this folder may have been faster; its key is the key
                write_private(path, secrets.token_hex(_BYTES) + "\n")
    text = read_private(path).strip()
    try:
        key = bytes.fromhex(text.decode())
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise UsageError(
            f"{path} is damaged: it is no key", hint="Delete it; what was approved is then asked again."
        )
    return Seal(key)
