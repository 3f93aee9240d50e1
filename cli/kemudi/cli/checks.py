"""The single checks of `kemudi doctor`: each looks at one thing and returns what it found."""

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import redis as redis_py

from kemudi.schema.errors import KemudiError, UsageError
from kemudi.schema.transport import private_url
from kemudi.store.connection import shown

OLDEST_PYTHON: Final = (3, 11)
OLDEST_GIT: Final = (2, 31)
OLDEST_REDIS: Final = (6, 2)


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found; `message` names the fix when there is something to fix."""

    name: str
    state: Literal["ok", "warning", "problem"]
    message: str

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def python() -> Check:
    """The interpreter."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "problem", f"{found}; 3.11 or newer is needed")
    return Check("Python", "ok", found)


def git() -> Check:
    """The git program."""
    if shutil.which("git") is None:
        return Check("git", "problem", "not on PATH (Debian: apt-get install git)")
    text = subprocess.run(
        ["git", "--version"], capture_output=True, text=True, check=False, timeout=10
    ).stdout
    number = text.split()[2] if len(text.split()) > 2 else ""
    if _version(number) < OLDEST_GIT:
        return Check("git", "problem", f"{number or 'unknown version'}; 2.31 or newer is needed")
    return Check("git", "ok", number)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def config_repo(path: Path) -> Check:
    """Whether there is a config repo, and whether it validates."""
    from kemudi.cli.workspace import open_workspace

    try:
        workspace = open_workspace(path)
    except KemudiError as error:
        return Check("config repo", "warning", str(error))
    errors = [finding for finding in workspace.state.findings if finding.severity == "error"]
    if errors:
        return Check(
            "config repo", "problem", f"{workspace.root}: {len(errors)} errors; see `kemudi validate`"
        )
    return Check("config repo", "ok", f"{workspace.root}: {len(workspace.state.contracts)} categories, valid")


def private_file(name: str, path: Path | None) -> Check | None:
    """A key that only its owner may read. None when no path was given."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        return Check(name, "problem", f"{path}: {error.strerror}")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Check(name, "problem", f"{path} can be read by others; run: chmod 600 {path}")
    if status.st_uid != os.geteuid():
        return Check(name, "warning", f"{path} belongs to another user")
    return Check(name, "ok", str(path))


def public_file(name: str, path: Path | None) -> Check | None:
    """A key that may be read by all. None when no path was given."""
    if path is None:
        return None
    if not path.is_file():
        return Check(name, "problem", f"{path} is not there")
    return Check(name, "ok", str(path))


def redis(url: str | None) -> list[Check]:
    """Whether Redis answers, is new enough, and keeps what was acknowledged through a failover."""
    if url is None:
        return []
    try:
        plain, _ = private_url(url, shown(url))
    except UsageError as error:
        return [Check("Redis", "problem", f"{error}. {error.hint}")]
    try:
        with redis_py.Redis.from_url(plain, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
            return [Check("Redis", "ok", "answers"), *_redis_details(client)]
    except (redis_py.RedisError, ValueError) as error:
        # The error's own text may repeat the address with its password.
        return [
            Check("Redis", "problem", f"does not answer ({type(error).__name__}); check KEMUDI_REDIS_URL")
        ]


def _redis_details(client: redis_py.Redis) -> list[Check]:
    try:
        info: dict[str, Any] = client.info()
    except redis_py.ResponseError:
        return [
            Check(
                "Redis version", "warning", "this user may not ask (INFO is denied); it must be 6.2 or newer"
            )
        ]
    number = str(info.get("redis_version", ""))
    found = [
        Check(
            "Redis version", "ok" if _version(number) >= OLDEST_REDIS else "problem", f"{number} (needs 6.2)"
        )
    ]
    if info.get("connected_slaves"):
        found.append(_replication(client))
    return found


def _replication(client: redis_py.Redis) -> Check:
    try:
        wanted: dict[str, str] = client.config_get("min-replicas-to-write")  # type: ignore[assignment]  # as above
    except redis_py.ResponseError:
        return Check(
            "Redis replicas", "warning", "this user may not read CONFIG; set min-replicas-to-write 1"
        )
    if wanted.get("min-replicas-to-write") == "0":
        return Check(
            "Redis replicas",
            "warning",
            "a split-off master accepts writes that are lost; set min-replicas-to-write 1",
        )
    return Check("Redis replicas", "ok", "a split-off master stops writing")


def daemon(url: str, *, asked: bool) -> Check:
    """Whether the daemon answers and is ready. Its absence is a problem only when its address was given."""
    from kemudi.cli.daemon_api import DaemonApi

    try:
        answer = DaemonApi(url, timeout=5).get("/readyz")
    except KemudiError as error:
        return Check("daemon", "problem" if asked else "warning", str(error))
    reason = answer.get("reason")
    return Check("daemon", "warning" if reason else "ok", reason or f"ready at {url}")
