"""Who made a change, as git writes it down."""

import os
import re
import subprocess
from dataclasses import dataclass
from typing import Final

from kemudi.repo.git import program
from kemudi.repo.layout import Layout
from kemudi.schema.errors import UsageError
from kemudi.schema.sentences import sentence

_PERSON: Final = re.compile(r"[^<>\x00-\x1f\x7f]*[^<>\x00-\x20\x7f][^<>\x00-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a change. Raises UsageError for what git could not write into a commit."""

    name: str
    email: str

    def __post_init__(self) -> None:
        if not (_PERSON.fullmatch(self.name) and _PERSON.fullmatch(self.email)):
            raise UsageError(sentence("an author has a name and an address, on one line and without < and >"))


KEMUDI: Final = Author("Kemudi", "kemudi@localhost")


def identity(where: Layout) -> Author:
    """The user's own name and address by git's configuration, Kemudi's where there is none."""
    name = os.environ.get("GIT_AUTHOR_NAME") or _configured(where, "user.name")
    email = os.environ.get("GIT_AUTHOR_EMAIL") or _configured(where, "user.email")
    return Author(name or KEMUDI.name, email or KEMUDI.email)


def _configured(where: Layout, key: str) -> str:
    # The one question that the user's configuration answers; nothing in it is run.
    answer = subprocess.run(
        [program(), f"--git-dir={where.git_dir}", "config", "--get", key],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=10,
    )
    return answer.stdout.decode("utf-8", "replace").strip()
