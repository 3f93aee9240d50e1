"""What a file says of each setting, as comparable text: fast for the files that everybody writes, exact for all."""

import hashlib
import json
import re
from functools import lru_cache
from itertools import compress
from operator import is_not
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
    """What a file of values says. `lines`: what each line says, where every line stands for itself."""

    values: Values
    lines: list[Line] | None = None


class Reader:
    """Reads files of values. Keeps what single lines meant: most lines of a history are old friends."""

    def __init__(self) -> None:
        self._lines: dict[bytes, Line] = {}

    def content(self, data: bytes) -> Content | None:
        """The stored form of every value of a file of values, None for a file that cannot be read."""
        lines = data.split(b"\n")
        meant: list[Any] = list(map(self._lines.get, lines))
        while None in meant:
            place = meant.index(None)
            meant[place] = self._meant(lines[place])
        pairs = [each for each in meant if each]
        found = dict(pairs)
        if len(found) == len(pairs) and _UNKNOWN not in found:
            return Content(found, meant)
        whole = _read_whole(data)
        return None if whole is None else Content(whole)

    def _meant(self, line: bytes) -> Line:
        known = self._lines.get(line)
        if known is None:
            if len(self._lines) >= _CACHED:
                self._lines.clear()
            known = self._lines[line] = _line(line)
        return known


def changed_keys(old: Content, new: Content) -> list[str]:
    """The settings that two contents of a file say different things of, in order."""
    if old.lines is None or new.lines is None or len(old.lines) != len(new.lines):
        return sorted({key for key, _ in new.values.items() ^ old.values.items()})
    lines = compress(zip(old.lines, new.lines, strict=True), map(is_not, old.lines, new.lines))
    keys = {each[0] for pair in lines for each in pair if each}
    return sorted(key for key in keys if old.values.get(key) != new.values.get(key))


def line_of(data: bytes, key: str) -> int:
    """The line of a key, 1 if it cannot be found."""
    name = key.encode()
    place = data.find(b"\n" + name + b":") + 1
    if not place and not data.startswith(name + b":"):
        place = data.find(b'"' + name + b'"')
    return data.count(b"\n", 0, place) + 1 if place > 0 else 1


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
