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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kemudi.client.snapshot import CategoryData, Entry, Sealed, changed_categories, same_entry
from kemudi.client.view import Served


@dataclass(frozen=True, slots=True)
class Pins:
    """What is pinned, and which of it differs from the snapshot.

    Attributes:
        entries: Every pinned setting with the value it is pinned to, secrets opened.
        pending: Those that take another value, or go, when the process restarts; in order of name.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
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
        if not self.entries and not any(new is not None and new.restart for _, new in pairs):
            return self
        entries, pending = dict(self.entries), set(self.pending)
        for key in _touched(pairs, self.entries):
            pin = _pin(key, entries.get(key), served, candidate)
            pending.discard(key)
            if pin is None:
                entries.pop(key, None)
                continue
            entries[key] = pin
            if not same_entry(pin, _comparable(key, candidate)):
                pending.add(key)
        return Pins(MappingProxyType(entries), tuple(sorted(pending)))


def _touched(
    pairs: list[tuple[CategoryData | None, CategoryData | None]], entries: Mapping[str, Entry]
) -> Iterator[str]:
    """The settings whose pin may change: in changed categories, restart settings and what is pinned there."""
    names = {category.name for pair in pairs for category in pair if category is not None}
    seen = {key for key, entry in entries.items() if entry.category in names}
    for _, new in pairs:
        seen.update(new.restart if new is not None else ())
    yield from sorted(seen)


def _pin(key: str, pinned: Entry | None, served: Served | None, candidate: Served) -> Entry | None:
    present = _comparable(key, candidate)
    if present is None:
        return pinned
    if key not in candidate.snapshot.categories[present.category].restart:
        return None
    if pinned is not None:
        return pinned
    before = _comparable(key, served) if served is not None else None
    found = before or present
    return None if type(found.value) is Sealed else found


def _comparable(key: str, served: Served) -> Entry | None:
    """The setting with its secret opened, still Sealed where this process cannot open it."""
    entry = served.entry(key)
    if entry is None or type(entry.value) is not Sealed:
        return entry
    secret = served.secrets.try_open(served.snapshot, entry.category, key, entry.value)
    return entry if secret is None else Entry(entry.category, secret, entry.layered)
