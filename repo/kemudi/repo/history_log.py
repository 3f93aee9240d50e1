"""The log of a repository as steps: each commit with the files that it changed against its first parent."""

from collections.abc import Iterator
from io import BufferedReader
from itertools import islice
from typing import Final, NamedTuple

from kemudi.repo.git import Git, check_sha
from kemudi.schema.errors import UnavailableError

TIME_LIMIT_SECONDS: Final = 900.0
"""For reading a whole history."""

_FIELDS: Final = 6
_START: Final = b"\x02"
# Said in full, so that no configuration of the repository changes the answer.
_ARGUMENTS: Final = (
    "log",
    "--topo-order",
    "--reverse",
    "--raw",
    "-z",
    "--no-abbrev",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
    "--no-color",
    "--no-decorate",
    "--no-notes",
    "--no-show-signature",
    "--no-mailmap",
    "--root",
    "--encoding=UTF-8",
    "--diff-merges=first-parent",
    "--format=tformat:%x02%H%x00%P%x00%at%x00%ct%x00%an%x00%ae%x00%B",
)


class Touched(NamedTuple):
    """One file that a commit changed. `blob` is None where it took the file away."""

    path: str
    blob: str | None
    is_new: bool


class Step(NamedTuple):
    """One commit. Times are seconds since 1970."""

    sha: str
    parents: tuple[str, ...]
    authored: int
    committed: int
    author_name: str
    author_email: str
    message: str
    touched: tuple[Touched, ...]


def steps(git: Git, head: str, *, without: str | None = None) -> list[Step]:
    """The commits that lead to `head`, parents before children; without those that lead to another commit.

    Raises GitFailedError, also when `without` is not there any more.
    """
    excluded = (f"^{check_sha(without)}",) if without is not None else ()
    reading = git.reading(
        *_ARGUMENTS, check_sha(head), *excluded, "--", time_limit_seconds=TIME_LIMIT_SECONDS
    )
    with reading as output:
        return list(_parsed(_tokens(output)))


def _tokens(output: BufferedReader) -> Iterator[bytes]:
    """What git ends with a zero, while it is still writing."""
    rest = b""
    while part := output.read1():
        *whole, rest = (rest + part).split(b"\0")
        yield from whole


def _parsed(tokens: Iterator[bytes]) -> Iterator[Step]:
    token = next(tokens, None)
    while token is not None:
        head = token.lstrip(b"\n")
        if not head:
            token = next(tokens, None)
            continue
        if not head.startswith(_START):
            raise UnavailableError("git log answers in a form that is not known")
        fields = [each.decode("utf-8", "replace") for each in islice(tokens, _FIELDS)]
        if len(fields) < _FIELDS:
            return  # git has died in the middle of it, and its end says why
        parents, authored, committed, name, email, message = fields
        touched = []
        token = next(tokens, None)
        while token is not None and (facts := token.lstrip(b"\n")).startswith(b":"):
            touched.append(_touched(facts, next(tokens, b"")))
            token = next(tokens, None)
        yield Step(
            head[1:].decode(),
            tuple(parents.split()),
            _seconds(authored),
            _seconds(committed),
            name,
            email,
            message.strip("\n"),
            tuple(touched),
        )


def _touched(facts: bytes, path: bytes) -> Touched:
    _, mode, _, blob, status = facts.split(b" ")
    # A link or a submodule is no file of values.
    is_file = status[:1] != b"D" and mode in (b"100644", b"100755", b"100664")
    return Touched(
        path.decode("utf-8", "backslashreplace"), blob.decode() if is_file else None, status[:1] == b"A"
    )


def _seconds(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0  # a commit object that another program has made
