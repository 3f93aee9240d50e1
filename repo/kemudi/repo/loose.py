"""Objects and small files written in process, so that a reader sees the old or the new and a crash leaves either."""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import zlib
from pathlib import Path
from typing import Final

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_regular(
    path: Path | str, limit: int | None = None, *, folder: int | None = None, follow: bool = False
) -> tuple[os.stat_result, bytes]:
    """A regular file's status and content. What is no regular file is neither waited for nor read.

    Args:
        path: The file; relative to `folder` if that is given.
        limit: At most so many bytes; None: all.
        folder: An open folder.
        follow: Whether `path` may be a symlink.

    Raises OSError, `EINVAL` for what is no regular file.
    """
    handle = os.open(path, _READ if follow else _READ | os.O_NOFOLLOW, dir_fd=folder)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        parts = []
        left = found.st_size + (1 << 16) if limit is None else limit
        while left > 0 and (part := os.read(handle, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
        return found, b"".join(parts)
    finally:
        os.close(handle)


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
