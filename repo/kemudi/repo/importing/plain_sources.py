"""Settings in `.env` files, in the environment of a process, and in JSON or YAML documents."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from kemudi.repo.importing.found import Found, Gathered, Left
from kemudi.repo.importing.naming import category_of, is_wanted, key_of
from kemudi.repo.plain_json import read_json
from kemudi.schema.documents import JSON, Document, read_document
from kemudi.schema.errors import FindingsError, UsageError

MASKED: Final = re.compile(r"\*{3,}|\[?(?:redacted|masked|hidden)\]?", re.IGNORECASE)

_LARGEST: Final = 1 << 20
_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=[ \t]*(.*)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`", "\n": ""}
_REFERENCE: Final = re.compile(r"\$\{?[A-Za-z_]")


def read_dotenv(path: Path, only: tuple[str, ...] = ()) -> Gathered:
    """The lines of a `.env` file. Raises UsageError for a file that cannot be read, and as `dotenv`."""
    return dotenv(_text(path), path.name, only)


def dotenv(text: str, file: str, only: tuple[str, ...] = ()) -> Gathered:
    """The lines of the text of a `.env` file. A comment right above a line, or beside its value, describes it.

    Raises UsageError for a quote that nothing closes.
    """
    settings: dict[str, Found] = {}
    left: list[Left] = []
    for number, name, value, words, literal in _dotenv(text, file):
        place = f"{file}:{number}"
        key = key_of(name)
        if key is None:
            left.append(Left(name, f"{place} has no name that a setting could have"))
        elif not is_wanted(key, only):
            continue
        elif not literal and _REFERENCE.search(value):
            left.append(Left(key, f"{place} is put together from other variables"))
        elif MASKED.fullmatch(value):
            left.append(Left(key, f"{place} is masked"))
        elif not value and not literal:
            left.append(Left(key, f"{place} says no value"))
        else:
            settings[key] = Found(key, value, is_text=True, description=words, place=place)
    return Gathered(file, tuple(settings.values()), left=tuple(left))


def read_environment(environment: Mapping[str, str], prefix: str, only: tuple[str, ...] = ()) -> Gathered:
    """The variables that begin with a prefix; the prefix is part of their key. Raises UsageError without one."""
    if not prefix and not only:
        raise UsageError(
            "a whole environment is not a set of settings", hint="Say --prefix APP_, or --only KEY."
        )
    settings = []
    for name, value in sorted(environment.items()):
        key = key_of(name)
        if key is not None and name.startswith(prefix) and is_wanted(key, only) and value:
            settings.append(Found(key, value, is_text=True, place="the environment"))
    return Gathered("the environment", tuple(settings))


def read_mapping(path: Path, form: Literal["json", "yaml"], only: tuple[str, ...] = ()) -> Gathered:
    """A JSON or YAML file: `KEY: value` lines, or groups of them.

    A mapping under a name in lower case is a group: it becomes a category, and its name a part of its keys unless they
    are in upper case. A mapping under a KEY is a value. Raises FindingsError for a file that is no mapping, UsageError.
    """
    text = _text(path)
    if form == "json":
        values, document = _json(text, path), None
    else:
        document, findings = read_document(text.encode(), path.name)
        if document is None or findings:
            raise FindingsError(f"{path} cannot be read", findings)
        values = document.values
    settings: dict[str, Found] = {}
    left: list[Left] = []
    for name, value, category, pointer in _leaves(values, (), None):
        place = f"{path.name}{_line(document, pointer)}"
        key = key_of(name)
        if key is None:
            left.append(Left(name, f"{place} has no name that a setting could have"))
        elif value is None or (isinstance(value, str) and MASKED.fullmatch(value)):
            if is_wanted(key, only):
                left.append(Left(key, f"{place} says no value" if value is None else f"{place} is masked"))
        elif is_wanted(key, only):
            settings[key] = Found(key, value, category=category, place=place)
    return Gathered(path.name, tuple(settings.values()), left=tuple(left))


def _leaves(
    values: Mapping[str, JSON], parts: tuple[str, ...], category: str | None
) -> Iterator[tuple[str, JSON, str | None, str]]:
    for name, value in values.items():
        path = (*parts, name)
        if isinstance(value, dict) and value and not name.isupper():
            yield from _leaves(value, path, category or category_of(name))
        else:
            # A name in upper case is whole; others take the names of their groups with them.
            yield (name if name.isupper() else "_".join(path)), value, category, "/" + "/".join(path)


def _line(document: Document | None, pointer: str) -> str:
    return "" if document is None else f":{document.place(pointer).line}"


def _json(text: str, path: Path) -> dict[str, JSON]:
    try:
        values = read_json(text)
    except (ValueError, RecursionError) as error:
        place = f":{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"{path}{place} is no JSON that can be read") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} is no JSON object of settings")
    return values


def _dotenv(text: str, file: str) -> Iterator[tuple[int, str, str, str, bool]]:
    """Line number, name, value, words of its author, and whether nothing in it is to be put in for `$NAME`."""
    lines = text.splitlines()
    above: list[str] = []
    number = 0
    while number < len(lines):
        line, start = lines[number], number
        number += 1
        found = _LINE.fullmatch(line)
        if found is None:
            comment = line.strip()
            above = [*above, comment.lstrip("# ")] if comment.startswith("#") else []
            continue
        rest = found[2]
        if rest[:1] in ("'", '"'):
            while not _closed(rest):
                if number == len(lines):
                    raise UsageError(f"{file}:{start + 1} opens a quote that nothing closes")
                rest += "\n" + lines[number]
                number += 1
            value, comment = _unquoted(rest)
            literal = rest[0] == "'"
        else:
            value, _, comment = _split_comment(rest)
            literal = False
        words = comment.strip().lstrip("# ") or " ".join(above)
        above = []
        yield start + 1, found[1], value, words, literal


def _split_comment(text: str) -> tuple[str, str, str]:
    found = re.search(r"(?:^|\s)#", text)
    return (text[: found.start()].strip(), "#", text[found.end() :]) if found else (text.strip(), "", "")


def _quoted_end(text: str) -> int:
    """Where the quote that opens a text is closed, -1 if it is not."""
    position = 1
    while position < len(text):
        if text[position] == "\\" and text[0] == '"':
            position += 1
        elif text[position] == text[0]:
            return position
        position += 1
    return -1


def _closed(text: str) -> bool:
    return _quoted_end(text) > 0


def _unquoted(text: str) -> tuple[str, str]:
    end = _quoted_end(text)
    inner, comment = text[1:end], text[end + 1 :]
    if text[0] == "'":
        return inner, comment
    return "".join(_unescaped(inner)), comment


def _unescaped(text: str) -> Iterable[str]:
    characters = iter(text)
    for each in characters:
        if each != "\\":
            yield each
            continue
        following = next(characters, "")
        yield _ESCAPES.get(following, "\\" + following)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise UsageError(f"{path} is larger than 1 MiB")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None
