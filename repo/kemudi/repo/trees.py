"""The files of a commit, and what differs between two: by comparing trees, where equal subtrees cost nothing."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kemudi.repo.formats import TreeEntry
from kemudi.repo.objects import Objects
from kemudi.repo.paths import Kind, decode_name, is_entered, is_read


class FileId(NamedTuple):
    """Which content a path has. `sha` is the blob's; of a submodule the commit's."""

    kind: Kind
    sha: str


class Trees:
    """Compares the trees of one repository."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def difference(self, old: str | None, new: str | None) -> dict[str, FileId | None]:
        """What a tree has that another has not, by path; None for what is gone. A tree may be absent.

        Only the paths of `kemudi.repo.paths` are looked at. Raises CorruptObjectError.
        """
        found: dict[str, FileId | None] = {}
        level = [("", old, new)] if old != new else []
        while level:
            read = self._read(sha for _, before, after in level for sha in (before, after))
            deeper = []
            for prefix, before, after in level:
                for raw, was, now in _compared(read[before], read[after]):
                    path = prefix + decode_name(raw)
                    file = _file(path, now)
                    if file != _file(path, was):
                        found[path] = file
                    folders = _tree(was), _tree(now)
                    if folders != (None, None) and is_entered(path):
                        deeper.append((f"{path}/", *folders))
            level = deeper
        return found

    def subtree(self, tree: str, path: str) -> str | None:
        """The tree of a folder, `path` without a slash at its end; None if there is no such folder."""
        current = tree
        for part in path.split("/") if path else ():
            entry = self._objects.tree(current).get(part.encode())
            if entry is None or entry.kind != "tree":
                return None
            current = entry.sha
        return current

    def _read(self, shas: Iterable[str | None]) -> dict[str | None, dict[bytes, TreeEntry]]:
        wanted = [sha for sha in shas if sha is not None]
        return {None: {}, **dict(zip(wanted, self._objects.trees(wanted), strict=True))}


def _compared(
    old: dict[bytes, TreeEntry], new: dict[bytes, TreeEntry]
) -> Iterator[tuple[bytes, TreeEntry | None, TreeEntry | None]]:
    # Items views compare in C: an entry that both trees have costs no bytecode.
    for name in {name for name, _ in old.items() ^ new.items()}:
        yield name, old.get(name), new.get(name)


def _file(path: str, entry: TreeEntry | None) -> FileId | None:
    if entry is None or entry.kind == "tree" or not is_read(path, entry.kind):
        return None
    return FileId(entry.kind, entry.sha)


def _tree(entry: TreeEntry | None) -> str | None:
    return entry.sha if entry is not None and entry.kind == "tree" else None
