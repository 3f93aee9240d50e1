"""A process's own copy of its snapshot on disk, to start from while the store is away.

One file: the signed manifest and the blobs as they came from the store, so secrets in it are ciphertext. It is
written beside and renamed, readable by its owner alone, and believed no more than the store: signature, environment,
repo and digests are checked when it is read.
"""

import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from kemudi.client.errors import CopyRefusedError
from kemudi.store.keys import escaped

MAX_BYTES: Final = 1024 * 1024 * 1024
_MAGIC: Final = b"kemudi-copy 1\n"
_LENGTH: Final = 8


def copy_path(folder: Path, env: str, service: str, categories: Collection[str] | None) -> Path:
    """Where the copy of a service lies. Services, and sets of categories, do not share one."""
    chosen = "all" if categories is None else ",".join(sorted(categories))
    mark = sha256(f"{service}\x00{chosen}".encode()).hexdigest()[:12]
    return folder / escaped(env) / f"{escaped(service)}-{mark}.copy"


class DiskCopy:
    """The file.

    Args:
        path: Where it is; its folder is made when it is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[bytes, dict[str, bytes]] | None:
        """The signed manifest and the blobs by digest, None when there is no copy. Raises CopyRefusedError."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CopyRefusedError(f"cannot read the disk copy {self.path}: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        parts = list(self._parts(data))
        if not parts:
            raise CopyRefusedError(f"the disk copy {self.path} is empty")
        return parts[0], {sha256(blob).hexdigest(): blob for blob in parts[1:]}

    def save(
        self,
        signed: bytes,
        digests: Collection[str],
        fresh: Mapping[str, bytes],
        fetch: Callable[[Collection[str]], Mapping[str, bytes]],
    ) -> bool:
        """Write the copy of a snapshot.

        Args:
            signed: Its manifest.
            digests: Every blob of it that this process loads.
            fresh: Blobs at hand; the others are taken from the copy before.
            fetch: Gets what neither has.

        Returns:
            False when a blob is not to be had any more; the copy before stays.

        Raises:
            OSError: It cannot be written; the copy before stays.
        """
        blobs = dict(fresh)
        if any(digest not in blobs for digest in digests):
            blobs = {**self._before(), **blobs}
        missing = [digest for digest in digests if digest not in blobs]
        if missing:
            blobs.update(fetch(missing))
        if any(digest not in blobs for digest in digests):
            return False
        parts = [signed, *(blobs[digest] for digest in sorted(digests))]
        self._replace(b"".join([_MAGIC, *(len(part).to_bytes(_LENGTH, "big") + part for part in parts)]))
        return True

    def _before(self) -> dict[str, bytes]:
        try:
            found = self.read()
        except CopyRefusedError:
            found = None
        return {} if found is None else found[1]

    def _parts(self, data: bytes) -> Iterator[bytes]:
        if len(data) > MAX_BYTES or not data.startswith(_MAGIC):
            raise CopyRefusedError(f"{self.path} is not a disk copy that this kemudi reads")
        place = len(_MAGIC)
        while place < len(data):
            end = place + _LENGTH + int.from_bytes(data[place : place + _LENGTH], "big")
            if end > len(data):
                raise CopyRefusedError(f"the disk copy {self.path} is cut off")
            yield data[place + _LENGTH : end]
            place = end

    def _replace(self, data: bytes) -> None:
        """Whole or not at all, also after a crash or with a full disk: the rename comes after the sync."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
