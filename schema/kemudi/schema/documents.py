"""YAML 1.2 core documents with the place of every key and value.

The C parser of PyYAML composes the nodes; the values are built here, because PyYAML's own constructors read
YAML 1.1 and keep the last of two equal keys. What would make a file ambiguous or expensive is refused before.
"""

import codecs
from collections.abc import Mapping
from functools import cached_property
from itertools import chain
from operator import is_
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import yaml
from yaml._yaml import CParser

from kemudi.schema import rules
from kemudi.schema.findings import Finding
from kemudi.schema.refusals import LIMIT_NODES, refuse, syntax_finding, too_many_nodes
from kemudi.schema.scalars import EXACT_INTEGER, NumberFault, read_plain

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


_NO_MARKS: Final[Mapping[str, tuple[Any, Any]]] = MappingProxyType({})


class Place(NamedTuple):
    """Where something stands: a path relative to the config repo, line and column 1-based, in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class _Composer(CParser):
    """The C composer with PyYAML's tag resolution taken out: it is slow, and it reads YAML 1.1.

    Each hook is a C callable of the right arity whose result nobody looks at.
    """

    descend_resolver = is_
    ascend_resolver = tuple
    resolve = chain


class Document:
    """One mapping read from YAML. Immutable.

    Attributes:
        file: Path relative to the config repo.
        data: The bytes as they were read.
        values: The mapping; empty where the root is a list.
        root: The mapping or the list.
        broken: Top-level keys whose value was refused; `values` holds None for them.
        large: Top-level keys whose value holds an integer beyond ±2^53.
    """

    def __init__(
        self,
        file: str,
        data: bytes,
        root: dict[str, JSON] | list[JSON],
        marks: Mapping[str, tuple[Any, Any]],
        *,
        broken: frozenset[str] = frozenset(),
        large: frozenset[str] = frozenset(),
    ) -> None:
        self.file = file
        self.data = data
        self.root = root
        self.values: dict[str, JSON] = root if isinstance(root, dict) else {}
        self.broken = broken
        self.large = large
        self._marks = marks

    @property
    def places(self) -> Mapping[str, Place]:
        """The place of each VALUE by JSON Pointer, `""` for the whole document."""
        return self._index.values

    @property
    def key_places(self) -> Mapping[str, Place]:
        """The place of each KEY by the JSON Pointer of its value."""
        return self._index.keys

    def place(self, pointer: str) -> Place:
        """The place of a value; of its nearest known parent where the pointer leads nowhere."""
        return _nearest(self.places, pointer, self.file)

    def key_place(self, pointer: str) -> Place:
        """The place of a key; of the value where there is no key, as in a list."""
        found = self.key_places.get(pointer)
        return found if found is not None else self.place(pointer)

    def place_of_key(self, key: str) -> Place:
        """The place of a top-level key, without building the index."""
        mark = self._marks[key][0]
        return Place(self.file, mark.line + 1, mark.column + 1)

    def place_of_value(self, key: str) -> Place:
        """The place of a top-level key's value, without building the index."""
        mark = self._marks[key][1]
        return Place(self.file, mark.line + 1, mark.column + 1)

    def written(self, pointer: str) -> str | None:
        """A plain scalar as it is written in the file; None for quoted text, lists and mappings."""
        return self._index.plain.get(pointer)

    @cached_property
    def _index(self) -> "_Index":
        # Only a finding or an editor asks for nested places, so they are composed again instead of kept.
        index = _Index(self.file)
        root = _Composer(self.data).get_single_node()
        index.values[""] = Place(self.file, 1, 1)
        if root is not None:
            index.add("", root)
        return index


class _Index:
    """Places by JSON Pointer, filled by a walk over composed nodes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[str, Place] = {}
        self.keys: dict[str, Place] = {}
        self.plain: dict[str, str] = {}

    def add(self, pointer: str, node: yaml.Node) -> None:
        """Record `node` and everything below it; the first of two equal keys stands."""
        if pointer not in self.values:
            self.values[pointer] = self._place(node)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                below = f"{pointer}/{escape(str(key.value))}"
                if below not in self.keys:
                    self.keys[below] = self._place(key)
                    self.add(below, value)
        elif isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                self.add(f"{pointer}/{position}", item)
        elif isinstance(node, yaml.ScalarNode) and not node.style:
            self.plain[pointer] = node.value

    def _place(self, node: yaml.Node) -> Place:
        mark = node.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1)


def read_document(data: bytes, file: str) -> tuple[Document | None, tuple[Finding, ...]]:
    """Read one mapping. An empty or comment-only file is an empty mapping.

    Never raises on content: what is wrong comes back as findings. The document is None where nothing can be
    said about its values; with a duplicate key or a refused number it is there, and the rest is checked too.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    root, refused = _compose(data, file)
    if refused:
        return None, refused
    if root is None:
        return Document(file, data, {}, _NO_MARKS), ()
    if type(root) is not yaml.MappingNode:
        return None, (_wrong_root(root, file, "a mapping, one `KEY: value` a line"),)
    builder = _Builder(file)
    return builder.document(data, root), tuple(sorted(builder.findings))


def read_list(data: bytes, file: str) -> tuple[Document | None, tuple[Finding, ...]]:
    """Read one list, by the same rules. An empty or comment-only file is an empty list."""
    data = data.removeprefix(codecs.BOM_UTF8)
    root, refused = _compose(data, file)
    if refused:
        return None, refused
    if root is None:
        return Document(file, data, [], _NO_MARKS), ()
    if type(root) is not yaml.SequenceNode:
        return None, (_wrong_root(root, file, "a list, each item after `- `"),)
    builder = _Builder(file)
    return builder.list_document(data, root), tuple(sorted(builder.findings))


