"""What a file says of each setting, as comparable text: fast for the files that everybody writes, exact for all."""

import hashlib
import json
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from kemudi.schema.documents import JSON, read_document
from kemudi.schema.envelope import is_sealed
from kemudi.schema.manifest import NAME, RESERVED
from kemudi.schema.paths import CATEGORY, category_of_contract

SEALED: Final = "ENC:"
"""A stored value that starts so is the digest of a ciphertext; JSON never starts so."""

NO_DEFAULT: Final = ""
"""The stored value of a setting that a contract describes without a default."""

DEFAULT_LAYER: Final = "default"

_PAIR: Final = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*): +(.*)")
_NOTHING: Final = re.compile(rb" *(?:#.*)?")
_EXACT: Final = re.compile(rb"-?[1-9][0-9]{0,14}|0|true|false")
_PLAIN: Final = re.compile(rb"([A-Z][A-Z0-9_]*): (" + _EXACT.pattern + rb")")
_WORD: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*(?:[./-][A-Za-z0-9_]+)*")
_CONSTANTS: Final = frozenset({b"null", b"Null", b"NULL", b"True", b"TRUE", b"False", b"FALSE"})
_NO_KEYS: Final = frozenset(each.decode() for each in (*_CONSTANTS, b"true", b"false"))
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_CACHED: Final = 200_000
_UNKNOWN: Final = "?"

Values = dict[str, str]
Line = tuple[str, str] | tuple[()]
_OTHER: Final = (_UNKNOWN, _UNKNOWN)


class Content(NamedTuple):
    """What a file of values says. `text`: the file, where every line of it stands for itself."""

    values: Values
    text: bytes | None = None


NOTHING: Final = Content({}, b"")
"""What an absent file says."""


class Version(NamedTuple):
    """A file after a commit. `keys`: the settings that it says something else of than before, in order."""

    content: Content
    keys: list[str]
    data: bytes

    def line_of(self, key: str) -> int:
        """The line of a key, 1 if it cannot be found."""
        name, data = key.encode(), self.data
        place = data.find(b"\n" + name + b":") + 1
        if not place and not data.startswith(name + b":"):
            place = data.find(b'"' + name + b'"')
        return data.count(b"\n", 0, place) + 1 if place > 0 else 1


class Reader:
    """Reads files of values: of a file whose lines stand for themselves, only those that are not as before."""

    def __init__(self) -> None:
        self._meaning_of = lru_cache(maxsize=_CACHED)(_line)

    def version(self, before: Content, data: bytes) -> Version | None:
        """The next version of a file of values, None for a file that cannot be read."""
        found = None if before.text is None else self._by_lines(before.values, before.text, data)
        if found is not None:
            return found
        whole = self._by_lines({}, b"", data)
        if whole is not None:
            return compared(before, whole.content, data)
        values = _read_whole(data)
        return None if values is None else compared(before, Content(values), data)

    def _by_lines(self, values: Values, old: bytes, new: bytes) -> Version | None:
        """What the lines that differ make of some values; None where a line does not stand for itself."""
        start, old_end, new_end = _differing(old, new)
        gone = dict(self._pairs(old[start:old_end]))
        pairs = self._pairs(new[start:new_end])
        came = dict(pairs)
        if len(came) < len(pairs) or _UNKNOWN in came:
            return None
        after = values.copy()
        for key in gone:
            del after[key]
        if not after.keys().isdisjoint(came):
            return None  # a key that stands twice
        after.update(came)
        keys = sorted({key for key, _ in gone.items() ^ came.items()})
        return Version(Content(after, new), keys, new)

    def _pairs(self, lines: bytes) -> list[tuple[str, str]]:
        return [each for each in map(self._meaning_of, lines.split(b"\n")) if each]


def compared(before: Content, after: Content, data: bytes) -> Version:
    """A file's next version by the values of both."""
    return Version(after, sorted({key for key, _ in after.values.items() ^ before.values.items()}), data)


