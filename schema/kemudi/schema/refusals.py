"""What a YAML file may not hold, found before anything is built from it.

A plain file costs a few scans by C code here. Only bytes that could nest deep are looked at event by event;
anchors, aliases and tags are found while the values are read.
"""

import re
from typing import Any, Final

import yaml
from yaml._yaml import CParser

from kemudi.schema import rules
from kemudi.schema.findings import Finding
from kemudi.schema.sentences import sentence

LIMIT_BYTES: Final = 1024 * 1024
LIMIT_DEPTH: Final = 64
LIMIT_NODES: Final = 100_000

_MOST_FINDINGS: Final = 20
_ASCII_ALLOWED: Final = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F)])
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0001-\U000e007f]"
)
# 16 columns of block structure hold at most 32 collections: a sequence may share the column of its mapping.
_DEEP_LINE: Final = re.compile(rb"(?:\A|[\r\n])[ \t?:-]{16}")
_STRUCTURE: Final = (b" ", b"-", b"?", b":")
_INDENTED: Final = (b"\n ", b"\n-", b"\n?", b"\n:", b"\r")
_FLOW_COLLECTIONS: Final = 32


def refuse(data: bytes, file: str) -> tuple[Finding, ...]:
    """Findings that keep `data` from being composed at all; `()` is the usual answer."""
    if len(data) > LIMIT_BYTES:
        message = sentence(
            "the file has %(number)s bytes; at most %(limit_bytes)s are read",
            number=len(data),
            limit_bytes=LIMIT_BYTES,
        )
        return (Finding(file, 1, 1, rules.TOO_LARGE, message=message),)
    found = _characters(data, file)
    if found:
        return found
    if _may_be_deep(data):
        found = _too_deep(data, file)
        if found:
            return found
    return _too_many(data, file) if len(data) > LIMIT_NODES else ()


def syntax_finding(error: yaml.YAMLError, file: str) -> Finding:
    """What the parser could not read, for an author. Never quotes the text, which may be a secret."""
    started, met = getattr(error, "context_mark", None), getattr(error, "problem_mark", None)
    of_start = getattr(error, "context", None) in _TELL_THE_START
    mark = (started if of_start else met) or met or started
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or _UNPARSED
    message, hint = _SYNTAX.get(
        problem, (sentence("this is not well-formed YAML: %(problem)s", problem=problem), None)
    )
    return Finding(file, line, column, rules.SYNTAX, message=message, hint=hint)


_UNPARSED: Final = sentence("it cannot be parsed")
_TELL_THE_START: Final = frozenset({"while scanning a simple key", "while scanning a quoted scalar"})
_SYNTAX: Final[dict[str, tuple[str, str | None]]] = {
    "found character that cannot start any token": (
        sentence("a value cannot start with this character"),
        sentence("indent with spaces, never tabs; put text that starts with @, ` or %% in quotes"),
    ),
    "found a tab character that violates indentation": (
        sentence("a tab stands here"),
        sentence("indent with spaces, never tabs"),
    ),
    "mapping values are not allowed in this context": (
        sentence("a second `: ` on this line, or a wrong indentation above it"),
        sentence("put text that holds `: ` in quotes"),
    ),
    "could not find expected ':'": (
        sentence("this line is neither `KEY: value` nor the continuation of a value"),
        sentence("write `KEY: value`, with a space after the colon"),
    ),
    "found unexpected end of stream": (
        sentence("the quotes opened here are not closed"),
        sentence("add the closing quote"),
    ),
    "did not find expected key": (
        sentence("a key was expected here"),
        sentence("check the indentation and the quotes above"),
    ),
    "did not find expected ',' or ']'": (
        sentence("a `,` or `]` was expected here"),
        sentence("close the list with `]`"),
    ),
    "did not find expected ',' or '}'": (
        sentence("a `,` or `}` was expected here"),
        sentence("close the mapping with `}`"),
    ),
    "did not find expected '-' indicator": (
        sentence("a list item was expected here"),
        sentence("start it with `- `"),
    ),
    "did not find expected <document start>": (
        sentence("one more document, or text outside of the mapping, starts here"),
        sentence("keep every line as `KEY: value`"),
    ),
}


