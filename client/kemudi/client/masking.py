"""Texts that leave the process, such as a check's reason: one short line without any secret in it."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

from kemudi.schema.secret import MASK

LIMIT: Final = 300
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def masked(text: str, secrets: Iterable[Any], *, limit: int = LIMIT) -> str:
    """The text on one line, every plaintext in its usual spellings masked, cut to `limit` characters.

    Cutting comes last, so that no secret survives by being cut in two.
    """
    spellings = {spelling for secret in secrets for leaf in _leaves(secret) for spelling in _spellings(leaf)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def described(error: BaseException) -> str:
    """An exception as one would say it: its type and its text."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and type(value) is not bool:
        yield str(value)


def _spellings(text: str) -> Iterator[str]:
    """Plain, quoted in a URL, in JSON, in a Python literal, in base64."""
    if not text:
        return
    yield text
    yield from (quote(text, safe=""), quote(text), quote_plus(text))
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
    yield b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")