def _compose(data: bytes, file: str) -> tuple[Any, tuple[Finding, ...]]:
    """The root node (None for an empty document), or why there is none."""
    refused = refuse(data, file)
    if refused:
        return None, refused
    try:
        root = _Composer(data).get_single_node()
    except yaml.YAMLError as error:
        return None, (syntax_finding(error, file),)
    empty = type(root) is yaml.ScalarNode and not root.style and not root.value
    return (None if empty else root), ()


def _wrong_root(root: yaml.Node, file: str, expected: str) -> Finding:
    mark: Any = root.start_mark
    message = f"the file must be {expected}"
    return Finding(file, mark.line + 1, mark.column + 1, rules.NOT_A_MAPPING, message=message)


def escape(token: str) -> str:
    """One token of a JSON Pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1") if "~" in token or "/" in token else token


def unescape(token: str) -> str:
    """The opposite of `escape`."""
    return token.replace("~1", "/").replace("~0", "~")


class _Builder:
    """Turns composed nodes into values, and notes what is refused on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self._broken = False
        self._large = False
        self._nodes = 1

    def document(self, data: bytes, root: yaml.MappingNode) -> Document | None:
        """The document of a composed file; None if it holds too many nodes."""
        values: dict[str, JSON] = {}
        marks: dict[str, tuple[Any, Any]] = {}
        broken: list[str] = []
        large: list[str] = []
        for key_node, value_node in root.value:
            key = self._key(key_node, values, "", marks)
            if key is None:
                continue
            values[key] = self._value(value_node, key)
            marks[key] = (key_node.start_mark, value_node.start_mark)
            if self._broken:
                broken.append(key)
            if self._large:
                large.append(key)
            self._broken = self._large = False
        self._nodes += 2 * len(root.value)
        if self._nodes > LIMIT_NODES:
            self.findings.append(too_many_nodes(self.file))
            return None
        return Document(self.file, data, values, marks, broken=frozenset(broken), large=frozenset(large))

    def list_document(self, data: bytes, root: yaml.SequenceNode) -> Document | None:
        """The document of a composed list; None if it holds too many nodes."""
        items = self._value(root, "")
        if self._nodes > LIMIT_NODES:
            self.findings.append(too_many_nodes(self.file))
            return None
        return Document(self.file, data, cast("list[JSON]", items), _NO_MARKS)

    def _key(
        self, node: Any, taken: Mapping[str, JSON], pointer: str, marks: Mapping[str, tuple[Any, Any]]
    ) -> str | None:
        key = node.value
        if type(node) is yaml.ScalarNode and (node.style or type(read_plain(key)) is str):
            if key not in taken:
                if key == "<<" and not node.style:
                    message = "merge keys are not read; every value is written out"
                    self._note(node, rules.ALIAS, message, pointer)
                    return None
                return str(key)
            first = marks[key][0].line + 1
            # A nested key may be part of a secret, so it is not named.
            name = key if not pointer else "a key"
            message = f"{name} stands here and on line {first}"
            known = key if not pointer else None
            self._note(node, rules.DUPLICATE_KEY, message, f"{pointer}/{escape(key)}", key=known)
            return None
        message = "a key must be text, and this one is not"
        self._note(node, rules.KEY_NOT_TEXT, message, pointer, hint="quote the key")
        return None

    def _value(self, node: Any, top: str) -> JSON:
        kind = type(node)
        if kind is yaml.ScalarNode:
            if node.style:
                return str(node.value)
            value = read_plain(node.value)
            if type(value) is int and not -EXACT_INTEGER <= value <= EXACT_INTEGER:
                self._large = True
            elif isinstance(value, NumberFault):
                self._number(node, value, top)
                return None
            return value
        if kind is yaml.MappingNode:
            return self._mapping(node, top)
        self._nodes += len(node.value)
        return [self._value(item, top) for item in node.value]

    def _mapping(self, node: yaml.MappingNode, top: str) -> dict[str, JSON]:
        values: dict[str, JSON] = {}
        marks: dict[str, tuple[Any, Any]] = {}
        self._nodes += 2 * len(node.value)
        for key_node, value_node in node.value:
            key = self._key(key_node, values, f"/{escape(top)}", marks)
            if key is None:
                self._broken = True
                continue
            values[key] = self._value(value_node, top)
            marks[key] = (key_node.start_mark, value_node.start_mark)
        return values

    def _number(self, node: yaml.Node, fault: NumberFault, top: str) -> None:
        self._broken = True
        message = f"{top} holds {fault.value}, which cannot be served exactly"
        self._note(node, rules.NUMBER, message, f"/{escape(top)}", key=top, hint="quote it if it is text")

    def _note(
        self,
        node: yaml.Node,
        rule: str,
        message: str,
        pointer: str,
        *,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        mark = node.start_mark
        self.findings.append(
            Finding(self.file, mark.line + 1, mark.column + 1, rule, pointer, key, message, hint)
        )


def _nearest(places: Mapping[str, Place], pointer: str, file: str) -> Place:
    while pointer not in places and pointer:
        pointer = pointer.rpartition("/")[0]
    return places.get(pointer, Place(file, 1, 1))
