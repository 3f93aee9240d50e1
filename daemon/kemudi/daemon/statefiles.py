"""Small JSON files in the daemon's own folder: written beside, then renamed, so a crash leaves old or new."""

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Any, Self

from kemudi.schema.errors import ConflictError, UnavailableError


def read_json(path: Path) -> Any:  # JSON
    """The content, None for a file that is missing or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: object, *, durable: bool) -> None:
    """Replace a file. `durable` waits for the disk. Raises UnavailableError when it cannot be written."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(json.dumps(value).encode())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UnavailableError(f"state cannot be written to {path.parent}: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """The daemon's folder, for its user alone. Raises UnavailableError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"the state folder {path} cannot be made: {error.strerror}") from error


class FolderLock:
    """One daemon per state folder, by a lock that the kernel drops when the process ends, however it ends.

    Whoever holds it knows that the process which used the folder before is gone, and may take over its name.
    """

    def __init__(self, folder: Path) -> None:
        """Raises ConflictError when another process has it, UnavailableError when it cannot be made."""
        make_folder(folder)
        try:
            self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(f"the state folder {folder} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise ConflictError(
                f"another daemon uses the state folder {folder}",
                hint="Give this one a folder of its own with --state-dir or KEMUDI_STATE_DIR.",
            ) from error

    def close(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
