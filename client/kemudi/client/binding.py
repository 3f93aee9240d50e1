"""Pydantic models that are live: always what is served now, checked as a whole, read at the cost of an attribute.

A bound model is an instance of a read-only subclass of the model. Its fields lie in its `__dict__`, and a swap
replaces that dict by the one of a newly validated instance: one assignment, so a reader finds every field of the old
snapshot or every field of the new one, and an attribute costs what it costs on any model.
"""

import weakref
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from pydantic import AliasChoices, AliasPath, BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from kemudi.client.errors import BindingRefusedError
from kemudi.client.frozen import thaw
from kemudi.client.snapshot import Sealed, same_entry
from kemudi.client.view import Served, plaintexts
from kemudi.schema.masking import described, masked
from kemudi.schema.secret import Secret

ModelT = TypeVar("ModelT", bound=BaseModel)

_STATE: Final = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
_MASKED: Final = (Secret, SecretStr, SecretBytes)


class Binding:
    """One bound model. Holds it weakly: a model that nobody uses is forgotten.

    Args:
        model: The pydantic model, whose fields are named, or aliased, like settings.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self._live = _live_class(model)
        self._names = {field: tuple(_names(field, info)) for field, info in model.model_fields.items()}
        self._bound: weakref.ref[BaseModel] | None = None

    @property
    def alive(self) -> bool:
        """Whether somebody still holds the bound model."""
        return self._bound is not None and self._bound() is not None

    def bind(self, served: Served) -> BaseModel:
        """The bound model, at first. Raises BindingRefusedError, SecretUnreadableError."""
        bound = self.fitted(served)
        self._bound = weakref.ref(bound)
        return bound

    def fitted(self, served: Served) -> BaseModel:
        """A validated instance for a snapshot. Raises BindingRefusedError, SecretUnreadableError."""
        keys = self.keys(served)
        values = {key: _plain(key, served) for key in keys.values()}
        problem = None
        try:
            instance = self._live.model_validate(values)
        except ValidationError as error:
            problem = "; ".join(_problems(error))
        except Exception as error:  # noqa: BLE001 - a model's own validators may raise anything
            problem = described(error)
        if problem is not None:
            name = self._model.__name__
            raise BindingRefusedError(masked(f"{name} does not fit: {problem}", plaintexts(served)))
        self._require_masked(instance, [field for field, key in keys.items() if _is_secret(key, served)])
        served.seen.update(keys.values())
        return instance

    def _require_masked(self, instance: BaseModel, fields: list[str]) -> None:
        """A secret in memory is masked, so its field is of a type that masks."""
        for field in fields:
            if not isinstance(instance.__dict__[field], (*_MASKED, type(None))):
                raise BindingRefusedError(
                    f"{self._model.__name__}.{field} holds a secret: declare it as Secret[…] or SecretStr"
                )

    def keys(self, served: Served) -> dict[str, str]:
        """The setting that each field takes its value from; fields without one keep the model's default."""
        found = {}
        for field, names in self._names.items():
            for name in names:
                if served.entry(name) is not None:
                    found[field] = name
                    break
        return found

    def is_touched(self, old: Served, new: Served) -> bool:
        """Whether a field may take another value."""
        keys = self.keys(new)
        return keys != self.keys(old) or not all(
            same_entry(old.entry(key), new.entry(key)) for key in keys.values()
        )

    def adopt(self, fresh: BaseModel) -> None:
        """Let the bound model be what `fresh` is."""
        bound = self._bound() if self._bound is not None else None
        if bound is not None:
            for name in reversed(_STATE):  # the fields last: what belongs to them is there before
                object.__setattr__(bound, name, getattr(fresh, name))


class Bindings:
    """The bound models of one client. The caller holds the client's lock."""

    def __init__(self) -> None:
        self._bindings: list[Binding] = []

    def add(self, model: type[ModelT], served: Served) -> ModelT:
        """Bind a model. Raises BindingRefusedError, SecretUnreadableError."""
        binding = Binding(model)
        bound: Any = binding.bind(served)
        self._bindings = [other for other in self._bindings if other.alive]
        self._bindings.append(binding)
        return bound  # type: ignore[no-any-return] # the live class is made at run time

    def fitted(self, old: Served, new: Served) -> list[tuple[Binding, BaseModel]]:
        """New states of the models that a swap touches. Raises BindingRefusedError, SecretUnreadableError."""
        touched = [binding for binding in self._bindings if binding.alive and binding.is_touched(old, new)]
        return [(binding, binding.fitted(new)) for binding in touched]

    def refitted(self, served: Served) -> list[tuple[Binding, BaseModel]]:
        """States of all models. Raises BindingRefusedError, SecretUnreadableError."""
        return [(binding, binding.fitted(served)) for binding in self._bindings if binding.alive]


def fixed(model: type[ModelT], served: Served) -> ModelT:
    """The model at one snapshot, read-only and unchanging. Raises BindingRefusedError, SecretUnreadableError."""
    instance: Any = Binding(model).fitted(served)
    return instance  # type: ignore[no-any-return] # the live class is made at run time


def _live_class(model: type[BaseModel]) -> type[BaseModel]:
    """The read-only subclass. It is equal to, printed and pickled like an instance of the model itself."""

    def equals(self: BaseModel, other: object) -> bool:
        return isinstance(other, model) and self.__dict__ == other.__dict__

    def reduced(self: BaseModel, _protocol: object) -> tuple[Any, ...]:
        return (_restored, (model, dict(self.__dict__), set(self.model_fields_set)))

    body = {
        "__module__": model.__module__,
        "__qualname__": model.__qualname__,
        "__doc__": model.__doc__,
        "__eq__": equals,
        "__hash__": object.__hash__,
        "__reduce_ex__": reduced,
    }
    metaclass: Any = type(model)
    live: type[BaseModel] = metaclass(model.__name__, (model,), body, frozen=True)
    return live


def _restored(model: type[BaseModel], values: dict[str, Any], fields_set: set[str]) -> BaseModel:
    return model.model_construct(_fields_set=fields_set, **values)


def _names(field: str, info: FieldInfo) -> Iterator[str]:
    """The setting names that a field answers to, the most specific first."""
    alias = info.validation_alias or info.alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    for choice in choices:
        if isinstance(choice, AliasPath):
            yield str(choice.path[0])
        elif choice is not None:
            yield choice
    yield field


def _is_secret(key: str, served: Served) -> bool:
    entry = served.entry(key)
    return entry is not None and type(entry.value) in (Sealed, Secret)


def _plain(key: str, served: Served) -> Any:
    """The value for validation: plain and the model's own, a secret revealed."""
    entry = served.entry(key)
    value = None if entry is None else served.opened(key, entry)
    return thaw(value.reveal() if isinstance(value, Secret) else value)


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in problem["loc"])
        yield f"{place}: {problem['msg']}" if place else problem["msg"]
