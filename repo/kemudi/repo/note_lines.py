"""Lines of git notes: read, added, and put together from two sides. What others wrote there may be anything at all.

Git spreads many notes over folders (`ab/cdef…`); all spellings are read, and what is written here is never spread.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from kemudi.repo.errors import CorruptObjectError
from kemudi.repo.git import check_sha
from kemudi.repo.loose import write_object
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.tree_edit import with_files
from kemudi.schema.errors import ConflictError
from kemudi.schema.sentences import sentence

REF: Final = "refs/notes/kemudi/approvals"

_NAME: Final = re.compile(r"[0-9a-f]{40}")
_FILE: Final = "100644 blob "
_LARGEST_NOTE: Final = 256 * 1024
_MOST_LINES: Final = 500
_MOST_NOTES: Final = 20_000


def lines_of(repository: ConfigRepository, notes: str | None, sha: str) -> tuple[str, ...]:
    """The lines about a commit, each once; none for what is no text, too large, or cannot be read."""
    if notes is None:
        return ()
    found: dict[str, None] = {}
    try:
        for blob in _blobs(repository, repository.objects.commit(check_sha(notes)).tree, sha):
            found |= dict.fromkeys(_lines(repository, blob))
    except CorruptObjectError:
        return tuple(found)
    return tuple(found)


def all_lines(repository: ConfigRepository, notes: str) -> Iterator[tuple[str, str]]:
    """Every line with the commit that it is about; twice where two spellings have it.

    Raises ConflictError for more notes than anybody makes.
    """
    for path, blob in _all(repository, notes).items():
        sha = path.replace("/", "")
        if _NAME.fullmatch(sha):
            yield from ((sha, line) for line in _lines(repository, blob))


def with_lines(
    repository: ConfigRepository,
    notes: str | None,
    lines: Mapping[str, tuple[str, ...]],
    by: Author,
    subject: str,
    other: str | None = None,
) -> str:
    """A commit of notes with more lines on some commits; `other` is a second parent. Moves no ref."""
    store, objects = repository.layout.common_dir, repository.objects
    blobs: dict[str, str | None] = {}
    for sha, more in lines.items():
        kept = dict.fromkeys((*lines_of(repository, notes, sha), *more))
        text = "".join(f"{line}\n" for line in kept)
        blobs[sha] = write_object(store, "blob", text.encode(), durable=True)
    before = objects.commit(notes).tree if notes is not None else None
    tree = with_files(objects, store, before, blobs)
    stamp = f"{int(time.time())} +0000"
    head = [
        f"tree {tree}",
        *(f"parent {each}" for each in (notes, other) if each is not None),
        f"author {by.name} <{by.email}> {stamp}",
        f"committer {KEMUDI.name} <{KEMUDI.email}> {stamp}",
        "",
        f"{subject}\n",
    ]
    return write_object(store, "commit", "\n".join(head).encode(), durable=True)


def united(
    repository: ConfigRepository, ours: str | None, theirs: str, wanted: Callable[[str], bool]
) -> str | None:
    """The notes that have the lines of both sides; `ours` where theirs have nothing new. Nothing of ours is lost.

    Put together, only lines of theirs that are `wanted` are taken. What was put together on the other side, and has all
    of ours, is taken as it is: with a commit on top of each commit of the other, two sides would never come to an end.
    Raises ConflictError for more notes than anybody makes.
    """
    lines = _new_lines(repository, ours, theirs, wanted)
    if not lines and (ours is None or repository.is_ancestor(theirs, ours)):
        return ours
    if ours is None or (repository.is_ancestor(ours, theirs) and not _has_more(repository, ours, theirs)):
        return theirs
    # Also where theirs have only another history: without it ours could not be pushed.
    return with_lines(repository, ours, lines, KEMUDI, "Merge notes", theirs)


def _has_more(repository: ConfigRepository, ours: str, theirs: str) -> bool:
    """Whether a line of ours is not in theirs, in whatever order they stand."""
    there = _all(repository, theirs)
    changed = {path: blob for path, blob in _all(repository, ours).items() if there.get(path) != blob}
    return any(
        set(_lines(repository, blob)) - set(lines_of(repository, theirs, path.replace("/", "")))
        for path, blob in changed.items()
    )


def _blobs(repository: ConfigRepository, tree: str, name: str) -> Iterator[str]:
    """The file of a name, and those behind its spread spellings."""
    entries = repository.objects.tree(tree)
    whole, folder = entries.get(name.encode()), entries.get(name[:2].encode())
    if whole is not None and whole.kind == "file":
        yield whole.sha
    if folder is not None and folder.kind == "tree" and len(name) > 2:
        yield from _blobs(repository, folder.sha, name[2:])


def _new_lines(
    repository: ConfigRepository, ours: str | None, theirs: str, wanted: Callable[[str], bool]
) -> dict[str, tuple[str, ...]]:
    known = _all(repository, ours) if ours is not None else {}
    found: dict[str, tuple[str, ...]] = {}
    for path, blob in _all(repository, theirs).items():
        sha = path.replace("/", "")
        if known.get(path) == blob or not _NAME.fullmatch(sha):
            continue
        mine = set(lines_of(repository, ours, sha)) | set(found.get(sha, ()))
        new = tuple(each for each in _lines(repository, blob) if each not in mine and wanted(each))
        if new:
            found[sha] = (*found.get(sha, ()), *new)
    return found


def _all(repository: ConfigRepository, notes: str) -> dict[str, str]:
    """Path to blob."""
    listed = repository.git.run("ls-tree", "-r", "-z", "--full-tree", check_sha(notes)).split(b"\0")
    if len(listed) > _MOST_NOTES:
        raise ConflictError(
            sentence(
                "%(ref)s of the remote has more than %(most_notes)s notes", ref=REF, most_notes=_MOST_NOTES
            )
        )
    found: dict[str, str] = {}
    for line in listed:
        facts, _, path = line.decode("utf-8", "replace").partition("\t")
        if facts.startswith(_FILE):
            found[path] = facts.split()[2]
    return found


def _lines(repository: ConfigRepository, blob: str) -> tuple[str, ...]:
    try:
        text = repository.objects.blob(blob, limit=_LARGEST_NOTE).decode("utf-8", "replace")
    except CorruptObjectError:
        return ()
    return tuple(line for line in text.split("\n")[:_MOST_LINES] if line)
