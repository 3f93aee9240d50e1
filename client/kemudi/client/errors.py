"""How the client fails, as branches of the common tree. An outage is none of these: reads go on.

::

    KemudiError
    ├── SettingNotFoundError (also a KeyError)  no such setting; names the nearest one
    └── RefusedError
        ├── SecretUnreadableError               this process lacks the keyset of a secret
        ├── BindingRefusedError                 the values served do not fit a model
        └── CopyRefusedError                    a disk copy that cannot be trusted; the next source is taken
"""

from collections.abc import Collection
from typing import Final

from kemudi.schema.errors import KemudiError, RefusedError
from kemudi.schema.nearest import nearest

_COMPARED: Final = 2_000


def _nearest(name: object, known: Collection[str]) -> str | None:
    """The known name that a person most likely meant; among very many only those with the same beginning count."""
    if not isinstance(name, str):
        return None
    if len(known) > _COMPARED:
        start = name[:4].casefold()
        known = [other for other in known if other[:4].casefold() == start][:_COMPARED]
    return nearest(name, known)


class SettingNotFoundError(KemudiError, KeyError):
    """Neither a layer nor a contract knows the name.

    The nearest known name is looked up when the text is asked for, so a caught error costs nothing.

    Attributes:
        key: What was asked for.
    """

    def __init__(self, key: object, known: Collection[str], *, noun: str = "setting") -> None:
        super().__init__(f"no {noun} {key!r}")
        self.key = key
        self._known = known
        self._noun = noun

    def __str__(self) -> str:
        if not self._known:
            return f"no {self._noun} {self.key!r}: no snapshot has been loaded and no contract declares a default"
        near = _nearest(self.key, self._known)
        return f"no {self._noun} {self.key!r}" + (f"; did you mean {near!r}?" if near else "")


class SecretUnreadableError(RefusedError):
    """A secret cannot be opened by this process. Every other setting can be read.

    Attributes:
        key: The setting.
        category: Its category, whose keyset is needed.
    """

    def __init__(self, key: str, category: str, why: str) -> None:
        super().__init__(
            f"{key} is a secret that this process cannot open: {why}",
            hint=f"set KEMUDI_KEYSET to a keyset file that covers the category {category!r}",
        )
        self.key = key
        self.category = category

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.hint})"


class BindingRefusedError(RefusedError):
    """The settings that are served do not fit a model. The message names each field, never a value."""


class CopyRefusedError(RefusedError):
    """A disk copy is damaged, unsigned, or of another environment; it is not used."""
