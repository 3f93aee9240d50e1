"""A snapshot in the memory of a process: categories as they came from the store, immutable and shared.

Two snapshots share every category that did not change, as the same object, so comparing and swapping cost what
changed and not what there is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from kemudi.client.frozen import same
from kemudi.schema.generation import Generation
from kemudi.store.snapshot import EncodedCategory

Source: TypeAlias = Literal["redis", "disk", "defaults", "memory"]


class Sealed(NamedTuple):
    """A secret as it lies in memory until it is read: its type and ciphertext."""

    type: str
    ciphertext: bytes


class Entry(NamedTuple):
    """One setting of a snapshot.

    Attributes:
        category: The category.
        value: A JSON value, a Secret, or Sealed.
        layered: Whether a layer sets it; otherwise it is a contract's default.
    """

    category: str
    value: Any
    layered: bool


@dataclass(frozen=True, slots=True, eq=False)
class CategoryData:
    """One category. Compared by identity: another object means that something changed.

    Attributes:
        name: The category.
        values: What a layer sets; plain JSON, never handed out unfrozen.
        defaults: Contract defaults of the other settings.
        sealed: Sensitive settings.
        restart: Settings that take effect when a process restarts.
        digests: The blobs it was read from; empty when it came from elsewhere.
    """

    name: str
    values: Mapping[str, Any]
    defaults: Mapping[str, Any]
    sealed: Mapping[str, tuple[str, bytes]]
    restart: frozenset[str] = frozenset()
    digests: tuple[str, ...] = ()

    @classmethod
    def decoded(
        cls, encoded: EncodedCategory, digests: tuple[str, ...], declared: "CategoryData | None"
    ) -> "CategoryData":
        """From the store's form; a default that only this process declares is added."""
        defaults = encoded.defaults
        if declared is not None:
            known = (encoded.values, encoded.sealed, defaults)
            added = {
                key: value
                for key, value in declared.defaults.items()
                if not any(key in part for part in known)
            }
            defaults = {**defaults, **added} if added else defaults
        return cls(encoded.name, encoded.values, defaults, encoded.sealed, encoded.restart, digests)

    def find(self, key: str) -> Entry | None:
        """The setting as the snapshot has it."""
        if key in self.values:
            return Entry(self.name, self.values[key], True)
        if key in self.sealed:
            return Entry(self.name, Sealed(*self.sealed[key]), True)
        if key in self.defaults:
            return Entry(self.name, self.defaults[key], False)
        return None

    def keys(self) -> Iterator[str]:
        """The names of its settings."""
        yield from self.values
        yield from self.sealed
        yield from self.defaults

    def has_keys_of(self, other: "CategoryData") -> bool:
        """Whether both name the same settings."""
        mine, theirs = (self.values, self.sealed, self.defaults), (other.values, other.sealed, other.defaults)
        if all(one.keys() == two.keys() for one, two in zip(mine, theirs, strict=True)):
            return True
        return set(self.keys()) == set(other.keys())

    def __len__(self) -> int:
        return len(self.values) + len(self.sealed) + len(self.defaults)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All settings that a process knows at one generation.

    Attributes:
        repo_id: The config repo it comes from; "" for declared defaults.
        env: The environment.
        revision: The commit, None before the first snapshot.
        generation: Its place in order, None before the first snapshot.
        source: Where it was read from.
        categories: By name.
        signed: The manifest's bytes, empty when there is none.
    """

    repo_id: str
    env: str
    revision: str | None
    generation: Generation | None
    source: Source
    categories: Mapping[str, CategoryData]
    signed: bytes = b""

    @classmethod
    def of_defaults(cls, env: str, declared: Mapping[str, CategoryData]) -> "Snapshot":
        """What a process serves before it has seen any snapshot."""
        return cls("", env, None, None, "defaults", declared)


Index: TypeAlias = Mapping[str, str]
"""Which category a setting belongs to."""

EMPTY_INDEX: Final[Index] = MappingProxyType({})


def changed_categories(
    old: Snapshot | None, new: Snapshot
) -> Iterator[tuple[CategoryData | None, CategoryData | None]]:
    """Each category that is not the same object in both, before and after."""
    before = old.categories if old is not None else {}
    for name, category in new.categories.items():
        if before.get(name) is not category:
            yield before.get(name), category
    for name, category in before.items():
        if name not in new.categories:
            yield category, None


def index_of(old: Snapshot | None, index: Index, new: Snapshot) -> Index:
    """The index of a snapshot; the old one itself when no name came or went."""
    pairs = list(changed_categories(old, new))
    if all(one is not None and two is not None and one.has_keys_of(two) for one, two in pairs):
        return index
    return MappingProxyType(_amended(dict(index), pairs))


def _amended(
    index: dict[str, str], pairs: Iterable[tuple[CategoryData | None, CategoryData | None]]
) -> dict[str, str]:
    """Remove what went before adding what came: a setting may move from one category to another."""
    pairs = list(pairs)
    for old, _ in pairs:
        for key in old.keys() if old is not None else ():
            if index.get(key) == old.name:  # type: ignore[union-attr] # there are no keys without it
                del index[key]
    for _, new in pairs:
        if new is not None:
            for part in (new.values, new.sealed, new.defaults):
                index.update(dict.fromkeys(part, new.name))
    return index


def same_entry(one: Entry | None, other: Entry | None) -> bool:
    """Whether nobody could tell the two apart without opening a seal that differs."""
    if one is None or other is None:
        return one is other
    return one.value is other.value or same(one.value, other.value)
