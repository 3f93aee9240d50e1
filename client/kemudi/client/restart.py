"""Settings that take effect when a process restarts: pinned to the value that this process started with.

The rules, for a setting whose contract says *requires restart*:

- the first value that the process serves is pinned; so a setting that was absent at start and appears later is new,
  and served at once
- a later value is not served but reported as *restart pending*, also when the setting disappears; when the snapshot
  comes back to the pinned value, nothing is pending any more
- a setting that starts to require a restart is pinned to what was served until then; one that no longer does is live
  again
- a secret counts as unchanged when its plaintext is, whatever its ciphertext; one that cannot be opened is not pinned
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kemudi.client.snapshot import CategoryData, Entry, Sealed, changed_categories, same_entry
from kemudi.client.view import Served


@dataclass(frozen=True, slots=True)
class Pins:
    """What is pinned, and which of it differs from the snapshot.

    While a category has not changed since the process started, its settings are pinned by being what they are: only
    what may differ is kept here, so that starting costs nothing per setting.

    Attributes:
        entries: The pinned settings of changed categories with the values they are pinned to, secrets opened; and
            secrets of every category, opened while this process still has the key that fits.
        changed: The categories that have changed since the process started.
        pending: The settings that take another value, or go, when the process restarts; in order of name.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    pending: tuple[str, ...] = ()

    @property
    def overlay(self) -> Mapping[str, Entry]:
        """The settings that are served otherwise than the snapshot has them."""
        return {key: self.entries[key] for key in self.pending}

    def advanced(self, served: Served | None, candidate: Served) -> "Pins":
        """The pins under a newer snapshot.

        Args:
            served: What the process served until now, None at the start.
            candidate: The newer snapshot as it stands, without any pin.
        """
        old = served.snapshot if served is not None else None
        pairs = list(changed_categories(old, candidate.snapshot))
        entries, pending = dict(self.entries), set(self.pending)
        changed = self.changed | {before.name for before, _ in pairs if before is not None}
        for before, _ in pairs:
            if before is not None and before.name not in self.changed and served is not None:
                entries = {**_pinned(before, served), **entries}
        for key in _suspects(pairs, changed, entries, served, candidate):
            pin = _pin(key, entries.get(key), served, candidate)
            pending.discard(key)
            if pin is None:
                entries.pop(key, None)
                continue
            entries[key] = pin
            if not same_entry(pin, _comparable(key, candidate)):
                pending.add(key)
        return Pins(MappingProxyType(entries), changed, tuple(sorted(pending)))


def _pinned(category: CategoryData, served: Served) -> dict[str, Entry]:
    """The restart settings of a category as they have been until now."""
    found = ((key, _comparable(key, served)) for key in category.restart)
    return {
        key: entry
        for key, entry in found
        if entry is not None and entry.category == category.name and type(entry.value) is not Sealed
    }


def _suspects(
    pairs: list[tuple[CategoryData | None, CategoryData | None]],
    changed: frozenset[str],
    entries: Mapping[str, Entry],
    served: Served | None,
    candidate: Served,
) -> set[str]:
    """The settings whose pin may be new, or may differ from the snapshot now. One may move between categories."""
    names = {category.name for pair in pairs for category in pair if category is not None}
    found = {key for key, entry in entries.items() if {entry.category, candidate.index.get(key)} & names}
    before: Collection[str] = served.index.keys() if served is not None else ()
    for _, new in pairs:
        if new is not None and new.name in changed:
            found.update(new.restart)
        elif new is not None:
            found.update(key for key in new.restart if key in new.sealed or key in entries or key in before)
    return found


def _pin(key: str, pinned: Entry | None, served: Served | None, candidate: Served) -> Entry | None:
    present = _comparable(key, candidate)
    if present is None:
        return pinned
    if key not in candidate.snapshot.categories[present.category].restart:
        return None
    before = _comparable(key, served) if served is not None and pinned is None else None
    found = pinned or before or present
    return None if type(found.value) is Sealed else found._replace(category=present.category)


def _comparable(key: str, served: Served) -> Entry | None:
    """The setting with its secret opened, still Sealed where this process cannot open it."""
    entry = served.entry(key)
    if entry is None or type(entry.value) is not Sealed:
        return entry
    secret = served.secrets.try_open(served.snapshot, entry.category, key, entry.value)
    return entry if secret is None else Entry(entry.category, secret, entry.layered)
