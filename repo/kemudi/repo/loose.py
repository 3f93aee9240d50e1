"""Objects and small files written in process, so that a reader sees the old or the new and a crash leaves either."""

import contextlib
import hashlib
import os
import secrets
import zlib
from pathlib import Path
from typing import Final

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_object(git_dir: Path, kind: str, data: bytes, *, durable: bool) -> str:
    """Store one object as git does and return its SHA. Nothing is written if it is there. Raises OSError."""
    content = b"%s %d\0" % (kind.encode(), len(data)) + data
    sha = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    path = git_dir / "objects" / sha[:2] / sha[2:]
    if not path.exists():
        replace_file(path, zlib.compress(content, 1), mode=0o444, durable=durable)
    return sha


def replace_file(path: Path, data: bytes, *, mode: int | None = None, durable: bool) -> None:
    """Put a file in place as a whole, its folder made when missing.

    Args:
        path: Where.
        data: What.
        mode: Permissions, whatever the umask; None: what the umask leaves.
        durable: Wait until the disk has the file and its name.

    Raises OSError; then the file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    handle = os.open(
        beside,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o666 if mode is None else 0o600,
    )
    try:
        try:
            if mode is not None:
                os.fchmod(handle, mode)
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
