"""A value that is masked wherever it could be printed by accident."""

import hmac
import weakref
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, get_args

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

MASK: Final = "***"

T = TypeVar("T")

_LIVE: Final[dict[int, "weakref.ref[Secret[Any]]"]] = {}
"""Every Secret of this process, while it is referred to: what a log line is searched for, as the last defence."""


def live_plaintexts() -> list[Any]:
    """The plaintext of every Secret that this process holds now. Only to be searched for."""
    found = (reference() for reference in list(_LIVE.values()))
    return [secret.reveal() for secret in found if secret is not None]


class Secret(Generic[T]):
    """A sensitive value in memory. `.reveal()` is the only way to the plaintext.

    `repr`, `str`, `format` and f-strings give `***`; `json.dumps`, `pickle` and `copy` refuse or mask. Two
    secrets are equal when their plaintexts are; a secret never equals its plaintext.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: T) -> None:
        self._value = value
        key = id(self)
        _LIVE[key] = weakref.ref(self, lambda _gone: _LIVE.pop(key, None))

    def reveal(self) -> T:
        """The plaintext, to be used at once and not kept."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = repr((type(self._value), self._value)), repr((type(other._value), other._value))
        return hmac.compare_digest(mine.encode(), theirs.encode())

    def __hash__(self) -> int:
        return hash((type(self._value), repr(self._value)))

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (MASK,))

    def __copy__(self) -> "Secret[T]":
        return self

    def __deepcopy__(self, _memo: object) -> "Secret[T]":
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        """A field `Secret[str]` takes a Secret or its plaintext; its JSON Schema is that of the plaintext."""
        from pydantic_core import core_schema

        inner = handler.generate_schema((get_args(source) or (Any,))[0])
        wrapped = core_schema.no_info_after_validator_function(cls, inner)
        python = core_schema.union_schema([core_schema.is_instance_schema(cls), wrapped])
        return core_schema.json_or_python_schema(
            json_schema=wrapped,
            python_schema=python,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _value: MASK),
        )

    def __iter__(self) -> NoReturn:
        raise TypeError("a Secret is not iterable; call .reveal()")
