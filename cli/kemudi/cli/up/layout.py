"""The one folder that `kemudi up` writes to, and the claim on it."""

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kemudi.schema.errors import ConflictError, UsageError

MARKER: Final = ".kemudi-up"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `root`; private ones are 0600 in folders of 0700."""

    root: Path

    @property
    def repo(self) -> Path:
        """The scratch git repository; its root is the config repo."""
        return self.root / "config"

    @property
    def keys(self) -> Path:
        """Identity, signing key and keysets."""
        return self.root / "keys"

    @property
    def redis(self) -> Path:
        """Configuration and working folder of the private Redis."""
        return self.root / "redis"

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """The daemon's own repository, and the clients' disk copies."""
        return self.root / "state"

    @property
    def console(self) -> Path:
        """Sessions, sign-in links and audit log of the console."""
        return self.state / "console"

    @property
    def registry(self) -> Path:
        """The SQLite registry of students."""
        return self.root / "registry.db"

    @property
    def graph(self) -> Path:
        """The embedded graph store."""
        return self.root / "graph.lbdb"

    @property
    def endpoints(self) -> Path:
        """What others need to reach the parts; there only while everything runs."""
        return self.root / "endpoints.json"

    @property
    def env_file(self) -> Path:
        """The KEMUDI_* variables of a client, for `set -a; . FILE`."""
        return self.root / "env"


def claim(root: Path, *, fresh: bool) -> tuple[Layout, int]:
    """Make the folder, or take over one that `up` made earlier, and hold its lock until this process ends.

    Returns the layout and the descriptor that holds the lock. Raises UsageError for a folder with other content, and
    ConflictError while another `kemudi up` runs there.
    """
    root = root.absolute()
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).is_file():
        raise UsageError(
            f"{root} has content that kemudi up did not make", hint="Name another folder with --dir."
        )
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(root / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConflictError(f"another kemudi up runs in {root}", hint="Stop it, or use --dir.") from None
    layout = Layout(root)
    layout.endpoints.unlink(missing_ok=True)
    if fresh:
        _empty(root)
    for folder in (layout.keys, layout.redis, layout.logs, layout.state):
        folder.mkdir(mode=0o700, exist_ok=True)
    return layout, lock


def _empty(root: Path) -> None:
    for entry in root.iterdir():
        if entry.name == MARKER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner can read it."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(
        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    beside.replace(path)
