"""Git objects through one kept `git cat-file --batch`: a question costs a tenth of a millisecond, not a process."""

import contextlib
import hashlib
import os
import select
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Sequence
from io import BufferedReader
from typing import Final, NamedTuple, Self, TypeVar

from kemudi.repo.errors import (
    CorruptObjectError,
    GitFailedError,
    GitTimeoutError,
    MissingObjectError,
    WrongObjectKindError,
)
from kemudi.repo.formats import Commit, TreeEntry, parse_commit, parse_tree
from kemudi.repo.git import SHA, TIME_LIMIT_SECONDS, Git, check_sha, environment
from kemudi.schema.errors import UnavailableError
from kemudi.schema.sentences import sentence

# An idle process has an empty pipe, and any pipe takes one page: a write of so many requests never waits for git
# while git waits for us to read. 99 lines of 41 bytes fit.
_CHUNK: Final = 99
_READ: Final = 1 << 18
_KEPT_TREES: Final = 1024
_KEPT_COMMITS: Final = 4096

V = TypeVar("V")


class Object(NamedTuple):
    """One object as it is stored. `data` is cut off when it is longer than was asked for; `size` never is."""

    kind: str
    size: int
    data: bytes


class Objects:
    """Reads objects of one repository. Any thread may ask; one is answered at a time.

    The process is started by the first question and anew when it has died. `close()` ends it; so does the end of
    this process. What is read is hashed and compared with its name.
    """

    def __init__(self, git: Git, *, time_limit_seconds: float = TIME_LIMIT_SECONDS) -> None:
        self._git = git
        self._time_limit = time_limit_seconds
        self._lock = threading.RLock()
        self._process: _CatFile | None = None
        self._trees: OrderedDict[str, dict[bytes, TreeEntry]] = OrderedDict()
        self._commits: OrderedDict[str, Commit] = OrderedDict()

    def commit(self, sha: str) -> Commit:
        """A commit. Raises CorruptObjectError when it is missing, damaged or something else."""
        with self._lock:
            found = self._commits.get(sha)
            if found is None:
                found = self._parsed_commit(sha)
                _keep(self._commits, sha, found, _KEPT_COMMITS)
            return found

    def tree(self, sha: str) -> dict[bytes, TreeEntry]:
        """The entries of a tree, not to be changed. Raises CorruptObjectError."""
        return self.trees((sha,))[0]

    def trees(self, shas: Sequence[str]) -> list[dict[bytes, TreeEntry]]:
        """Several trees in one exchange. Raises CorruptObjectError."""
        with self._lock:
            wanted = [sha for sha in dict.fromkeys(shas) if sha not in self._trees]
            read = {sha: self._parsed_tree(sha, found) for sha, found in self._read(wanted, "tree", None)}
            answer = [read[sha] if sha in read else self._trees[sha] for sha in shas]
            for sha, tree in read.items():
                _keep(self._trees, sha, tree, _KEPT_TREES)
            return answer

    def tree_data(self, sha: str) -> bytes:
        """A tree as git stores it: names, modes and SHAs. Raises CorruptObjectError."""
        with self._lock:
            return next(found.data for _, found in self._read((sha,), "tree", None))

    def blob(self, sha: str, *, limit: int | None = None) -> bytes:
        """The bytes of a file, at most `limit` of them. Raises CorruptObjectError."""
        return self.blobs((sha,), limit=limit)[0]

    def blobs(self, shas: Sequence[str], *, limit: int | None = None) -> list[bytes]:
        """Several files in one go, each at most `limit` bytes. Raises CorruptObjectError for the first bad one."""
        with self._lock:
            return [found.data for _, found in self._read(shas, "blob", limit)]

    def stream(
        self, shas: Sequence[str], *, limit: int, time_limit_seconds: float
    ) -> Generator[bytes, None, None]:
        """Many files one after another, read ahead by a git of their own. Raises as `blobs`, GitTimeoutError."""
        asked = "".join(f"{check_sha(sha)}\n" for sha in shas).encode()
        reading = self._git.reading(
            "cat-file", "--batch", "--buffer", data=asked, time_limit_seconds=time_limit_seconds
        )
        with reading as output:
            for sha in shas:
                found = _next(output, limit)
                if found is None:
                    raise self._problem(sha)
                yield _checked(sha, found, "blob").data

    def has_commit(self, sha: str) -> bool:
        """Whether the repository has a commit of this SHA. Raises CorruptObjectError for a damaged one."""
        try:
            self.commit(sha)
        except MissingObjectError:
            return False
        return True

    def close(self) -> None:
        """End the process. A later question starts a new one."""
        with self._lock:
            if self._process is not None:
                self._process.close()
                self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _parsed_commit(self, sha: str) -> Commit:
        ((_, found),) = self._read((sha,), "commit", None)
        try:
            commit = parse_commit(sha, found.data)
        except ValueError as error:
            raise CorruptObjectError(
                sentence("commit %(sha)s is damaged: %(error)s", sha=sha, error=error), sha=sha
            ) from None
        if not all(SHA.fullmatch(each) for each in (commit.tree, *commit.parents)):
            raise CorruptObjectError(
                sentence("commit %(sha)s is damaged: it names no SHA-1 objects", sha=sha), sha=sha
            )
        return commit

    def _parsed_tree(self, sha: str, found: Object) -> dict[bytes, TreeEntry]:
        try:
            return parse_tree(found.data)
        except ValueError as error:
            raise CorruptObjectError(
                sentence("tree %(sha)s is damaged: %(error)s", sha=sha, error=error), sha=sha
            ) from None

    def _read(self, shas: Iterable[str], kind: str, limit: int | None) -> Iterator[tuple[str, Object]]:
        wanted = [check_sha(sha) for sha in shas]
        for start in range(0, len(wanted), _CHUNK):
            for sha, found in zip(
                wanted[start : start + _CHUNK],
                self._exchange(wanted[start : start + _CHUNK], limit),
                strict=True,
            ):
                if found is None:
                    raise self._problem(sha)
                yield sha, _checked(sha, found, kind)

    def _exchange(self, shas: Sequence[str], limit: int | None) -> list[Object | None]:
        found: list[Object | None] = []
        fresh = False
        while len(found) < len(shas):
            if self._process is None:
                self._process = _CatFile(self._git, self._time_limit)
                fresh = True
            before = len(found)
            try:
                for answer in self._process.ask(shas[before:], limit):
                    found.append(answer)  # noqa: PERF402  # what came before a death is kept
            except _DiedError:
                self.close()
                # A new process that dies on its first object has met a damaged one; an old one may just have died.
                if fresh and len(found) == before:
                    raise self._problem(shas[before]) from None
                fresh = False
            except BaseException:
                self.close()  # answers may be left in the pipe
                raise
        return found

    def _problem(self, sha: str) -> UnavailableError:
        problem = self._git.object_problem(sha)
        if not problem:
            return GitFailedError(sentence("git cat-file ends by itself, and no object is to blame"))
        if "Not a valid object name" in problem:
            return MissingObjectError(
                sentence("object %(sha)s is missing from %(git_dir)s", sha=sha, git_dir=self._git.git_dir),
                sha=sha,
            )
        told = problem.splitlines()[0][:300]
        return CorruptObjectError(
            sentence("object %(sha)s is damaged: %(told)s", sha=sha, told=told),
            sha=sha,
            hint=sentence("`git fsck` lists the damage."),
        )


