"""Keywords of the reference validator whose stock implementation is slow on evil input or inexact.

`pattern` and `patternProperties` match in linear time, and `multipleOf` counts in exact decimals.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from jsonschema.exceptions import ValidationError

from kemudi.schema.patterns import compile_pattern


def pattern(_validator: Any, expression: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """The keyword `pattern`."""
    if isinstance(instance, str) and not compile_pattern(expression).search(instance):
        yield ValidationError(f"does not match {expression}")


def pattern_properties(
    validator: Any, expressions: dict[str, Any], instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """The keyword `patternProperties`."""
    if not isinstance(instance, dict):
        return
    for expression, subschema in expressions.items():
        compiled = compile_pattern(expression)
        for name, value in instance.items():
            if compiled.search(name):
                yield from validator.descend(value, subschema, path=name, schema_path=expression)


def multiple_of(_validator: Any, step: float, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """The keyword `multipleOf`, of numbers as they are written: 0.3 is a multiple of 0.1."""
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if Fraction(repr(instance)) % Fraction(repr(step)):
        yield ValidationError(f"is not a multiple of {step}")
