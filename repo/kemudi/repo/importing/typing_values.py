"""The type of a value: declared by a source, or by the look of its text."""

import json
import math
import re
from typing import Final

from kemudi.schema.documents import JSON
from kemudi.schema.scalars import EXACT_INTEGER

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_REAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_DECLARED: Final = {
    "str": "string",
    "string": "string",
    "text": "string",
    "char": "string",
    "url": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "decimal": "number",
    "double": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "json": "json",
    "dict": "json",
    "object": "json",
    "list": "json",
    "array": "json",
}


def declared_kind(name: str | None) -> str | None:
    """The JSON type for a source's own name of a type, `json` for an object or a list; None if it says nothing."""
    return _DECLARED.get((name or "").strip().lower())


def type_of(value: JSON) -> str:
    """The JSON type of a value."""
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    ):
        if isinstance(value, kind):
            return name
    return "null"


def read_text(text: str, kind: str | None) -> JSON:
    """The value that a text stands for.

    Args:
        text: As the source holds it.
        kind: A JSON type, or several joined by `|`, or `json`; None: by the look of the text.

    Raises ValueError if the text is no value of that type.
    """
    if kind is None:
        return _by_look(text)
    for each in kind.split("|"):
        if each in ("string", "any"):
            return text
        try:
            return _READERS[each](text)
        except (ValueError, KeyError):
            continue
    raise ValueError(f"it is no {kind}")


def is_exact(value: JSON) -> bool:
    """Whether every reader keeps an integer as it is."""
    return not (type(value) is int and not -EXACT_INTEGER <= value <= EXACT_INTEGER)


def _by_look(text: str) -> JSON:
    # 0 and 1 are numbers here: whoever meant a switch says so in the contract.
    for kind in ("integer", "number", "boolean"):
        try:
            value = _READERS[kind](text)
        except ValueError:
            continue
        return value if is_exact(value) else text
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        try:
            return _structure(stripped)
        except ValueError:
            return text
    return text


def _boolean(text: str) -> JSON:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("it is neither true nor false")


def _integer(text: str) -> JSON:
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError("it is no whole number")
    return int(text)


def _number(text: str) -> JSON:
    if not _REAL.fullmatch(text.strip()):
        raise ValueError("it is no number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("it is not finite")
    return value


def _structure(text: str) -> JSON:
    value = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(value, dict | list):
        raise ValueError("it is neither an object nor a list")  # noqa: TRY004  # for the caller all of it is text
    found: JSON = value
    return found


def _refuse_constant(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON")


_READERS: Final = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "json": _structure,
    "object": _structure,
    "array": _structure,
}
