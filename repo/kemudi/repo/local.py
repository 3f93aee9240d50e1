"""The daemon's own counters, kept as commits in a repository of its own: what a store has lost, git still knows.

`refs/kemudi/local/<env>` counts local serials, `refs/kemudi/era/<env>` accepted rewrites, `refs/kemudi/override/<env>`
holds the break-glass overrides. Every step is a commit with a message, so that `git log` tells who did what and why.
Objects and refs are written in process: about a millisecond against ten for git's own commands.
"""

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kemudi.repo import layout
from kemudi.repo.git import Git, init_bare
from kemudi.repo.loose import replace_file, write_object
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.refs import Refs
from kemudi.schema.errors import UnavailableError, UsageError
from kemudi.schema.failpoints import failpoint

_ENV: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*", re.ASCII)
_LOCAL: Final = "refs/kemudi/local/"
_ERA: Final = "refs/kemudi/era/"
_OVERRIDE: Final = "refs/kemudi/override/"
_OVERRIDES_FILE: Final = "overrides.json"
_AGAIN_SECONDS: Final = 0.002


class LocalRefs:
    """The counters of every environment of one daemon. Safe against other processes on the same folder.

    One thread uses it at a time. A counter never goes back: it is read and raised under a lock that dies with its
    process, and a ref is replaced only after its commit is on disk.

    Args:
        folder: The repository; made when it is missing.
        durable: Whether a step outlives a power failure (`fsync`), not only a crash of the process.
        patience_seconds: How long to wait for another process that is in the middle of a step.
    """

    def __init__(self, folder: Path, *, durable: bool = True, patience_seconds: float = 10.0) -> None:
        self._folder = folder
        self._patience = patience_seconds
        self._durable = durable
        if not (folder / "HEAD").is_file():
            _make(folder)
        self._git = Git(folder)
        self._refs = Refs(layout.find(folder), self._git)
        self._counts: dict[str, tuple[str, int]] = {}

    def serial(self, env: str) -> int:
        """How often `advance` was called for an environment. Raises UnavailableError's family."""
        return self._count(_LOCAL + _checked(env))

    def advance(self, env: str, message: str) -> int:
        """Raise the serial by one and return it. `message` says why. Raises UnavailableError's family."""
        return self._step(_LOCAL + _checked(env), message)

    def era(self, env: str) -> int:
        """How many rewrites of history were accepted for an environment."""
        return self._count(_ERA + _checked(env))

    def accept_rewrite(self, env: str, old: str, new: str, reason: str) -> int:
        """Note that `new` replaces `old` though it is no descendant, and return the new era."""
        return self._step(_ERA + _checked(env), f"{reason}\n\nOld: {old}\nNew: {new}")

    def overrides(self, env: str) -> bytes | None:
        """The document of an environment's overrides, None when there never were any. Raises UnavailableError."""
        tip = self._refs.tip(_OVERRIDE + _checked(env))
        return None if tip is None else self._git.run("cat-file", "blob", f"{tip}:{_OVERRIDES_FILE}")

    def write_overrides(self, env: str, data: bytes, message: str, author: Author) -> None:
        """Replace that document in one step, as a commit of `author`. Raises UnavailableError's family."""
        ref = _OVERRIDE + _checked(env)
        with self._locked():
            parent = self._refs.tip(ref)
            blob = write_object(self._folder, "blob", data, durable=self._durable)
            entry = b"100644 " + _OVERRIDES_FILE.encode() + b"\0" + bytes.fromhex(blob)
            sha = self._commit(parent, message, entry, author)
            failpoint("overrides.object")
            replace_file(self._folder / ref, f"{sha}\n".encode(), durable=self._durable)
            failpoint("overrides.ref")

    def _count(self, ref: str) -> int:
        tip = self._refs.tip(ref)
        if tip is None:
            return 0
        known = self._counts.get(ref)
        if known is None or known[0] != tip:
            known = tip, self._git.count(tip)
            self._counts[ref] = known
        return known[1]

    def _step(self, ref: str, message: str) -> int:
        with self._locked():
            before = self._count(ref)
            parent = self._refs.tip(ref)
            sha = self._commit(parent, message)
            failpoint("repo.local-object")
            replace_file(self._folder / ref, f"{sha}\n".encode(), durable=self._durable)
            failpoint("repo.local-ref")
            self._counts[ref] = sha, before + 1
        return before + 1

    def _commit(self, parent: str | None, message: str, content: bytes = b"", author: Author = KEMUDI) -> str:
        """A commit of a tree with this content."""
        at = f"{int(datetime.now(UTC).timestamp())} +0000"
        tree = write_object(self._folder, "tree", content, durable=self._durable)
        lines = [
            f"tree {tree}",
            *([f"parent {parent}"] if parent else []),
            f"author {author.name} <{author.email}> {at}",
            f"committer {KEMUDI.name} <{KEMUDI.email}> {at}",
        ]
        text = "\n".join(lines) + f"\n\n{_clean(message)}\n"
        return write_object(self._folder, "commit", text.encode(), durable=self._durable)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out; released by the kernel, however this one ends."""
        try:
            handle = os.open(self._folder / "kemudi.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(f"{self._folder} cannot be written: {error.strerror}") from error
        try:
            self._wait_for(handle)
            yield
        except OSError as error:
            raise UnavailableError(f"{self._folder} cannot be written: {error.strerror}") from error
        finally:
            os.close(handle)

    def _wait_for(self, handle: int) -> None:
        # Not for ever: the holder may be stopped, and then this process is the one that has to go on.
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"another process has held {self._folder} for over {self._patience:g} s"
                    raise UnavailableError(message) from None
                time.sleep(_AGAIN_SECONDS)
            else:
                return


def _make(folder: Path) -> None:
    """Put a whole repository in its place in one step: processes that start together share the first one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
    ) as beside:
        fresh = Path(beside) / "made.git"
        init_bare(fresh)
        # Git itself would rewrite refs on its own account while we do; nothing here ever needs it.
        config = fresh / "config"
        replace_file(config, config.read_bytes() + b"[gc]\n\tauto = 0\n\tpackRefs = false\n", durable=True)
        try:
            fresh.rename(folder)
        except OSError as error:
            if not (folder / "HEAD").is_file():
                raise UnavailableError(f"{folder} cannot be made: {error.strerror}") from error


def _checked(env: str) -> str:
    if not _ENV.fullmatch(env) or env.endswith((".", ".lock")):
        raise UsageError(f"{env[:60]!r} cannot be the name of an environment")
    return env


def _clean(message: str) -> str:
    return message.replace("\0", "").strip() or "No reason given"
