"""Where an earlier value of a setting belongs today: the layer that it stood in may have got another name since."""

from collections.abc import Iterable, Sequence

from kemudi.repo.history import Entry, History


def placed(entries: Iterable[Entry], layers: Sequence[str], now: str) -> tuple[tuple[str, Entry], ...]:
    """Each entry with the layer to which its value is written today.

    Args:
        entries: Of one setting, its history followed over moves.
        layers: The layers that there are.
        now: The layer where the setting is now: entries of a layer that is gone belong to it.
    """
    return tuple((entry.layer if entry.layer in layers else now, entry) for entry in entries)


def layer_today(history: History, entry: Entry, layers: Sequence[str]) -> str | None:
    """The layer of an entry, by the name that it has now; None for one whose lines went nowhere."""
    if entry.layer in layers:
        return entry.layer
    followed = (layer for layer in layers if entry in history.of_key(entry.key, layer=layer))
    return next(followed, None)


def layer_then(history: History, key: str, layer: str, layers: Sequence[str], then: Sequence[str]) -> str:
    """By which name a setting's layer went at a commit that had the layers `then`; `layers` are today's."""
    if layer in then:
        return layer
    names = (each.layer for each in history.of_key(key, layer=layer))
    return next((name for name in names if name in then and name not in layers), layer)
