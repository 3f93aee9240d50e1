"""A bare mirror of one branch of a remote: what the daemon reads when the config repo lives on another machine.

The remote is not trusted: objects are checked as they come in, no tags, submodules or hooks, and only the protocols
that run nothing. The mirror is worth nothing in itself: when it is damaged, a new one is cloned beside it and swapped.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kemudi.repo.errors import (
    BranchMissingError,
    FetchError,
    GitFailedError,
    GitLockedError,
    GitTimeoutError,
)
from kemudi.repo.git import Git, init_bare, without_credentials
from kemudi.repo.layout import Layout, trusted_folders
from kemudi.repo.loose import replace_file
from kemudi.repo.objects import Objects
from kemudi.repo.refs import Refs, check_ref_part
from kemudi.schema.errors import KemudiError, UnavailableError, UsageError

FETCH_SECONDS: Final = 60.0
"""Time limit of one fetch."""

_STALE_LOCK_SECONDS: Final = 600.0
_ALLOWED: Final = "https:ssh:file"
_SCP: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*:(?!/{2})[^\s]+")
_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::[0-9]+)?"
_URL: Final = re.compile(rf"(?:https|ssh)://(?:[^/@]*@)?{_HOST}/[^@]+|file:///.+|/.+")
# Set by the operator, and needed to reach a host; everything else of git's environment stays out.
_PASSED_ON: Final = (
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_ASKPASS",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_PROXY_SSL_CAINFO",
)
_DAMAGE: Final = re.compile(
    r"corrupt|bad (?:object|config)|loose object|packfile|not a git repo|unable to read|invalid sha1|all necessary obj"
)
_NO_ACCESS: Final = ("Authentication failed", "could not read Username", "Permission denied")
# Housekeeping runs inside a fetch, never beside one. It keeps what no branch leads to: after a force push the daemon
# still serves such a commit.
_CONFIG: Final = """[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
[gc]
\tautoDetach = false
\tpruneExpire = never
[fetch]
\tfsckObjects = true
[transfer]
\tfsckObjects = true
[remote "origin"]
\turl = {url}
"""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch has brought.

    Attributes:
        branch: The branch that is mirrored.
        sha: Its newest commit.
        before: Its commit before the fetch, None at the first. After a force push no ancestor of `sha`.
        recloned: The mirror was damaged or missing and is a new one: open it anew.
    """

    branch: str
    sha: str
    before: str | None
    recloned: bool


class Mirror:
    """A mirror in a folder of the daemon's own. One process at a time fetches; readers need no lock.

    Args:
        url: `https://…`, `ssh://…`, `user@host:path`, `file://…` or an absolute path. May hold credentials: they are
            written to the mirror's own configuration (0600) and never shown.
        folder: The bare repository; made by the first fetch.
        branch: What to follow; None: the branch that the remote's HEAD names at the first fetch.
        time_limit_seconds: Of one fetch.

    Raises UsageError for another kind of URL.
    """

    def __init__(
        self, url: str, folder: Path, branch: str | None = None, *, time_limit_seconds: float = FETCH_SECONDS
    ) -> None:
        self._url = _checked(url)
        self.folder = folder
        self._branch = None if branch is None else check_ref_part(branch)
        self._time_limit = time_limit_seconds

    @property
    def shown_url(self) -> str:
        """The URL without credentials."""
        return without_credentials(self._url)

    @property
    def tip(self) -> str | None:
        """The mirrored commit, None before the first fetch."""
        branch = self._branch or self._head_branch()
        return None if branch is None else self._refs().branch_tip(branch)

    def fetch(self) -> Fetched:
        """Bring the mirror up to date. What it held before stays readable when this fails.

        Raises FetchError, BranchMissingError, GitTimeoutError when the remote cannot be read, GitLockedError when
        another process fetches or a lock file is in the way.
        """
        with self._locked():
            self._finish_swap()
            if not self._is_usable():
                return self._clone(None)
            try:
                before = self.tip
            except UnavailableError:
                return self._clone(None)
            try:
                branch = self._fetch_into(self.folder)
            except GitLockedError:
                if self._has_stale_lock():
                    return self._clone(before)
                raise
            except GitFailedError as error:
                if self._is_damaged(error):
                    return self._clone(before)
                raise self._explained(error) from None
            sha = self._readable_tip(branch)
            return self._clone(before) if sha is None else Fetched(branch, sha, before, recloned=False)

    def reclone(self) -> Fetched:
        """Replace the mirror by a new one: for a reader that met a damaged object. Raises as `fetch`."""
        with self._locked():
            self._finish_swap()
            try:
                before = self.tip if self._is_usable() else None
            except UnavailableError:
                before = None
            return self._clone(before)

    def _clone(self, before: str | None) -> Fetched:
        """Fetch into a new repository beside, then swap: a reader sees the old or the new one."""
        beside = self._beside("new")
        shutil.rmtree(beside, ignore_errors=True)
        try:
            init_bare(beside)
            replace_file(
                beside / "config", _CONFIG.format(url=_quoted(self._url)).encode(), mode=0o600, durable=True
            )
            branch = self._fetch_into(beside)
            replace_file(beside / "HEAD", f"ref: refs/heads/{branch}\n".encode(), durable=True)
        except GitFailedError as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise self._explained(error) from None
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        beside.replace(self._beside("ready"))
        self._finish_swap()
        sha = self._refs().branch_tip(branch)
        if sha is None:
            raise FetchError(f"{self.shown_url} has no commit on {branch}")
        return Fetched(branch, sha, before, recloned=True)

    def _finish_swap(self) -> None:
        """Put a complete new mirror in place, also one that a crash has left there."""
        ready, old = self._beside("ready"), self._beside("old")
        shutil.rmtree(old, ignore_errors=True)
        if ready.is_dir():
            if self.folder.exists():
                self.folder.replace(old)
            ready.replace(self.folder)
            shutil.rmtree(old, ignore_errors=True)

    def _fetch_into(self, folder: Path) -> str:
        git = Git(folder, time_limit_seconds=self._time_limit)
        branch = self._branch or self._head_branch(folder) or self._remote_head(git)
        git.run(
            "fetch",
            "--quiet",
            "--force",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--end-of-options",
            "origin",
            f"+refs/heads/{branch}:refs/heads/{branch}",
            extra=self._reach(),
        )
        return branch

    def _remote_head(self, git: Git) -> str:
        answer = git.run("ls-remote", "--symref", "--end-of-options", "origin", "HEAD", extra=self._reach())
        found = re.search(rb"^ref: refs/heads/(\S+)\tHEAD$", answer, re.MULTILINE)
        if found is None:
            raise BranchMissingError(
                f"{self.shown_url} names no default branch", hint="Name one with --branch."
            )
        return check_ref_part(found[1].decode("utf-8", "replace"))

    def _reach(self) -> dict[str, str]:
        """What a fetch adds to the environment of a local command."""
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        ssh = {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=15"}
        return {**ssh, **passed, **self._trust(), "GIT_ALLOW_PROTOCOL": _ALLOWED}

    def _trust(self) -> dict[str, str]:
        """For a remote on this machine: the user's list of safe folders, which git on the other side looks up."""
        if not self._url.startswith(("/", "file:")):
            return {}
        folders = sorted(folder for folder in trusted_folders() if not re.search(r'[\x00-\x1f"\\]', folder))
        if not folders:
            return {}
        path = self._beside("trust")
        lines = "".join(f'\tdirectory = "{folder}"\n' for folder in folders)
        replace_file(path, f"[safe]\n{lines}".encode(), mode=0o600, durable=False)
        return {"GIT_CONFIG_GLOBAL": str(path)}

    def _explained(self, error: GitFailedError) -> FetchError:
        told = self._masked(
            str(error).removeprefix("git fetch failed: ").removeprefix("git ls-remote failed: ")
        )
        if "couldn't find remote ref" in error.stderr:
            return BranchMissingError(f"{self.shown_url} has no branch {self._branch or self._head_branch()}")
        hint = None
        if any(words in error.stderr for words in _NO_ACCESS):
            hint = "Give the daemon credentials: an SSH key, GIT_ASKPASS or ~/.netrc."
        return FetchError(f"{self.shown_url} cannot be fetched: {told}", hint=hint)

    def _masked(self, text: str) -> str:
        found = re.search(r"://([^/@]+)@", self._url)
        for secret in found[1].split(":") if found else ():
            text = text.replace(secret, "***") if len(secret) > 3 else text
        return without_credentials(text)

    def _is_usable(self) -> bool:
        """Whether the folder is a mirror of this URL."""
        try:
            config = (self.folder / "config").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return False
        whole = all((self.folder / part).exists() for part in ("HEAD", "objects", "refs"))
        return whole and config == _CONFIG.format(url=_quoted(self._url))

    def _is_damaged(self, error: GitFailedError) -> bool:
        """Whether it is the mirror that keeps a fetch from succeeding. A remote that is away is the usual reason."""
        branch = self._branch or self._head_branch()
        if branch is not None and self._readable_tip(branch) is None:
            return True
        if not _DAMAGE.search(error.stderr):
            return False
        try:
            return not Git(self.folder).is_sound(time_limit_seconds=self._time_limit)
        except GitTimeoutError:
            return False
        except KemudiError:
            return True

    def _readable_tip(self, branch: str) -> str | None:
        try:
            sha = self._refs().branch_tip(branch)
            if sha is None:
                return None
            with Objects(Git(self.folder)) as objects:
                objects.tree(objects.commit(sha).tree)
        except UnavailableError:
            return None
        return sha

    def _has_stale_lock(self) -> bool:
        # We hold the mirror's own lock, so no fetch of ours runs; a git that is still at it would be done by then.
        now = time.time()
        locks = [*self.folder.glob("*.lock"), *(self.folder / "refs").rglob("*.lock")]
        return any(now - lock.stat().st_mtime > _STALE_LOCK_SECONDS for lock in locks)

    def _head_branch(self, folder: Path | None = None) -> str | None:
        where = folder or self.folder
        if not (where / "objects").is_dir() or where == self._beside("new"):
            return None
        try:
            return Refs(Layout(where, where, None), Git(where)).head().branch
        except UnavailableError:
            return None

    def _refs(self) -> Refs:
        return Refs(Layout(self.folder, self.folder, None), Git(self.folder))

    def _beside(self, what: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{what}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time; the kernel gives the lock back, however its holder ends."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with self._beside("lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
        except BlockingIOError:
            raise GitLockedError(f"another process fetches into {self.folder}", hint="Try again.") from None
        except OSError as error:
            raise FetchError(f"the mirror {self.folder} cannot be written: {error.strerror}") from error


def _checked(url: str) -> str:
    # A password with a slash in it is what makes some of these URLs wrong.
    shown = re.sub(r"(?<=://).*@", "***@", url, flags=re.DOTALL)[:200]
    if re.search(r"[\x00-\x20\x7f\\\"]", url):
        raise UsageError(
            f"the URL of a remote has no spaces, quotes, backslashes or control characters: {shown!r}"
        )
    known = _URL.fullmatch(url) or ("://" not in url and "::" not in url and _SCP.fullmatch(url))
    if not known:
        raise UsageError(
            f"{shown!r} is not a URL that can be mirrored",
            hint="Use https://…, ssh://…, user@host:path, file://… or an absolute path.",
        )
    return url


def _quoted(url: str) -> str:
    return f'"{url}"'
