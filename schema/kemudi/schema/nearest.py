"""The name that somebody probably meant."""

import difflib
from collections.abc import Collection, Iterable
from typing import Final

from kemudi.schema.sentences import sentence

_MOST_COMPARED: Final = 2_000
_ALIKE: Final = 0.6


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name most like `name`, or None. Bounded: among very many names only case is ignored."""
    folded = name.casefold().replace("-", "_")
    for candidate in known:
        if candidate.casefold().replace("-", "_") == folded:
            return candidate
    if len(known) > _MOST_COMPARED or len(name) > 200:
        return None
    found = difflib.get_close_matches(name, _ordered(known), n=1, cutoff=_ALIKE)
    return found[0] if found else None


def did_you_mean(name: str, known: Collection[str]) -> str | None:
    """The hint `did you mean X?`, or None."""
    found = nearest(name, known)
    return sentence("did you mean %(found)s?", found=found) if found is not None else None


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names)
