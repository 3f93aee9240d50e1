"""Contracts as JSON with places: read by the C parser of the standard library, located only when something is wrong."""

import json
import re
from functools import cached_property
from typing import Any, Final, NoReturn

from kemudi.schema import rules
from kemudi.schema.documents import JSON, Place, escape
from kemudi.schema.findings import Finding
from kemudi.schema.refusals import LIMIT_BYTES, LIMIT_DEPTH
from kemudi.schema.scalars import LARGEST_INTEGER
from kemudi.schema.sentences import sentence

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SCALAR: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,\]}]+', re.DOTALL)
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,:\[\]{}"]+', re.DOTALL)
_LONGEST_NUMBER: Final = 128


class JsonDocument:
    """One JSON object and the place of everything in it. Immutable."""

    def __init__(self, file: str, text: str, values: dict[str, JSON]) -> None:
        self.file = file
        self.values = values
        self._text = text

    def place(self, pointer: str) -> Place:
        """The place of the key (or of the item) at a JSON Pointer, of its nearest parent, or of the file."""
        places = self._places
        while pointer and pointer not in places:
            pointer = pointer.rpartition("/")[0]
        line, column = _position(self._text, places.get(pointer, 0))
        return Place(self.file, line, column)

    @cached_property
    def _places(self) -> dict[str, int]:
        places: dict[str, int] = {}
        _locate(self._text, _skip(self._text, 0), "", places)
        return places


class _RefusedError(ValueError):
    """Content that is JSON to the parser and not to us; `token` is its text, `""` where it has no one place."""

    def __init__(self, message: str, token: str = "") -> None:
        super().__init__(message)
        self.token = token


def read_json(data: bytes, file: str) -> tuple[JsonDocument | None, tuple[Finding, ...]]:
    """Read one JSON object. Never raises on content."""
    if len(data) > LIMIT_BYTES:
        message = sentence(
            "the file has %(number)s bytes; at most %(limit_bytes)s are read",
            number=len(data),
            limit_bytes=LIMIT_BYTES,
        )
        return None, (Finding(file, 1, 1, rules.TOO_LARGE, message=message),)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(data[: error.start].decode(), error.start)
        message = sentence("byte 0x%(value)s is not UTF-8", value=f"{data[error.start]:02X}")
        return None, (Finding(file, line, column, rules.NOT_UTF8, message=message),)
    try:
        values = _DECODER.decode(text)
        _refuse_deep(values)
        _refuse_surrogates(text, values)
    except json.JSONDecodeError as error:
        problem = f"{error.msg[:1].lower()}{error.msg[1:]}"
        message = sentence("this is not JSON: %(problem)s", problem=problem)
        return None, (Finding(file, error.lineno, error.colno, rules.CONTRACT_JSON, message=message),)
    except _RefusedError as error:
        line, column = _position(text, _find(text, error.token))
        return None, (Finding(file, line, column, rules.CONTRACT_JSON, message=error.args[0]),)
    except RecursionError:
        return None, (Finding(file, 1, 1, rules.CONTRACT_JSON, message=_TOO_DEEP),)
    if not isinstance(values, dict):
        return None, (
            Finding(file, 1, 1, rules.CONTRACT_JSON, message=sentence("a contract must be a JSON object")),
        )
    return JsonDocument(file, text, values), ()


_TOO_DEEP: Final = sentence("the contract is nested more than %(depth)s deep", depth=LIMIT_DEPTH)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(
            sentence("the key %(twice)s stands twice in one object", twice=repr(twice)), json.dumps(twice)
        )
    return values


def _constant(name: str) -> NoReturn:
    raise _RefusedError(sentence("%(name)s is not a JSON number", name=name), name)


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER or abs(value := int(text)) > LARGEST_INTEGER:
        raise _RefusedError(sentence("an integer of more than 64 bits is not read"), text)
    return value


def _float(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else float("inf")
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(sentence("a number beyond the range of 64-bit floats is not read"), text)
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
)


def _refuse_deep(values: JSON, depth: int = 1) -> None:
    if depth > LIMIT_DEPTH:
        raise _RefusedError(_TOO_DEEP)
    if isinstance(values, dict | list):
        for inner in values.values() if isinstance(values, dict) else values:
            _refuse_deep(inner, depth + 1)


def _refuse_surrogates(text: str, values: JSON) -> None:
    if "\\u" not in text:
        return  # only an escape can make half of a pair
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _RefusedError(sentence("half of a surrogate pair is not a character")) from None


def _find(text: str, token: str) -> int:
    """Where a token stands; its second place if there is one, as for the key that stands twice."""
    found = [match.start() for match in _TOKEN.finditer(text) if match.group() == token]
    return found[min(1, len(found) - 1)] if found else 0


def _skip(text: str, index: int) -> int:
    found = _SPACE.match(text, index)
    return found.end() if found is not None else index


def _locate(text: str, index: int, pointer: str, places: dict[str, int]) -> int:
    """Note where everything below `pointer` starts; returns the index behind it. The text is known to be JSON."""
    places.setdefault(pointer, index)
    opening = text[index]
    if opening not in "{[":
        found = _SCALAR.match(text, index)
        return found.end() if found is not None else len(text)
    index, position = _skip(text, index + 1), 0
    while text[index] not in "}]":
        below = f"{pointer}/{position}"
        if opening == "{":
            found = _SCALAR.match(text, index)
            end = found.end() if found is not None else len(text)
            below = f"{pointer}/{escape(json.loads(text[index:end]))}"
            places.setdefault(below, index)
            index = _skip(text, _skip(text, end) + 1)
        index = _skip(text, _locate(text, index, below, places))
        if text[index] == ",":
            index = _skip(text, index + 1)
        position += 1
    return index + 1


def _position(text: str, index: int) -> tuple[int, int]:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return before.count("\n") + 1, len(before) - before.rfind("\n")
