"""The keys whose commits count: the daemon's own, never the repository's."""

import os
import stat
from pathlib import Path
from typing import Final

from kemudi.repo.git import Git
from kemudi.repo.signatures import Method, TrustedKeys, signature_problem
from kemudi.schema.errors import UsageError

_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class Signatures:
    """Verifies commits, each once while the keys stay as they are. One thread uses it.

    Args:
        keys: The daemon's own.

    Raises:
        UsageError: A key file is missing, or others could write it.
    """

    def __init__(self, keys: TrustedKeys) -> None:
        self._keys = keys
        self._good: set[tuple[Method, str]] = set()
        self._stamp = self._look()
        self._told: dict[str, tuple[object, ...]] = {}
        for path in (keys.allowed_signers, keys.gpg_home):
            if path is not None:
                _require_own(path)

    def renewed(self, env: str) -> bool:
        """Whether the keys were changed since an environment asked last: what was refused may count now."""
        found = self._look()
        if found != self._stamp:
            self._stamp = found
            self._good.clear()
        before = self._told.get(env, found)
        self._told[env] = found
        return before != found

    def problem(self, git: Git, sha: str, method: Method) -> str:
        """What is wrong with a commit's signature, "" for nothing. Raises UnavailableError's family."""
        if (method, sha) in self._good:
            return ""
        problem = signature_problem(git, sha, method, self._keys)
        if not problem:
            self._good.add((method, sha))
        return problem

    def is_within(self, folder: Path | None) -> bool:
        """Whether a key file lies in a folder, such as the repository that it shall guard."""
        paths = (self._keys.allowed_signers, self._keys.gpg_home)
        return folder is not None and any(
            path.resolve().is_relative_to(folder.resolve()) for path in paths if path is not None
        )

    def _look(self) -> tuple[object, ...]:
        files = [self._keys.allowed_signers]
        if self._keys.gpg_home is not None:
            files += [self._keys.gpg_home / name for name in ("pubring.kbx", "pubring.gpg", "gpg.conf")]
        return tuple(_stamp(path) for path in files if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def _require_own(path: Path) -> None:
    try:
        state = path.stat()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if state.st_mode & _WRITABLE_BY_OTHERS or state.st_uid not in {0, os.geteuid()}:
        raise UsageError(
            f"others can write {path}, and so decide whose commits count", hint=f"chmod go-w {path}"
        )
