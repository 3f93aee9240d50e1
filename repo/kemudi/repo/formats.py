"""Git's commit and tree objects as values. Pure: bytes in, values out, ValueError for what is not one."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

EntryKind = Literal["file", "tree", "symlink", "submodule"]

_LATEST: Final = 253402300799  # 9999-12-31: the last second that datetime can hold
_KINDS: Final[dict[bytes, EntryKind]] = {
    b"40000": "tree",
    b"040000": "tree",
    b"120000": "symlink",
    b"160000": "submodule",
}


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit.

    Attributes:
        sha: 40 hex digits.
        tree: SHA of its root tree.
        parents: SHAs, the first parent first.
        author_name: Who wrote the change.
        author_email: Their address.
        authored_at: When, UTC.
        committed_at: When it was committed, UTC. Says nothing of the order of commits.
        subject: First line of the message.
        message: The whole message.
    """

    sha: str
    tree: str
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    authored_at: datetime
    committed_at: datetime
    subject: str
    message: str


class TreeEntry(NamedTuple):
    """One entry of a tree."""

    kind: EntryKind
    sha: str


def parse_tree(data: bytes) -> dict[bytes, TreeEntry]:
    """The entries of a tree object by name. Raises ValueError."""
    entries: dict[bytes, TreeEntry] = {}
    position, end = 0, len(data)
    while position < end:
        space = data.index(b" ", position)
        zero = data.index(b"\0", space)
        sha = data[zero + 1 : zero + 21]
        if len(sha) != 20:
            raise ValueError("a tree object ends in the middle of an entry")
        kind = _KINDS.get(data[position:space], "file")
        entries[data[space + 1 : zero]] = TreeEntry(kind, sha.hex())
        position = zero + 21
    return entries


def parse_commit(sha: str, data: bytes) -> Commit:
    """A commit object. Raises ValueError."""
    head, _, body = data.partition(b"\n\n")
    fields: dict[bytes, bytes] = {}
    parents: list[str] = []
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        if name == b"parent":
            parents.append(value.decode("ascii"))
        else:
            fields.setdefault(name, value)
    if b"tree" not in fields or b"author" not in fields or b"committer" not in fields:
        raise ValueError("a commit object has no tree, author or committer")
    encoding = fields.get(b"encoding", b"utf-8").decode("ascii", "replace")
    message = _decoded(body, encoding)
    author_name, author_email, authored_at = _person(_decoded(fields[b"author"], encoding))
    return Commit(
        sha=sha,
        tree=fields[b"tree"].decode("ascii"),
        parents=tuple(parents),
        author_name=author_name,
        author_email=author_email,
        authored_at=authored_at,
        committed_at=_person(_decoded(fields[b"committer"], encoding))[2],
        subject=message.lstrip("\n").partition("\n")[0],
        message=message,
    )


def _decoded(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        return text.decode("utf-8", "replace")


def _person(line: str) -> tuple[str, str, datetime]:
    name, _, rest = line.partition("<")
    email, _, when = rest.rpartition(">")
    seconds = (when.split() or ["0"])[0]
    stamp = int(seconds) if seconds.isascii() and seconds.isdigit() else 0
    return name.strip(), email.strip(), datetime.fromtimestamp(min(stamp, _LATEST), UTC)
