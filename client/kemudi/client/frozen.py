"""Lists and objects as served: equal to plain ones, serialised like plain ones, and not to be changed."""

from typing import Any, NoReturn, SupportsIndex


def _refuse(_self: object, *_args: object, **_options: object) -> NoReturn:
    """Refuse to change a served value."""
    raise TypeError("a served value cannot be changed; copy it first: list(value), dict(value)")


class FrozenDict(dict[str, Any]):
    """A JSON object as served. Copies of it are plain dicts, at every depth when made by `copy.deepcopy`."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, _memo: object) -> dict[str, Any]:
        plain: dict[str, Any] = thaw(self)
        return plain

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        return (freeze, (dict(self),))


class FrozenList(list[Any]):
    """A JSON array as served. Copies of it are plain lists, at every depth when made by `copy.deepcopy`."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, _memo: object) -> list[Any]:
        plain: list[Any] = thaw(self)
        return plain

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        return (freeze, (list(self),))


def freeze(value: Any) -> Any:
    """The value with every list and object in it made unchangeable. Scalars and secrets are returned as they are."""
    kind = type(value)
    if kind is dict:
        return FrozenDict({key: freeze(inner) for key, inner in value.items()})
    if kind is list or kind is tuple:
        return FrozenList([freeze(inner) for inner in value])
    return value


def thaw(value: Any) -> Any:
    """The plain, changeable form of a served value."""
    if isinstance(value, dict):
        return {key: thaw(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [thaw(inner) for inner in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three different values, at every depth."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(inner, other[key]) for key, inner in one.items())
        )
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(left, right) for left, right in zip(one, other, strict=True))
        )
    return type(one) is type(other) and bool(one == other)
