"""Which settings differ between two views, at a cost of what changed."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from kemudi.client.snapshot import CategoryData, Sealed, changed_categories, same_entry
from kemudi.client.view import Served


def changed_names(old: Served, new: Served) -> list[str]:
    """The settings that a reader would see change, in order of name.

    A secret that was only sealed anew is unchanged, and so is one that this process cannot open.
    """
    suspects = {key for pair in changed_categories(old.snapshot, new.snapshot) for key in _suspects(*pair)}
    if old.overlay or new.overlay:
        suspects.update(old.overlay, new.overlay)
    return sorted(key for key in suspects if _differs(key, old, new))


def selected(selector: str, served: Served) -> frozenset[str]:
    """The settings that a selector names: those of a category, else those whose name matches the glob."""
    if selector in served.categories:
        return served.names_in(selector)
    return frozenset(key for key in served.names if fnmatchcase(key, selector))


def _suspects(old: CategoryData | None, new: CategoryData | None) -> Iterator[str]:
    if old is None or new is None:
        present = old or new
        yield from present.keys() if present is not None else ()
        return
    for before, after in ((old.values, new.values), (old.defaults, new.defaults), (old.sealed, new.sealed)):
        yield from (
            key for key, value in after.items() if key not in before or not _plainly_same(before[key], value)
        )
        yield from (key for key in before if key not in after)


def _plainly_same(one: object, other: object) -> bool:
    """A quick first look: a value it lets through is the same, one it stops is looked at closely."""
    return one is other or (type(one) is type(other) and type(one) in (str, int, bool) and one == other)


def _differs(key: str, old: Served, new: Served) -> bool:
    before, after = old.entry(key), new.entry(key)
    if same_entry(before, after):
        return False
    if before is None or after is None:
        return True
    if Sealed not in (type(before.value), type(after.value)):
        return True
    return value_or_none(key, old) != value_or_none(key, new)


def value_or_none(key: str, served: Served) -> object:
    """The value as it is handed out; None where there is none, or none that can be opened. Notes no read."""
    entry = served.entry(key)
    if entry is None:
        return None
    if type(entry.value) is Sealed:
        return served.secrets.try_open(served.snapshot, entry.category, key, entry.value)
    return served.opened(key, entry)
