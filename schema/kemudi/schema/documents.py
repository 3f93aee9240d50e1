"""YAML 1.2 core documents with the place of every key and value.

The C parser of PyYAML reads the text; the values are built by `yaml_reader`, because PyYAML's own constructors read
YAML 1.1 and keep the last of two equal keys. What is ambiguous or expensive is refused by `refusals` before.
"""

import codecs
from collections.abc import Mapping
from functools import cached_property
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

import yaml
from yaml._yaml import CParser

from kemudi.schema.findings import Finding
from kemudi.schema.refusals import refuse
from kemudi.schema.yaml_reader import YamlReader, escape, unescape

__all__ = ["JSON", "Document", "Place", "escape", "read_document", "read_list", "unescape"]

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


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
    return _read(data, file, of_list=False)


def read_list(data: bytes, file: str) -> tuple[Document | None, tuple[Finding, ...]]:
    """Read one list, by the same rules. An empty or comment-only file is an empty list."""
    return _read(data, file, of_list=True)


def _read(data: bytes, file: str, *, of_list: bool) -> tuple[Document | None, tuple[Finding, ...]]:
    data = data.removeprefix(codecs.BOM_UTF8)
    refused = refuse(data, file)
    if refused:
        return None, refused
    reader = YamlReader(data, file)
    readable = reader.read(of_list=of_list)
    findings = tuple(sorted(reader.findings)) if reader.findings else ()
    if not readable:
        return None, findings
    root = reader.root if reader.root is not None else [] if of_list else {}
    broken, large = frozenset(reader.broken), frozenset(reader.large)
    return Document(file, data, root, reader.marks, broken=broken, large=large), findings


def _nearest(places: Mapping[str, Place], pointer: str, file: str) -> Place:
    while pointer not in places and pointer:
        pointer = pointer.rpartition("/")[0]
    return places.get(pointer, Place(file, 1, 1))