def _characters(data: bytes, file: str) -> tuple[Finding, ...]:
    if data.isascii():
        if not data.translate(None, _ASCII_ALLOWED):
            return ()
        text = data.decode("ascii")
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line, column = _position(data[: error.start].decode("utf-8"), None)
            message = sentence("byte 0x%(value)s is not UTF-8", value=f"{data[error.start]:02X}")
            return (
                Finding(
                    file,
                    line,
                    column,
                    rules.NOT_UTF8,
                    message=message,
                    hint=sentence("save the file as UTF-8"),
                ),
            )
    findings = []
    for match in _UNSEEN.finditer(text):
        line, column = _position(text, match.start())
        message = sentence("the invisible character U+%(ord)s stands here", ord=f"{ord(match.group()):04X}")
        hint = sentence('delete it; inside double quotes an escape such as "\\u200B" makes it visible')
        findings.append(Finding(file, line, column, rules.CHARACTER, message=message, hint=hint))
        if len(findings) == _MOST_FINDINGS:
            break
    return tuple(findings)


def _position(text: str, index: int | None) -> tuple[int, int]:
    """Line and column, 1-based, of `text[index]`, or of what follows `text`."""
    before = text if index is None else text[:index]
    unified = before.replace("\r\n", "\n").replace("\r", "\n")
    return unified.count("\n") + 1, len(unified) - (unified.rfind("\n") + 1) + 1


def _may_be_deep(data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") > _FLOW_COLLECTIONS:
        return True
    if data[:1] in _STRUCTURE or any(start in data for start in _INDENTED):
        return _DEEP_LINE.search(data) is not None
    return False


def _too_deep(data: bytes, file: str) -> tuple[Finding, ...]:
    depth = 0
    parser = CParser(data)
    try:
        while parser.check_event():
            event: Any = parser.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > LIMIT_DEPTH:
                    message = sentence(
                        "values are nested more than %(limit_depth)s deep", limit_depth=LIMIT_DEPTH
                    )
                    return (_at(event, file, rules.TOO_DEEP, message),)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError as error:
        return (syntax_finding(error, file),)
    return ()


def may_hold_properties(data: bytes) -> bool:
    """Whether the bytes could hold an anchor, an alias, a tag or a directive."""
    return b"&" in data or b"*" in data or b"!" in data or b"%" in data


def property_findings(event: yaml.Event, file: str) -> list[Finding]:
    """An anchor, an alias, a tag or a directive in one event of the parser."""
    if isinstance(event, yaml.DocumentStartEvent):
        if event.tags or (event.version is not None and tuple(event.version) != (1, 2)):
            return [
                _at(
                    event,
                    file,
                    rules.SEVERAL_DOCUMENTS,
                    sentence("directives such as %%YAML and %%TAG are not read"),
                )
            ]
        return []
    if isinstance(event, yaml.AliasEvent):
        message = sentence("an alias stands here; every value is written out")
        return [_at(event, file, rules.ALIAS, message, sentence("write the value itself"))]
    found = []
    if getattr(event, "anchor", None) is not None:
        message = sentence("an anchor stands here; every value is written out")
        hint = sentence("remove the anchor; quote the value if it is text that starts with &")
        found.append(_at(event, file, rules.ALIAS, message, hint))
    if getattr(event, "tag", None) is not None:
        message = sentence("an explicit tag stands here; the contract decides the type")
        hint = sentence("remove the tag; quote the value if it is text that starts with !")
        found.append(_at(event, file, rules.TAG, message, hint))
    return found


def _at(event: Any, file: str, rule: str, message: str, hint: str | None = None) -> Finding:
    mark = event.start_mark
    return Finding(file, mark.line + 1, mark.column + 1, rule, message=message, hint=hint)


def _too_many(data: bytes, file: str) -> tuple[Finding, ...]:
    # Counted by C code alone. A node is one event or, for a collection, two; the builder counts exactly.
    try:
        events = CParser(data).raw_parse()
    except yaml.YAMLError as error:
        return (syntax_finding(error, file),)
    return (too_many_nodes(file),) if events > 2 * LIMIT_NODES + 4 else ()


def too_many_nodes(file: str) -> Finding:
    """The finding for a file of more than `LIMIT_NODES` keys and values."""
    return Finding(
        file,
        1,
        1,
        rules.TOO_MANY_NODES,
        message=sentence("the file holds more than %(limit_nodes)s values", limit_nodes=LIMIT_NODES),
    )