class _DiedError(Exception):
    """The process ended before it had answered everything."""


class _CatFile:
    """One process and the bytes that it has answered so far."""

    def __init__(self, git: Git, time_limit_seconds: float) -> None:
        # Its own session, so that Ctrl-C does not end it. It ends when its input does.
        self._process = subprocess.Popen(
            git.argv("cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment(),
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101  # asked for above
        assert self._process.stdout is not None  # noqa: S101  # asked for above
        self._input = self._process.stdin
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._time_limit = time_limit_seconds
        self._buffer = b""
        self._position = 0

    def ask(self, shas: Sequence[str], limit: int | None) -> Iterator[Object | None]:
        """The objects in order, None for a missing one. Raises _DiedError, GitTimeoutError."""
        deadline = time.monotonic() + self._time_limit
        try:
            self._input.write(("\n".join(shas) + "\n").encode())
        except BrokenPipeError:
            raise _DiedError from None
        for _ in shas:
            header = _header(self._line(deadline))
            if header is None:
                yield None
                continue
            kind, size = header
            data = self._bytes(size, size if limit is None else min(size, limit), deadline)
            self._bytes(1, 0, deadline)
            yield Object(kind, size, data)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _line(self, deadline: float) -> bytes:
        end = self._buffer.find(b"\n", self._position)
        while end < 0:
            self._buffer = self._buffer[self._position :] + self._more(deadline)
            self._position = 0
            end = self._buffer.find(b"\n")
        line = self._buffer[self._position : end]
        self._position = end + 1
        return line

    def _bytes(self, count: int, kept: int, deadline: float) -> bytes:
        """The next `count` bytes, of which `kept` are returned."""
        end = self._position + count
        if end <= len(self._buffer):
            data = self._buffer[self._position : self._position + kept]
            self._position = end
            return data
        parts = [self._buffer[self._position :]]
        have = held = len(parts[0])
        while have < count:
            part = self._more(deadline)
            have += len(part)
            if held < kept:
                parts.append(part)
                held += len(part)
            last = part
        over = have - count
        self._buffer, self._position = (last[len(last) - over :] if over else b""), 0
        return b"".join(parts)[:kept]

    def _more(self, deadline: float) -> bytes:
        while True:
            try:
                part = os.read(self._output, _READ)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not self._poll.poll(left * 1000):
                    raise GitTimeoutError(
                        sentence("git cat-file took more than %(time_limit)s s", time_limit=self._time_limit)
                    ) from None
                continue
            if not part:
                raise _DiedError
            return part


def _next(output: BufferedReader, limit: int) -> Object | None:
    """The next object, its data cut off at a limit; None where it is missing or git has ended."""
    line = output.readline()
    header = _header(line.rstrip(b"\n")) if line.endswith(b"\n") else None
    if header is None:
        return None
    kind, size = header
    data = output.read(min(size, limit))
    left = size + 1 - len(data)
    while left and (skipped := len(output.read(min(left, _READ)))):
        left -= skipped
    return Object(kind, size, data) if not left else None


def _header(line: bytes) -> tuple[str, int] | None:
    """Kind and size of the object that follows, None where git says that there is none."""
    words = line.split(b" ")
    return (words[1].decode(), int(words[2])) if len(words) == 3 and words[2].isdigit() else None


def _checked(sha: str, found: Object, kind: str) -> Object:
    if found.kind != kind:
        raise WrongObjectKindError(
            sentence("object %(sha)s is a %(kind)s, not a %(kind_2)s", sha=sha, kind=found.kind, kind_2=kind),
            sha=sha,
        )
    if len(found.data) == found.size:
        _verify(sha, found)
    return found


def _verify(sha: str, found: Object) -> None:
    digest = hashlib.sha1(b"%s %d\0" % (found.kind.encode(), found.size), usedforsecurity=False)
    digest.update(found.data)
    if digest.hexdigest() != sha:
        raise CorruptObjectError(
            sentence("object %(sha)s is damaged: its content has another SHA", sha=sha), sha=sha
        )


def _keep(kept: OrderedDict[str, V], sha: str, value: V, most: int) -> None:
    kept[sha] = value
    if len(kept) > most:
        kept.popitem(last=False)
