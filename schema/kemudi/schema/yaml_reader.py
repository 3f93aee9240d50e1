"""Values out of the event stream of PyYAML's C parser, by the YAML 1.2 core schema.

Read event by event instead of composing nodes first: a seventh faster, and nothing of a large file is kept twice.
`refusals` has bounded the size and the depth before anything gets here.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml
from yaml._yaml import CParser

from kemudi.schema import rules
from kemudi.schema.findings import Finding
from kemudi.schema.refusals import (
    LIMIT_NODES,
    may_hold_properties,
    property_findings,
    syntax_finding,
    too_many_nodes,
)
from kemudi.schema.scalars import EXACT_INTEGER, NumberFault, read_plain
from kemudi.schema.sentences import sentence

_MOST_FINDINGS: Final = 20

Marks = dict[str, tuple[Any, Any]]
"""The parser's marks of key and value, by key."""


class YamlReader:
    """Reads one document. The attributes hold the result.

    Attributes:
        root: The mapping or list; None for an empty document, or where nothing could be read.
        marks: Of the top-level keys.
        broken: Top-level keys whose value was refused; the value is None.
        large: Top-level keys whose value holds an integer beyond ±2^53.
        findings: What was refused.
    """

    def __init__(self, data: bytes, file: str) -> None:
        self.root: Any = None
        self.marks: Marks = {}
        self.broken: set[str] = set()
        self.large: set[str] = set()
        self.findings: list[Finding] = []
        self._file = file
        self._parse: Callable[[], Any] = CParser(data).get_event
        # The usual file cannot hold an anchor or a tag, and is spared the look at every event.
        self._next: Callable[[], Any] = self._checked_event if may_hold_properties(data) else self._parse
        self._nodes = 0
        self._refused = False
        self._top = ""

    def read(self, *, of_list: bool = False) -> bool:
        """Read a document whose root is a mapping (or a list). False: `root` says nothing about the values."""
        try:
            return self._document(of_list)
        except yaml.YAMLError as error:
            self.findings = [syntax_finding(error, self._file)]
            return False

    def _document(self, of_list: bool) -> bool:
        self._next()  # the start of the stream
        if type(self._next()) is yaml.StreamEndEvent:
            return True
        root = self._next()
        if type(root) is yaml.MappingStartEvent and not of_list:
            self.root = self._root_mapping()
        elif type(root) is yaml.SequenceStartEvent and of_list:
            self.root = self._sequence()
        elif type(root) is not yaml.ScalarEvent or root.style or root.value:
            expected = (
                sentence("a list, each item after `- `")
                if of_list
                else sentence("a mapping, one `KEY: value` a line")
            )
            self._note(
                root, rules.NOT_A_MAPPING, sentence("the file must be %(expected)s", expected=expected)
            )
            return False
        if self._nodes > LIMIT_NODES:
            self.findings.append(too_many_nodes(self._file))
            return False
        return self._is_last() and not self._refused

    def _checked_event(self) -> Any:
        event = self._parse()
        found = property_findings(event, self._file)
        if found and len(self.findings) < _MOST_FINDINGS:
            self.findings += found
        if found and self._top:
            self._break()  # only this setting is in doubt; the rest of the file is still checked
        elif found:
            self._refused = True
        return event

    def _is_last(self) -> bool:
        self._next()  # the end of the document
        following = self._next()
        if type(following) is yaml.StreamEndEvent:
            return True
        message = sentence("a second document starts here; one file holds one document")
        self._note(following, rules.SEVERAL_DOCUMENTS, message)
        return False

    def _root_mapping(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        marks, following = self.marks, self._next
        while type(key_event := following()) is not yaml.MappingEndEvent:
            self._top = ""
            key = self._key(key_event, marks, "")
            if key is not None:
                self._top = key
            event = following()
            value = self._value(event)
            if key is not None:
                values[key] = value
                marks[key] = (key_event.start_mark, event.start_mark)
        self._nodes += 2 * len(values)
        return values

    def _mapping(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        marks: Marks = {}
        while type(key_event := self._next()) is not yaml.MappingEndEvent:
            key = self._key(key_event, marks, self._pointer())
            event = self._next()
            value = self._value(event)
            if key is not None:
                values[key] = value
                marks[key] = (key_event.start_mark, event.start_mark)
        self._nodes += 2 * len(values)
        return values

    def _sequence(self) -> list[Any]:
        items = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            items.append(self._value(event))
        self._nodes += len(items)
        return items

    def _value(self, event: Any) -> Any:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.style:
                return event.value
            value = read_plain(event.value)
            if type(value) is int:
                if not -EXACT_INTEGER <= value <= EXACT_INTEGER:
                    self.large.add(self._top)
            elif type(value) is NumberFault:
                self._number(event, value)
                return None
            return value
        if kind is yaml.MappingStartEvent:
            return self._mapping()
        return self._sequence() if kind is yaml.SequenceStartEvent else None

    def _key(self, event: Any, taken: Mapping[str, tuple[Any, Any]], pointer: str) -> str | None:
        """A key; None if it is refused. Its value is read, and left aside."""
        key = event.value if type(event) is yaml.ScalarEvent else None
        if key is None:
            self._value(event)
        if key is None or (not event.style and type(read_plain(key)) is not str):
            message = sentence("a key must be text, and this one is not")
            self._note(event, rules.KEY_NOT_TEXT, message, pointer, hint=sentence("quote the key"))
        elif key == "<<" and not event.style:
            message = sentence("merge keys are not read; every value is written out")
            self._note(event, rules.ALIAS, message, pointer)
        elif key in taken:
            first = taken[key][0].line + 1
            # A nested key may be part of a secret, so it is not named.
            name, known = (sentence("the key"), None) if pointer else (key, key)
            message = sentence(
                "%(name)s stands twice, here and on line %(first)s", name=name, first=str(first)
            )
            self._note(event, rules.DUPLICATE_KEY, message, f"{pointer}/{escape(key)}", key=known)
        else:
            return str(key)
        self._break()
        return None

    def _number(self, event: Any, fault: NumberFault) -> None:
        self._break()
        key = self._top or None
        message = sentence(
            "%(name)s cannot be served exactly: it is %(fault)s",
            name=self._top or sentence("an item"),
            fault=fault.value,
        )
        hint = sentence("write it in quotes if it is text")
        self._note(event, rules.NUMBER, message, self._pointer(), key=key, hint=hint)

    def _break(self) -> None:
        if self._top:
            self.broken.add(self._top)

    def _pointer(self) -> str:
        return f"/{escape(self._top)}" if self._top else ""

    def _note(
        self,
        event: Any,
        rule: str,
        message: str,
        pointer: str = "",
        *,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        self.findings.append(Finding(self._file, line, column, rule, pointer, key, message, hint))


def escape(token: str) -> str:
    """One token of a JSON Pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1") if "~" in token or "/" in token else token


def unescape(token: str) -> str:
    """The opposite of `escape`."""
    return token.replace("~1", "/").replace("~0", "~")
