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
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise KeyFileRefusedError(f"the key file {path} is not a regular file")
        if private and state.st_mode & _OTHERS:
            mode = stat.S_IMODE(state.st_mode)
            raise KeyFileRefusedError(
                f"the key file {path} is open to others (mode {mode:04o})", hint=f"chmod 600 {path}"
            )
        if state.st_size > MAX_BYTES:
            raise KeyFileRefusedError(f"the key file {path} is larger than any key file")
        return file.read(MAX_BYTES + 1)


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
