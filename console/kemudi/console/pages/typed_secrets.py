"""A secret between its preview and its saving: sealed when typed, so that what was previewed is what is saved."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from kemudi.schema.envelope import Envelope

_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class _Kept:
    login: str
    layer: str
    key: str
    sealed: Envelope


class TypedSecrets:
    """The newest few sealed texts, each for who typed it and for one place. In memory alone: never a plaintext."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, login: str, layer: str, key: str, sealed: Envelope) -> str:
        """A name for it, for the form."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[name] = _Kept(login, layer, key, sealed)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return name

    def find(self, login: str, layer: str, key: str, name: str) -> Envelope | None:
        """What was kept; None for what is gone, of somebody else, or sealed for another place."""
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or (kept.login, kept.layer, kept.key) != (login, layer, key):
            return None
        return kept.sealed
