"""One look at the files below a folder: opened component by component, never through a symlink, never outside."""

import errno
import fcntl
import hashlib
import os
import signal
import stat
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from kemudi.repo.errors import UnreadableFolderError
from kemudi.repo.paths import READ_BYTES, decode_name, is_entered, is_read, is_scratch
from kemudi.repo.trees import FileId
from kemudi.schema.paths import File
from kemudi.schema.sentences import sentence

MOST_ENTRIES: Final = 200_000

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us up
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# Two writes within one tick of the kernel's clock (10 ms at most) leave the same time stamps, so a stamp that is
# younger than that when its file is read proves nothing later. Some file systems count whole seconds.
_TICK_NS: Final = 20_000_000
_COARSE_TICK_NS: Final = 2_100_000_000
_SECOND_NS: Final = 1_000_000_000
_F_SETSIG: Final = 10  # of Linux; Python has no name for it


class Stamp(NamedTuple):
    """What tells, without reading, that a file is the one that was read."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Known(NamedTuple):
    """A file as it was read. Without a stamp it has to be read again to know whether it changed."""

    stamp: Stamp | None
    file: File
    id: FileId


class Walk:
    """Collects what is new against what is known, and changes nothing.

    Args:
        known: The files at the look before.
        settle_ns: A file that shrank so short a time ago may be half written, and is left for the next look.

    Attributes:
        seen: Paths that are there.
        read: Files that were read, because they are new or have another stamp.
        unsettled: Files that were being written; what is known of them stands.
        gone: Known paths that are no longer there.
    """

    def __init__(self, known: Mapping[str, Known], *, settle_ns: int) -> None:
        self._known = known
        self._settle_ns = settle_ns
        self._entries = 0
        self._closed = False
        self.seen: set[str] = set()
        self.read: dict[str, Known] = {}
        self.unsettled: set[str] = set()
        self.gone: set[str] = set()

    def everything(self, root: int) -> None:
        """Look at all that is below an open folder. Raises UnreadableFolderError."""
        self._folder(root, "")
        self.gone = self._known.keys() - self.seen

    def named(self, root: int, path: str, *, closed: bool) -> None:
        """Look at one path, relative to the open folder, whatever it is by now. Raises UnreadableFolderError.

        `closed`: an event has said that its writer is done with it.
        """
        parts = path.split("/")
        if any(part.startswith(".") or is_scratch(part) for part in parts):
            return
        self._closed = closed
        try:
            missing = self._descend(root, parts)
        finally:
            self._closed = False
        if missing is not None and missing != path:
            # A folder above is gone or has become a link: what is said of it is said of everything below.
            self.named(root, missing, closed=closed)
        elif path not in self.seen or path not in self._known:
            below = f"{path}/"
            self.gone |= {each for each in self._known if each == path or each.startswith(below)} - self.seen

    def _descend(self, root: int, parts: list[str]) -> str | None:
        """Look at the entry that `parts` lead to; the path of the first part that is not a folder, if one is not."""
        handle, prefix = os.dup(root), ""
        try:
            for part in parts[:-1]:
                if not is_entered(prefix + part):
                    return None
                try:
                    below = os.open(part, _FOLDER, dir_fd=handle)
                except OSError as error:
                    if error.errno in _NOT_THERE:
                        return prefix + part
                    raise _unreadable(prefix + part, error) from error
                os.close(handle)
                handle, prefix = below, f"{prefix}{part}/"
            self._entry(handle, prefix, parts[-1])
        finally:
            os.close(handle)
        return None

    def _folder(self, handle: int, prefix: str) -> None:
        with os.scandir(handle) as entries:
            names = [entry.name for entry in entries]
        self._entries += len(names)
        if self._entries > MOST_ENTRIES:
            raise UnreadableFolderError(
                sentence(
                    "the config folder has more than %(most_entries)s entries", most_entries=MOST_ENTRIES
                )
            )
        for name in names:
            self._entry(handle, prefix, name)

    def _entry(self, handle: int, prefix: str, name: str) -> None:
        path = prefix + decode_name(os.fsencode(name))
        try:
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                if is_read(path, "file"):
                    self._file(handle, path, name, found)
            elif stat.S_ISDIR(found.st_mode):
                if is_entered(path):
                    self._subfolder(handle, path, name)
            elif stat.S_ISLNK(found.st_mode) and is_read(path, "symlink"):
                target = os.fsencode(os.readlink(name, dir_fd=handle))
                self._add(path, Known(None, File(path, b"", "symlink"), FileId("symlink", blob_sha(target))))
        except OSError as error:
            if error.errno not in (*_NOT_THERE, errno.EINVAL):
                raise _unreadable(path, error) from error
            # Gone, or something else, since it was listed. `seen` does not have it.

    def _subfolder(self, handle: int, path: str, name: str) -> None:
        below = os.open(name, _FOLDER, dir_fd=handle)
        try:
            if _exists(below, ".git"):
                self._add(path, Known(None, File(path, b"", "submodule"), FileId("submodule", "")))
            else:
                self._folder(below, f"{path}/")
        finally:
            os.close(below)

    def _file(self, handle: int, path: str, name: str, found: os.stat_result) -> None:
        known = self._known.get(path)
        if known is not None and known.stamp == _stamp(found):
            self.seen.add(path)
            return
        opened = os.open(name, _PLAIN, dir_fd=handle)
        try:
            before = os.fstat(opened)
            if not stat.S_ISREG(before.st_mode):
                return
            data = _read(opened)
            now = time.time_ns()
            steady = _stamp(os.fstat(opened)) == _stamp(before) and not (
                self._is_fresh(now - before.st_ctime_ns) and _has_writer(opened)
            )
        finally:
            os.close(opened)
        if not steady or self._may_be_half(known, data, now - before.st_ctime_ns):
            self.unsettled.add(path)
            if known is not None:
                self.seen.add(path)
            return
        whole = blob_sha(data, size=before.st_size)
        self._add(path, Known(_lasting(before, now), File(path, data), FileId("file", whole)))

    def _may_be_half(self, known: Known | None, data: bytes, age_ns: int) -> bool:
        """Whether a writer may be between truncating and closing the file."""
        if known is None or not self._is_fresh(age_ns):
            return False
        # Of a file that was closed, only nothing at all is still suspicious: a second save may have begun.
        return len(data) < (min(1, len(known.file.data)) if self._closed else len(known.file.data))

    def _is_fresh(self, age_ns: int) -> bool:
        """Whether a change is so young that its writer may not be done; who holds a file open for ever is."""
        return -_SECOND_NS < age_ns < self._settle_ns

    def _add(self, path: str, known: Known) -> None:
        self.seen.add(path)
        self.read[path] = known


def blob_sha(data: bytes, *, size: int | None = None) -> str:
    """The name that git gives to a file of these bytes."""
    digest = hashlib.sha1(b"blob %d\0" % (len(data) if size is None else size), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def _read(handle: int) -> bytes:
    parts = []
    left = READ_BYTES
    while left:
        part = os.read(handle, min(left, 1 << 20))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _lasting(found: os.stat_result, now: int) -> Stamp | None:
    tick = _TICK_NS if found.st_ctime_ns % _SECOND_NS else _COARSE_TICK_NS
    return _stamp(found) if now - found.st_ctime_ns > tick else None


def _has_writer(handle: int) -> bool:
    """Whether somebody has the file open for writing: then no read lease on it can be had.

    The event that a file was closed may be late, and mean the save before. Held for no time; should a writer come in
    just then, the signal of the broken lease is one that is ignored unless asked for. Of another user's file, or on
    a file system without leases, nothing is known.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(handle, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _unreadable(path: str, error: OSError) -> UnreadableFolderError:
    return UnreadableFolderError(
        sentence("%(path)s cannot be read: %(strerror)s", path=path, strerror=error.strerror)
    )
