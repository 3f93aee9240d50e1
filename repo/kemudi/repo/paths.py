"""Which paths of a config repo are read: the same answer for a commit and for the work tree.

What may mean something is decided by `kemudi.schema.paths`; this adds what an editor leaves beside a file, and how
deep a search goes, so that a config repo in a large repository costs what it holds and no more.
"""

import re
from typing import Final, Literal

from kemudi.schema.paths import is_relevant
from kemudi.schema.refusals import LIMIT_BYTES

Kind = Literal["file", "symlink", "submodule"]

MANIFEST: Final = "kemudi.yaml"
READ_BYTES: Final = LIMIT_BYTES + 1
"""At most this much of a file is read: one byte more than validation allows, so that it can say so."""

_DEEPEST: Final = 3  # folders; `contracts/editor/x.schema.json` has two
# Backups, Vim's swap files and its probe for writing, Emacs' locks and saves, everybody's temporary files.
_SCRATCH: Final = re.compile(r".*~|\..*\.sw[a-z]|4913|.*\.tmp|\.#.*|#.*#", re.DOTALL)


def is_read(path: str, kind: Kind) -> bool:
    """Whether an entry is part of the config repo. `path` is relative to it."""
    return is_relevant(path, kind) and not is_scratch(path.rpartition("/")[2])


def is_scratch(name: str) -> bool:
    """Whether a name is that of an editor's backup, swap or temporary file."""
    return _SCRATCH.fullmatch(name) is not None


def is_entered(path: str) -> bool:
    """Whether a folder is looked into. `path` is relative to the config repo."""
    folders = path.split("/")
    return len(folders) <= _DEEPEST and not folders[-1].startswith(".")


def decode_name(raw: bytes) -> str:
    """A name from git or the disk. Bytes that are not UTF-8 are spelled out, so that it can always be printed."""
    return raw.decode("utf-8", "backslashreplace")
