"""Files that hold private keys: readable by their owner alone, written whole or not at all."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from kemudi.store.errors import KeyFileRefusedError

MAX_BYTES: Final = 4 * 1024 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_key_file(path: Path, *, private: bool) -> bytes:
    """The bytes of a key file. Raises KeyFileRefusedError.

    A private file must be a regular file without any right for group and others. The check is made on the
    opened file, so that it holds for the bytes that are read. A symbolic link is followed: mounted secrets
    are links.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileRefusedError(f"cannot read the key file {path}: {error.strerror}") from None
    try:
        state = os.fstat(descriptor)
        _require_owned(path, state.st_mode, private=private)
        if not 0 < state.st_size <= MAX_BYTES:
            raise KeyFileRefusedError(f"the key file {path} is empty or larger than any key file")
        return os.read(descriptor, MAX_BYTES)
    finally:
        os.close(descriptor)


def _require_owned(path: Path, mode: int, *, private: bool) -> None:
    if not stat.S_ISREG(mode):
        raise KeyFileRefusedError(f"the key file {path} is not a regular file")
    if private and mode & _OTHERS:
        shown = f"{stat.S_IMODE(mode):04o}"
        raise KeyFileRefusedError(
            f"the key file {path} is open to others (mode {shown})", hint=f"chmod 600 {path}"
        )


def write_key_file(path: Path, data: bytes, *, private: bool) -> None:
    """Write beside and rename, mode 0600 or 0644 from the first byte on. Raises KeyFileRefusedError.

    A reader sees the old file or the new one, also after a crash.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    mode = 0o600 if private else 0o644
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise KeyFileRefusedError(f"cannot write the key file {path}: {error.strerror}") from None
