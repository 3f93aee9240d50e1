"""One seam over two JSON Schema 2020-12 libraries: `jsonschema-rs` decides, `jsonschema` is reference and fallback.

Both get an empty registry, so no `$ref` is ever fetched, and both match patterns in linear time: the first by its
engine, the second by `kemudi.schema.patterns`. `tests/contract/test_validators.py` holds them together.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, Protocol

from kemudi.schema.documents import JSON

Engine = Literal["fast", "reference"]
FAST_AVAILABLE: Final = importlib.util.find_spec("jsonschema_rs") is not None


class SchemaRefusedError(ValueError):
    """A schema that is not JSON Schema 2020-12. `path` leads to the keyword."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Violation:
    """One keyword that an instance does not satisfy.

    Attributes:
        keyword: `minimum`, `required`, …
        path: Where in the instance.
        schema_path: Where in the schema; the two engines spell it alike only for keywords without `$ref`.
    """

    keyword: str
    path: tuple[str | int, ...]
    schema_path: tuple[str | int, ...]


class Validator(Protocol):
    """A compiled schema. Instances are finite JSON values with text keys, as `documents` reads them."""

    def is_valid(self, instance: JSON) -> bool:
        """Whether every keyword is satisfied."""
        ...

    def violations(self, instance: JSON) -> tuple[Violation, ...]:
        """Every keyword that is not satisfied; `()` exactly if `is_valid`."""
        ...


def compile_schema(schema: Mapping[str, JSON], engine: Engine | None = None) -> Validator:
    """Compile once, validate often. Raises SchemaRefusedError.

    Without `engine` the fast one is used if it is installed.
    """
    if engine is None:
        engine = "fast" if FAST_AVAILABLE else "reference"
    return _Fast(schema) if engine == "fast" else _Reference(schema)


class _Fast:
    def __init__(self, schema: Mapping[str, JSON]) -> None:
        import jsonschema_rs

        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                dict(schema),
                pattern_options=jsonschema_rs.RegexOptions(),
                validate_formats=False,
                retriever=_refuse_to_fetch,
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            path = tuple(getattr(error, "instance_path", ()) or ())
            raise SchemaRefusedError(_first_line(error), path) from None
        self.is_valid = self._validator.is_valid

    def violations(self, instance: JSON) -> tuple[Violation, ...]:
        return tuple(
            Violation(_keyword(error), tuple(error.instance_path), tuple(error.schema_path))
            for error in self._validator.iter_errors(instance)
        )


class _Reference:
    def __init__(self, schema: Mapping[str, JSON]) -> None:
        import jsonschema.exceptions
        from referencing import Registry

        reference = _reference_class()
        try:
            reference.check_schema(dict(schema))
        except jsonschema.exceptions.SchemaError as error:
            raise SchemaRefusedError(_first_line(error), tuple(error.absolute_path)) from None
        self._validator = reference(dict(schema), registry=Registry())

    def is_valid(self, instance: JSON) -> bool:
        return not self._errors(instance, at_most=1)

    def violations(self, instance: JSON) -> tuple[Violation, ...]:
        found = []
        for error in self._errors(instance):
            schema_path = tuple(error.absolute_schema_path)
            keyword = (
                "propertyNames" if "propertyNames" in schema_path else error.validator or schema_path[-1]
            )
            found.append(Violation(str(keyword), tuple(error.absolute_path), schema_path))
        return tuple(found)

    def _errors(self, instance: JSON, at_most: int | None = None) -> list[Any]:
        from referencing.exceptions import Unresolvable

        try:
            return list(islice(self._validator.iter_errors(instance), at_most))
        except Unresolvable as error:
            raise SchemaRefusedError(
                f"{error.ref} is not part of this contract, and nothing is fetched"
            ) from None


def _keyword(error: Any) -> str:
    """jsonschema-rs reports some keywords under what they expand to; their place in the schema tells."""
    name = str(error.kind.name)
    last = error.schema_path[-1] if error.schema_path else None
    return last if isinstance(last, str) and (last in _EXPANDED or name == "falseSchema") else name


_EXPANDED: Final = frozenset({"dependentRequired"})


def _reference_class() -> Any:
    from jsonschema.validators import Draft202012Validator, extend

    from kemudi.schema import reference_keywords

    return extend(  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        Draft202012Validator,
        {
            "pattern": reference_keywords.pattern,
            "patternProperties": reference_keywords.pattern_properties,
            "multipleOf": reference_keywords.multiple_of,
        },
    )


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of this contract, and nothing is fetched")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", error)).partition("\n")[0]