def _differing(old: bytes, new: bytes) -> tuple[int, int, int]:
    """The lines that differ: where they start in both, where they end in the old and in the new."""
    start = old.rfind(b"\n", 0, _alike(old, new)) + 1
    old_end, new_end = old.find(b"\n", start), new.find(b"\n", start)
    if old_end >= 0 <= new_end and old[old_end:] == new[new_end:]:
        return start, old_end, new_end  # one line, as in most commits
    same = _alike_at_end(old, new, min(len(old), len(new)) - start)
    old_end = old.find(b"\n", len(old) - same)
    return (start, old_end, old_end + len(new) - len(old)) if old_end >= 0 else (start, len(old), len(new))


def _alike(old: bytes, new: bytes) -> int:
    """How many bytes are the same at the start: halved down to it, since comparing is faster than looping."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _alike_at_end(old: bytes, new: bytes, most: int) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def contract_defaults(data: bytes) -> tuple[Values | None, dict[str, bool]]:
    """The stored default of every setting of a contract, and what it says of being sensitive."""
    try:
        document = json.loads(data)
        properties: dict[str, Any] = document["properties"]
        described = {key: each for key, each in properties.items() if isinstance(each, dict)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None, {}
    defaults = {
        key: stored(each["default"]) if "default" in each else NO_DEFAULT for key, each in described.items()
    }
    said = {
        key: each["x-kemudi-sensitive"]
        for key, each in described.items()
        if isinstance(each.get("x-kemudi-sensitive"), bool)
    }
    return defaults, said


def stored(value: JSON) -> str:
    """The text that a value is compared and kept by."""
    if is_sealed(value):
        return SEALED + hashlib.sha256(str(value).encode()).hexdigest()[:16]
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def loaded(text: str | None) -> JSON:
    """The value of a stored text; None for a sealed one, no default, or nothing."""
    if not text or text.startswith(SEALED):
        return None
    value: JSON = json.loads(text)
    return value


@lru_cache(maxsize=65536)
def layer_of(path: str) -> str | None:
    """The layer of a path in the config repo, None for what holds no values."""
    if category_of_contract(path) is not None:
        return DEFAULT_LAYER
    layer, slash, name = path.partition("/")
    if not slash or "/" in name or not name.endswith(".yaml") or layer in RESERVED:
        return None
    return layer if NAME.fullmatch(layer) and CATEGORY.fullmatch(name[:-5]) else None


def _line(line: bytes) -> Line:
    """What a line says by itself: key and stored value, nothing, or something that needs the whole file."""
    plain = _PLAIN.fullmatch(line)
    if plain is not None and plain[1] not in _CONSTANTS:
        return (plain[1].decode(), plain[2].decode())
    text = line.removesuffix(b"\r")
    if not text.isascii() or _CONTROL.search(text):
        return _OTHER
    if _NOTHING.fullmatch(text):
        return ()
    pair = _PAIR.fullmatch(text)
    if pair is None or pair[1].decode() in _NO_KEYS:
        return _OTHER
    meaning = _meaning(pair[2])
    return _OTHER if meaning == _UNKNOWN else (pair[1].decode(), meaning)


def _meaning(raw: bytes) -> str:
    if _EXACT.fullmatch(raw):
        return raw.decode()
    if raw not in _CONSTANTS and _WORD.fullmatch(raw):
        return f'"{raw.decode()}"'
    if raw[:1] in (b"|", b">"):
        return _UNKNOWN  # a block may go on after its line
    found = _read_whole(b"K: " + raw + b"\n")
    return _UNKNOWN if found is None or found.keys() != {"K"} else found["K"]


def _read_whole(data: bytes) -> Values | None:
    document, _ = read_document(data, "values.yaml")
    if document is None or document.broken:
        return None
    return {key: stored(value) for key, value in document.values.items()}
