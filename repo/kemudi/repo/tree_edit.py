"""A tree with some files changed: written in process, next to nothing of it read."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kemudi.repo.loose import write_object
from kemudi.repo.objects import Objects
from kemudi.schema.errors import UsageError
from kemudi.schema.sentences import sentence

_FILE: Final = b"100644"
_FOLDER: Final = b"40000"
_FILES: Final = frozenset({_FILE, b"100755", b"100664"})


def with_files(objects: Objects, store: Path, root: str | None, changes: Mapping[str, str | None]) -> str:
    """The SHA of a tree in which some paths have another blob, or none. Modes of existing files are kept.

    Args:
        objects: Reads the trees that are there.
        store: The repository that the new trees are written to.
        root: The tree to start from, None for an empty one.
        changes: Path to blob, from the root of the tree; None takes a file away.

    Raises UsageError where a folder, a link or a submodule stands in the place of a file.
    """
    entries = _entries(objects.tree_data(root)) if root is not None else {}
    below: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
    for path, blob in changes.items():
        folder, slash, rest = path.partition("/")
        if slash:
            below[folder][rest] = blob
        else:
            _put_file(entries, folder, blob)
    for folder, inner in below.items():
        name = folder.encode()
        mode, sha = entries.get(name, (_FOLDER, ""))
        if mode != _FOLDER:
            raise UsageError(sentence("%(folder)s is not a folder", folder=folder))
        made = with_files(objects, store, sha or None, inner)
        if _is_empty(made):
            entries.pop(name, None)
        else:
            entries[name] = (_FOLDER, made)
    return write_object(store, "tree", _encoded(entries), durable=True)


def _put_file(entries: dict[bytes, tuple[bytes, str]], name: str, blob: str | None) -> None:
    key = name.encode()
    mode, _ = entries.get(key, (_FILE, ""))
    if mode not in _FILES:
        raise UsageError(sentence("%(name)s is not a regular file", name=name))
    if blob is None:
        entries.pop(key, None)
    else:
        entries[key] = (mode, blob)


def _entries(data: bytes) -> dict[bytes, tuple[bytes, str]]:
    found: dict[bytes, tuple[bytes, str]] = {}
    position = 0
    while position < len(data):
        space = data.index(b" ", position)
        zero = data.index(b"\0", space)
        sha = data[zero + 1 : zero + 21].hex()
        found[data[space + 1 : zero]] = (data[position:space], sha)
        position = zero + 21
    return found


def _encoded(entries: Mapping[bytes, tuple[bytes, str]]) -> bytes:
    # Git sorts a folder as if its name ended with a slash.
    ordered = sorted(entries.items(), key=lambda item: item[0] + (b"/" if item[1][0] == _FOLDER else b""))
    return b"".join(mode + b" " + name + b"\0" + bytes.fromhex(sha) for name, (mode, sha) in ordered)


def _is_empty(tree: str) -> bool:
    return tree == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
