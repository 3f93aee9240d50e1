"""Texts that leave the process, such as a check's reason or a log line: without any secret in them."""

import functools
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from kemudi.schema.secret import MASK, live_plaintexts

LIMIT: Final = 300
FEWEST_CHARACTERS: Final = 4
"""A live plaintext that is shorter is not searched for in logs: it would be found in every line."""

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def masked(text: str, secrets: Iterable[Any], *, limit: int = LIMIT) -> str:
    """The text on one line, every plaintext in its usual spellings masked, cut to `limit` characters.

    Cutting comes last, so that no secret survives by being cut in two.
    """
    leaves = {leaf for secret in secrets for leaf in _leaves(secret)}
    line = _UNPRINTABLE.sub(" ", _without(text, leaves)).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def scrubbed(text: str) -> str:
    """The text with every plaintext masked that this process holds as a Secret. For what nobody should have said."""
    leaves = {leaf for secret in live_plaintexts() for leaf in _leaves(secret)}
    return _without(text, {leaf for leaf in leaves if len(leaf) >= FEWEST_CHARACTERS})


def scrubbed_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """A log event with every text in it scrubbed, at any depth."""
    leaves = {leaf for secret in live_plaintexts() for leaf in _leaves(secret)}
    searched = {leaf for leaf in leaves if len(leaf) >= FEWEST_CHARACTERS}
    return {key: _without_in(value, searched) for key, value in event.items()}


def described(error: BaseException) -> str:
    """An exception as one would say it: its type and its text."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _without(text: str, leaves: Iterable[str]) -> str:
    found = {spelling for leaf in leaves for spelling in _spellings(leaf) if spelling in text}
    for spelling in sorted(found, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return text


def _without_in(value: Any, leaves: Iterable[str]) -> Any:
    if isinstance(value, str):
        return _without(value, leaves)
    if isinstance(value, Mapping):
        return {_without(str(key), leaves): _without_in(inner, leaves) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_in(inner, leaves) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _without(str(value), leaves)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and type(value) is not bool:
        yield str(value)


@functools.lru_cache(maxsize=16_384)
def _spellings(text: str) -> tuple[str, ...]:
    """Plain, quoted in a URL, in JSON, in a Python literal, in hex, and in base64 wherever it begins."""
    if not text:
        return ()
    data = text.encode("utf-8", "surrogatepass")
    urls = (quote(data), quote(data, safe=""), quote_plus(data))
    literals = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
    coded = (data.hex(), data.hex().upper(), b64encode(data).decode().rstrip("="), *_inner_base64(data))
    return tuple(dict.fromkeys((text, *urls, *literals, *coded)))


def _inner_base64(data: bytes) -> Iterator[str]:
    """What base64 makes of it behind one or two other bytes, without the characters that it shares with neighbours."""
    for before in (0, 1, 2):
        coded = b64encode(b"\0" * before + data).decode().rstrip("=")
        whole = coded[(0, 2, 3)[before] : len(coded) - (1 if (before + len(data)) % 3 else 0)]
        if len(whole) >= FEWEST_CHARACTERS:
            yield whole
