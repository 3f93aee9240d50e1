"""The one place that runs git: fixed sub-commands, argument lists, and an environment that trusts nothing.

What a repository's own configuration could start (hooks, fsmonitor, filters, lazy fetches, replacements) is turned
off, the user's configuration is not read, and no argument from outside can be read as an option: names come after
`--end-of-options`, everything else is a full SHA. Why each: research on CVE-2017-1000117, -2022-24439, -2024-32002.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Final, cast

from kemudi.repo.errors import (
    GitFailedError,
    GitLockedError,
    GitMissingError,
    GitTimeoutError,
    UnknownRevisionError,
    UnsafeRepositoryError,
    UnsupportedRepositoryError,
)
from kemudi.schema.errors import KemudiError
from kemudi.schema.sentences import sentence

TIME_LIMIT_SECONDS: Final = 30.0
SHA: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
NO_COMMIT: Final = "0" * 40

_READ_BYTES: Final = 1 << 18
_HARDENED: Final = (
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "protocol.ext.allow=never",
)
_ENVIRONMENT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A partial clone fetches missing objects by commands of its own configuration. Reading is local: no protocol.
    "GIT_ALLOW_PROTOCOL": "none",
    "LC_ALL": "C",
    "LANGUAGE": "C",
}
_LOCK: Final = re.compile(r"Unable to create '([^']+\.lock)'")
_OWNED: Final = re.compile(r"dubious ownership in repository at '([^'\n]+)'")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s]*@")
_UNREADABLE_NAME: Final = re.compile(r"[\x00-\x1f\x7f]")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every git process: the caller's without any `GIT_*`, hardened, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | _ENVIRONMENT | dict(extra or {})


def without_credentials(text: str) -> str:
    """A message of git with the user part of every URL masked."""
    return _CREDENTIALS.sub("***@", text)


def check_sha(text: str) -> str:
    """`text` if it is a full lower-case SHA-1. Raises UnknownRevisionError."""
    if not SHA.fullmatch(text):
        raise UnknownRevisionError(sentence("%(name)s is not a full commit id", name=repr(text[:60])))
    return text


class Git:
    """Runs git on one repository. Holds no process and no state, so any thread may use it.

    Args:
        git_dir: The repository, always named to git: it never goes looking for one.
        worktree: Its work tree, for commands that need one.
        time_limit_seconds: For every command but a fetch, which has its own.
    """

    def __init__(
        self,
        git_dir: Path,
        *,
        worktree: Path | None = None,
        time_limit_seconds: float = TIME_LIMIT_SECONDS,
    ) -> None:
        self.git_dir = git_dir
        self._where = [f"--git-dir={git_dir}", *([f"--work-tree={worktree}"] if worktree is not None else [])]
        self.time_limit_seconds = time_limit_seconds

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line for a sub-command and its arguments. Raises GitMissingError."""
        return [program(), *_HARDENED, *self._where, *arguments]

    def rev_parse(self, name: str) -> str | None:
        """The commit that a name of git's stands for, None if there is none."""
        if not name or _UNREADABLE_NAME.search(name):
            raise UnknownRevisionError(
                sentence("%(name)s cannot be the name of a commit", name=repr(name[:60]))
            )
        try:
            found = self._text("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except GitFailedError as error:
            # Code 1 is the quiet "no"; 128 with these words is the loud one, as for `main~9999999999999`.
            if error.code == 1 or "unknown revision" in error.stderr or "bad revision" in error.stderr:
                return None
            raise
        return found if SHA.fullmatch(found) else None

    def tree_of(self, sha: str) -> str:
        """The root tree of a commit."""
        return check_sha(self._text("rev-parse", "--verify", f"{check_sha(sha)}^{{tree}}"))

    def symbolic_head(self) -> str | None:
        """The full name of the ref that HEAD stands for, None when it is detached."""
        try:
            return self._text("symbolic-ref", "--quiet", "HEAD")
        except GitFailedError as error:
            if error.code == 1:
                return None
            raise

    def object_format(self) -> str:
        """`sha1` or `sha256`. Also the question whether git can read the repository at all."""
        return self._text("rev-parse", "--show-object-format")

    def count(self, sha: str, *, without: str | None = None) -> int:
        """How many commits `sha` has as ancestors, itself included; less those that `without` has."""
        excluded = [f"^{check_sha(without)}"] if without is not None else []
        return int(self._text("rev-list", "--count", check_sha(sha), *excluded, "--"))

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether a commit is an ancestor of another one, or the same."""
        try:
            self.run("merge-base", "--is-ancestor", check_sha(ancestor), check_sha(descendant))
        except GitFailedError as error:
            if error.code == 1:
                return False
            raise
        return True

    def object_problem(self, sha: str) -> str:
        """What git says is wrong with an object, empty if nothing."""
        try:
            self.run("cat-file", "-p", check_sha(sha))
        except (GitFailedError, GitTimeoutError) as error:
            return getattr(error, "stderr", str(error))
        return ""

    def is_sound(self, *, time_limit_seconds: float) -> bool:
        """Whether every object that the refs lead to is there and readable."""
        try:
            self.run("fsck", "--no-progress", "--no-dangling", time_limit_seconds=time_limit_seconds)
        except GitFailedError:
            return False
        return True

    def run(
        self,
        *arguments: str,
        data: bytes = b"",
        extra: Mapping[str, str] | None = None,
        time_limit_seconds: float | None = None,
        inherited: Sequence[int] = (),
    ) -> bytes:
        """Run one sub-command and return what it wrote. `inherited` are open files that git keeps open, too.

        For this portion's own modules. Raises GitFailedError or a more exact error, GitTimeoutError, GitMissingError.
        """
        limit = self.time_limit_seconds if time_limit_seconds is None else time_limit_seconds
        argv = self.argv(*arguments)
        return run(
            argv, name=arguments[0], data=data, extra=extra, time_limit_seconds=limit, inherited=inherited
        )

    @contextlib.contextmanager
    def reading(
        self, *arguments: str, data: bytes = b"", time_limit_seconds: float
    ) -> Iterator[BufferedReader]:
        """What a sub-command writes, while it writes it; `data` is all that it is told.

        It is ended when the block ends early. For this portion's own modules. Raises as `run`, at the end.
        """
        late = threading.Event()
        # Its input is a file: git never waits for us to write while we wait for it.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as told:
            given.write(data)
            given.seek(0)
            with subprocess.Popen(
                self.argv(*arguments),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=told,
                bufsize=_READ_BYTES,
                env=environment(),
                start_new_session=True,
            ) as process:

                def end() -> None:
                    late.set()
                    process.kill()

                timer = threading.Timer(time_limit_seconds, end)
                timer.daemon = True
                timer.start()
                try:
                    yield cast("BufferedReader", process.stdout)
                    process.wait()
                except BaseException:
                    process.kill()
                    if late.is_set():
                        raise _too_long(arguments[0], time_limit_seconds) from None
                    raise
                finally:
                    timer.cancel()
            if late.is_set():
                raise _too_long(arguments[0], time_limit_seconds)
            if process.returncode:
                told.seek(0)
                raise failure(arguments[0], process.returncode, told.read().decode("utf-8", "replace"))

    def _text(self, *arguments: str) -> str:
        return self.run(*arguments).decode("utf-8", "replace").strip()


def program() -> str:
    """The git program. Raises GitMissingError."""
    found = shutil.which("git")
    if found is None:
        raise GitMissingError(
            sentence("there is no git program on PATH"), hint=sentence("Install git 2.34 or newer.")
        )
    return found


def run(
    argv: Sequence[str],
    *,
    name: str,
    data: bytes,
    extra: Mapping[str, str] | None,
    time_limit_seconds: float,
    inherited: Sequence[int] = (),
) -> bytes:
    """Run a command line made by `Git.argv`; `name` is its sub-command. Raises as `Git.run` does."""
    # A session of its own: Ctrl-C is for Kemudi, and a time limit ends what git has started, too.
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(extra),
        start_new_session=True,
        pass_fds=inherited,
    ) as process:
        try:
            out, err = process.communicate(data, timeout=time_limit_seconds)
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise _too_long(name, time_limit_seconds) from None
            raise
    if process.returncode:
        raise failure(name, process.returncode, err.decode("utf-8", "replace"))
    return out


def _too_long(name: str, limit_seconds: float) -> GitTimeoutError:
    return GitTimeoutError(
        sentence("git %(name)s took more than %(limit_seconds)s s", name=name, limit_seconds=limit_seconds)
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and what it has started: politely first, for then it takes its lock files with it."""
    for number, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        return


def failure(name: str, code: int, stderr: str) -> KemudiError:
    """The error that a failed git stands for."""
    text = without_credentials(stderr).strip()
    locked = _LOCK.search(text)
    if locked is not None:
        return locked_error(Path(locked[1]))
    owned = _OWNED.search(text)
    if owned is not None:
        hint = sentence(
            "If you trust it: git config --global --add safe.directory %(folder)s", folder=owned[1]
        )
        return UnsafeRepositoryError(sentence("%(name)s belongs to another user", name=owned[1]), hint=hint)
    if "unknown repository extension" in text or "expected git repo version" in text.lower():
        return UnsupportedRepositoryError(
            sentence("this git cannot read the repository: %(text)s", text=_first_line(text))
        )
    return GitFailedError(
        sentence("git %(name)s failed: %(value)s", name=name, value=_first_line(text) or code),
        stderr=text,
        code=code,
    )


def locked_error(lock: Path) -> GitLockedError:
    """The error for a lock file in the way, with its age."""
    try:
        age = f"{max(0.0, time.time() - lock.stat().st_mtime):.0f} s old"
    except OSError:
        age = "gone by now"
    return GitLockedError(
        sentence("git is locked by %(lock)s (%(age)s)", lock=lock, age=age),
        hint=sentence("Another git may be at work. If none is running, delete the file and try again."),
    )


def _first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (told or lines or [""])[0][:300]


def init_bare(folder: Path) -> None:
    """Make an empty bare repository without hooks or templates. Raises GitFailedError's family."""
    folder.mkdir(parents=True, exist_ok=True)
    Git(folder).run(
        "init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--object-format=sha1"
    )
