"""What a process reads: one dict look-up on an immutable view behind one reference.

`Served` is a dict of what was already read at one generation. A first read goes through `__missing__`, which finds
the setting, freezes or opens it, notes the name for the acknowledgements, and stores the value; every later read is
the look-up alone. A swap puts a new, empty `Served` behind the reference, so it costs nothing per setting, and a view
that somebody holds stays as it is. (`config[key]` against a plain dict read, Python 3.11: 2.2 times this way,
3.0 times with a set that notes each read.)
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from kemudi.client.errors import SettingNotFoundError
from kemudi.client.frozen import freeze
from kemudi.client.secrets import SecretReader
from kemudi.client.snapshot import Entry, Index, Sealed, Snapshot
from kemudi.schema.secret import Secret

UNSET: Final[Any] = type("Unset", (), {"__slots__": (), "__repr__": lambda _self: "<unset>"})()
"""Tells `get(key)` from `get(key, default=None)`."""


class Served(dict[str, Any]):
    """The settings of one snapshot as this process serves them. Behaves as immutable; fills itself when read.

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
        super().__init__()
        self.snapshot = snapshot
        self.index = index
        self.overlay = overlay
        self.secrets = secrets
        self.seen = seen
        self.defaulted: set[str] = set()

    def __missing__(self, key: str) -> Any:
        """The first read of a setting. Raises SettingNotFoundError, SecretUnreadableError."""
        entry = self.entry(key)
        if entry is None:
            raise SettingNotFoundError(key, self.names)
        value = self.opened(key, entry)
        self.seen.add(key)
        if not entry.layered:
            self.defaulted.add(key)  # before the value: whoever finds the value finds this, too
        self[key] = value
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


class Selection(Mapping[str, Any]):
    """Some settings of one snapshot: read-only, and unchanged by later swaps. Values are looked up when asked for."""

    __slots__ = ("_names", "_served")

    def __init__(self, served: Served, names: Iterable[str]) -> None:
        self._served = served
        self._names = frozenset(names)

    def __getitem__(self, key: str) -> Any:
        if key not in self._names:
            raise SettingNotFoundError(key, self._names)
        return self._served[key]

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<{len(self)} settings at {self._served.snapshot.revision}>"


class Live:
    """The one reference that a swap replaces."""

    __slots__ = ("served",)

    def __init__(self, served: Served) -> None:
        self.served = served


class Readable:
    """Reading settings: by name, by category, all. Never blocks and does no I/O."""

    __slots__ = ("_live",)

    def __init__(self, live: Live) -> None:
        self._live = live

    def __getitem__(self, key: str) -> Any:
        """The value that a layer sets, else the contract's default.

        Raises:
            SettingNotFoundError: A KeyError that names the nearest setting.
            SecretUnreadableError: A secret, and this process lacks its keyset.
        """
        return self._live.served[key]

    def get(self, key: str, default: Any = UNSET) -> Any:
        """The value that a layer sets, else `default`; without `default` the contract's default, else None.

        A given `default` wins over the contract's, also when it is None, so that code can move over key by key:
        `config.get("NEO4J_URI", default=os.getenv("NEO4J_URI"))`. Raises SecretUnreadableError.
        """
        served = self._live.served
        try:
            value = served[key]
        except KeyError:
            return None if default is UNSET else default
        if default is UNSET or key not in served.defaulted:
            return value
        return default

    def category(self, name: str) -> Mapping[str, Any]:
        """The settings of one category at this moment. Raises SettingNotFoundError for an unknown category."""
        served = self._live.served
        names = served.names_in(name)
        if not names and name not in served.snapshot.categories:
            raise SettingNotFoundError(name, served.categories, noun="category")
        return Selection(served, names)

    def all(self) -> Mapping[str, Any]:
        """Every setting at this moment."""
        served = self._live.served
        return Selection(served, served.names)

    @property
    def revision(self) -> str | None:
        """The commit that is served: 40 hex digits or `worktree@<12 hex>`; None while there is no snapshot."""
        return self._live.served.snapshot.revision

    @property
    def generation(self) -> str | None:
        """Its place in order, `era.depth.serial`; None while there is no snapshot."""
        generation = self._live.served.snapshot.generation
        return None if generation is None else str(generation)

    def __contains__(self, key: object) -> bool:
        served = self._live.served
        return key in served.index or key in served.overlay

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._live.served.names))

    def __len__(self) -> int:
        return len(self._live.served.names)


def plaintexts(served: Served) -> Iterator[Any]:
    """Every secret that this process can open, for masking texts. Unreadable ones cannot leak."""
    for category in served.snapshot.categories.values():
        for key, sealed in category.sealed.items():
            opened = served.secrets.try_open(served.snapshot, category.name, key, Sealed(*sealed))
            if opened is not None:
                yield opened.reveal()
        yield from (value.reveal() for value in category.values.values() if isinstance(value, Secret))
    yield from (entry.value.reveal() for entry in served.overlay.values() if isinstance(entry.value, Secret))
