"""Names as a config repo spells them: keys, categories, descriptions and units."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from kemudi.schema.contract_reader import KEY
from kemudi.schema.manifest import RESERVED
from kemudi.schema.paths import CATEGORY

FALLBACK_CATEGORY: Final = "app"

_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD: Final = re.compile(r"[^A-Za-z0-9]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
_LONGEST_DESCRIPTION: Final = 400
_UNITS: Final = {
    "SECONDS": "seconds",
    "SECS": "seconds",
    "SEC": "seconds",
    "MS": "milliseconds",
    "MILLISECONDS": "milliseconds",
    "MINUTES": "minutes",
    "HOURS": "hours",
    "DAYS": "days",
    "BYTES": "bytes",
    "KB": "kilobytes",
    "MB": "megabytes",
    "GB": "gigabytes",
    "PERCENT": "percent",
}


def key_of(name: str) -> str | None:
    """`sync.batch_size`, `sync-batch-size` or `syncBatchSize` as `SYNC_BATCH_SIZE`; None if no key comes of it."""
    text = name if name.isupper() else _HUMPS.sub("_", name)
    key = _NO_WORD.sub("_", text).strip("_").upper()
    return key if KEY.fullmatch(key) else None


def category_of(name: str) -> str | None:
    """`Graph queries` as `graph_queries`; None if no category comes of it."""
    found = _NO_WORD.sub("_", _HUMPS.sub("_", name)).strip("_").lower()
    return found if CATEGORY.fullmatch(found) and found not in RESERVED else None


def categories_by_word(keys: Iterable[str]) -> dict[str, str]:
    """A category for each key: its first word where two keys or more share it, else `app`."""
    names = list(keys)
    first = {key: key.partition("_")[0].lower() for key in names}
    counts = Counter(first.values())
    return {
        key: word if counts[word] > 1 and category_of(word) == word else FALLBACK_CATEGORY
        for key, word in first.items()
    }


def description_of(key: str, words: str, source: str) -> str:
    """The author's own words, on one line; where there are none, what the name and the source say."""
    text = " ".join(_CONTROL.sub(" ", words).split())[:_LONGEST_DESCRIPTION]
    return text or f"{key.replace('_', ' ').capitalize()}, as imported from {source}."


def unit_of(key: str) -> str | None:
    """The unit that a key names as its last word."""
    return _UNITS.get(key.rpartition("_")[2])


def one_line(text: str) -> str:
    """Text from elsewhere without what could break or hide a line."""
    return " ".join(_CONTROL.sub(" ", text).split())


def is_wanted(key: str, only: Sequence[str], leave: Sequence[str] = ()) -> bool:
    """Whether a key fits `only` (all when it is empty) and no pattern of `leave`; `only` wins."""
    if only:
        return any(fnmatchcase(key, pattern.upper()) for pattern in only)
    return not any(fnmatchcase(key, pattern.upper()) for pattern in leave)
