"""What a process reads: one dict look-up on an immutable view behind one reference.

The reference leads to a plain dict of what was already read at one generation. A setting that it lacks is found by
`Served`, frozen or opened, noted for the acknowledgements, and stored in the dict; every later read is the look-up
alone. A swap puts a new, empty dict behind the reference, so it costs nothing per setting, and a view that somebody
holds stays as it is.

(Tried beside it: a dict subclass with `__missing__` costs 8 ns more on each read, a set that notes each read 15 ns.)
"""

import functools
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final, TypeAlias

from kemudi.client.errors import SettingNotFoundError
from kemudi.client.frozen import freeze
from kemudi.client.secrets import SecretReader
from kemudi.client.snapshot import Entry, Index, Sealed, Snapshot
from kemudi.schema.secret import Secret

MOST_SEEN: Final = 1_000
"""How many names a process notes as read: the ones that it read first."""


class Served:
    """The settings of one snapshot as this process serves them. Immutable but for its notes.

    Attributes:
        snapshot: What it serves.
        index: The category of each setting of the snapshot.
        overlay: Settings served otherwise than the snapshot has them: pinned until a restart, or overridden.
        secrets: Opens what is sealed.
        seen: The names that the process has read so far, shared by all views of a client.
        defaulted: Those of the settings read here that no layer sets.
    """

    __slots__ = ("defaulted", "index", "overlay", "secrets", "seen", "snapshot")

    def __init__(
        self,
        snapshot: Snapshot,
        index: Index,
        secrets: SecretReader,
        *,
        overlay: Mapping[str, Entry],
        seen: set[str],
    ) -> None:
        self.snapshot = snapshot
        self.index = index
        self.overlay = overlay
        self.secrets = secrets
        self.seen = seen
        self.defaulted: set[str] = set()

    def read(self, key: str, entry: Entry) -> Any:
        """The value to hand out, noted as read. Raises SecretUnreadableError."""
        value = self.opened(key, entry)
        if len(self.seen) < MOST_SEEN:
            self.seen.add(key)
        if not entry.layered:
            self.defaulted.add(key)
        return value

    def entry(self, key: str) -> Entry | None:
        """The setting, its secret still sealed, without noting a read."""
        found = self.overlay.get(key)
        if found is not None:
            return found
        category = self.index.get(key)
        return None if category is None else self.snapshot.categories[category].find(key)

    def opened(self, key: str, entry: Entry) -> Any:
        """The value to hand out. Raises SecretUnreadableError."""
        value = entry.value
        if type(value) is Sealed:
            return self.secrets.open(self.snapshot, entry.category, key, value)
        return freeze(value)

    @property
    def names(self) -> Collection[str]:
        """Every setting."""
        return self.index.keys() | self.overlay.keys() if self.overlay else self.index.keys()

    @property
    def categories(self) -> Collection[str]:
        """Every category."""
        return {*self.snapshot.categories, *(entry.category for entry in self.overlay.values())}

    def names_in(self, category: str) -> frozenset[str]:
        """The settings of one category; empty for an unknown one."""
        data = self.snapshot.categories.get(category)
        extra = (key for key, entry in self.overlay.items() if entry.category == category)
        return frozenset([*(data.keys() if data is not None else ()), *extra])


Cache: TypeAlias = dict[Any, Any]
"""What was read already, by name; under VIEW the `Served` that finds the rest, so one reference leads to both."""

VIEW: Final = "\0view"
"""Text like every key: CPython looks text up by another 10 ns faster in a dict that has no other keys."""


def cache_of(served: Served) -> Cache:
    """Nothing read yet."""
    return {VIEW: served}


def look_up(cache: Cache, key: str) -> Any:
    """A setting, from the cache or into it. Raises SettingNotFoundError, SecretUnreadableError."""
    try:
        return cache[key]
    except KeyError:
        pass
    served: Served = cache[VIEW]
    entry = served.entry(key)
    if entry is None:
        raise SettingNotFoundError(key, served.names)
    value = served.read(
        key, entry
    )  # its notes come before the value: whoever finds the value finds them, too
    # Interned, the name is the same object as in the code that asks, which makes a look-up 5 ns faster; and a member
    # of a StrEnum becomes plain text, which VIEW says why.
    cache[sys.intern(str.__str__(key))] = value
    return value


