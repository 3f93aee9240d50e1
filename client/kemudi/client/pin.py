"""Pinned views: one snapshot for as long as somebody holds it."""

from typing import Self, TypeVar

from pydantic import BaseModel

from kemudi.client.binding import fixed
from kemudi.client.view import Readable

ModelT = TypeVar("ModelT", bound=BaseModel)


class View(Readable):
    """One snapshot for a whole unit of work: what it says stays as it is while the process moves on.

    Usable as a context manager, `with config.pin() as view:`, and also without.
    """

    __slots__ = ()

    def bind(self, model: type[ModelT]) -> ModelT:
        """The model at this snapshot, read-only. Raises BindingRefusedError, SecretUnreadableError."""
        return fixed(model, self._served)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        """Nothing to release: the snapshot goes when nobody holds it."""

    def __repr__(self) -> str:
        return f"<view of {self.revision} at generation {self.generation}>"
