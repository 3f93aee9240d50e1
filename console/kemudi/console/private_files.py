"""Small files of the console's state folder: 0600, replaced whole, changed by one process at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kemudi.schema.errors import UsageError


def read_json(path: Path, *, default: Any) -> Any:  # JSON
    """The document in a file; `default` where there is none. Raises UsageError for a damaged file, or one of others."""
    try:
        return json.loads(read_private(path))
    except FileNotFoundError:
        return default
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is damaged: it is not JSON") from None


def write_json(path: Path, document: Any) -> None:  # JSON
    """See `write_private`."""
    write_private(path, json.dumps(document, indent=1))


def read_private(path: Path) -> bytes:
    """What is in a file. Raises FileNotFoundError, and UsageError for one that others can read."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise UsageError(f"{path} can be read by others", hint=f"chmod 600 {path}")
        return file.read()


def write_private(path: Path, text: str) -> None:
    """Replace a file; whoever reads it sees the old content or the new one, also after a crash."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(
        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing `path` meanwhile: the console and its commands share these files."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