class Selection(Mapping[str, Any]):
    """Some settings of one snapshot: read-only, and unchanged by later swaps. Values are looked up when asked for."""

    __slots__ = ("_cache", "_names")

    def __init__(self, cache: Cache, names: Iterable[str]) -> None:
        self._cache = cache
        self._names = frozenset(names)

    def __getitem__(self, key: str) -> Any:
        if key not in self._names:
            raise SettingNotFoundError(key, self._names)
        return look_up(self._cache, key)

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<{len(self)} settings at {self._cache[VIEW].snapshot.revision}>"


class Readable:
    """Reading settings: by name, by category, all. Never blocks and does no I/O."""

    __slots__ = ("_cache",)

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def _show(self, cache: Cache) -> None:
        """Read from this from now on: the one assignment of a swap."""
        self._cache = cache

    def __init_subclass__(cls) -> None:
        """Give each class its own copy of the two hot methods.

        CPython specialises the code of a function for the class of its `self`: code that clients and views shared
        would be slow for one of them, 7 ns on each read.
        """
        super().__init_subclass__()
        for hot in (Readable.__getitem__, Readable.get):
            setattr(cls, hot.__name__, _own_copy(hot))

    def __getitem__(self, key: str) -> Any:
        """The value that a layer sets, else the contract's default.

        Raises:
            SettingNotFoundError: A KeyError that names the nearest setting.
            SecretUnreadableError: A secret, and this process lacks its keyset.
        """
        try:
            return self._cache[key]
        except KeyError:
            pass
        return look_up(self._cache, key)

    def get(self, key: str, default: Any = ...) -> Any:
        """The value that a layer sets, else `default`; without `default` the contract's default, else None.

        A given `default` wins over the contract's, also when it is None, so that code can move over key by key:
        `config.get("NEO4J_URI", default=os.getenv("NEO4J_URI"))`. Raises SecretUnreadableError.
        """
        if default is ...:  # a constant of the code is found quicker than a sentinel of the module
            try:
                return self._cache[key]
            except KeyError:
                pass
            cache = self._cache
            return look_up(cache, key) if cache[VIEW].entry(key) is not None else None
        cache = self._cache
        try:
            value = cache[key]
        except KeyError:
            if cache[VIEW].entry(key) is None:
                return default
            value = look_up(cache, key)
        return default if key in cache[VIEW].defaulted else value

    def category(self, name: str) -> Mapping[str, Any]:
        """The settings of one category at this moment. Raises SettingNotFoundError for an unknown category."""
        cache = self._cache
        served: Served = cache[VIEW]
        names = served.names_in(name)
        if not names and name not in served.snapshot.categories:
            raise SettingNotFoundError(name, served.categories, noun="category")
        return Selection(cache, names)

    def all(self) -> Mapping[str, Any]:
        """Every setting at this moment."""
        cache = self._cache
        return Selection(cache, cache[VIEW].names)

    @property
    def _served(self) -> Served:
        served: Served = self._cache[VIEW]
        return served

    @property
    def revision(self) -> str | None:
        """The commit that is served: 40 hex digits or `worktree@<12 hex>`; None while there is no snapshot."""
        return self._served.snapshot.revision

    @property
    def generation(self) -> str | None:
        """Its place in order, `era.depth.serial`; None while there is no snapshot."""
        generation = self._served.snapshot.generation
        return None if generation is None else str(generation)

    def __contains__(self, key: object) -> bool:
        served = self._served
        return key in served.index or key in served.overlay

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._served.names))

    def __len__(self) -> int:
        return len(self._served.names)


def _own_copy(function: Any) -> FunctionType:
    code, names = function.__code__.replace(), function.__globals__
    copy = FunctionType(code, names, function.__name__, function.__defaults__)
    functools.update_wrapper(copy, function)
    return copy


def plaintexts(served: Served) -> Iterator[Any]:
    """Every secret that this process can open, for masking texts. Unreadable ones cannot leak."""
    for category in served.snapshot.categories.values():
        for key, sealed in category.sealed.items():
            opened = served.secrets.try_open(served.snapshot, category.name, key, Sealed(*sealed))
            if opened is not None:
                yield opened.reveal()
        yield from (value.reveal() for value in category.values.values() if isinstance(value, Secret))
    yield from (entry.value.reveal() for entry in served.overlay.values() if isinstance(entry.value, Secret))
