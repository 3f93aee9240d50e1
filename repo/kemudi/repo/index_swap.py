"""The user's index with some entries changed: put in place by one rename, under git's own lock."""

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kemudi.repo.errors import GitLockedError
from kemudi.repo.git import NO_COMMIT, Git, locked_error
from kemudi.repo.layout import Layout
from kemudi.schema.errors import UnavailableError
from kemudi.schema.sentences import sentence

_AGAIN_SECONDS: Final = 0.005
_PATIENCE_SECONDS: Final = 3.0


def replace_entries(where: Layout, contents: Mapping[str, tuple[str | None, bool]]) -> None:
    """Give some paths of the index another content; what is staged of others stays.

    Git's lock is taken only when the new index is ready, and by a link: a crash in between leaves a lock that is known
    to be ours, and no lock stands while git works.
    """
    lines = b"".join(
        f"{'0' if sha is None else '100755' if executable else '100644'} {sha or NO_COMMIT}\t".encode()
        + os.fsencode(path)
        + b"\0"
        for path, (sha, executable) in contents.items()
    )
    index, lock = where.git_dir / "index", where.git_dir / "index.lock"
    mine = own_folder(where.git_dir) / "index"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        before = _stamp(index)
        mine.unlink(missing_ok=True)
        if before is not None:
            shutil.copyfile(index, mine)
        git = Git(where.git_dir)
        git.run("update-index", "-z", "--index-info", data=lines, extra={"GIT_INDEX_FILE": str(mine)})
        if _locked_by_link(mine, lock, deadline):
            if _stamp(index) == before:
                lock.replace(index)
                mine.unlink(missing_ok=True)
                return
            lock.unlink()


def _locked_by_link(mine: Path, lock: Path, deadline: float) -> bool:
    try:
        os.link(mine, lock)
    except FileExistsError:
        if time.monotonic() > deadline:
            raise locked_error(lock) from None
        time.sleep(_AGAIN_SECONDS)
        return False
    except OSError as error:
        raise UnavailableError(
            sentence("%(lock)s cannot be made: %(strerror)s", lock=lock, strerror=error.strerror)
        ) from None
    return True


def unlink_own_lock(where: Layout) -> None:
    """Take away a lock that a crash of ours left; nobody else's."""
    lock, mine = where.git_dir / "index.lock", own_folder(where.git_dir) / "index"
    with contextlib.suppress(FileNotFoundError):
        if lock.lstat().st_ino == mine.lstat().st_ino:
            lock.unlink()
    mine.unlink(missing_ok=True)


def check_unlocked(where: Layout) -> None:
    """Raise GitLockedError if another git is writing the index: better before than half-way."""
    lock = where.git_dir / "index.lock"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while lock.exists():
        if time.monotonic() > deadline:
            error: GitLockedError = locked_error(lock)
            raise error
        time.sleep(_AGAIN_SECONDS)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def own_folder(git_dir: Path) -> Path:
    """Where Kemudi keeps its own in a git directory. Raises UnavailableError."""
    folder = git_dir / "kemudi"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            sentence("%(git_dir)s cannot be written: %(strerror)s", git_dir=git_dir, strerror=error.strerror)
        ) from None
    return folder
