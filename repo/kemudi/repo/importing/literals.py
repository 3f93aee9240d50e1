"""The value of an expression that can be known without running anything."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from kemudi.repo.importing.typing_values import read_text
from kemudi.schema.errors import KemudiError

_LONGEST: Final = 100_000
_LARGEST_POWER: Final = 64
_OPERATIONS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_NUMBERS: Final = (int, float)
_FROM_ENVIRONMENT: Final = frozenset(
    {"os.environ.get", "environ.get", "os.getenv", "getenv", "config", "env"}
    | {f"env.{kind}" for kind in ("str", "int", "float", "bool", "list", "json", "url")}
)
# Containers of a constant, and the marks of texts that are to be translated.
_TRANSPARENT: Final = frozenset(
    {"list", "tuple", "set", "frozenset", "_", "gettext", "gettext_lazy", "gettext_noop"}
)
_CASTS: Final = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}


class NotConstantError(KemudiError):
    """What an expression is instead of a constant."""


def constant(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an expression; `names` are the constants given before it. Raises NotConstantError."""
    reader = _READERS.get(type(node))
    if reader is None:
        raise NotConstantError("no constant")
    return reader(node, names)


def dotted(node: ast.expr) -> str:
    """`os.environ.get` for that expression, `""` for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def _literal(node: Any, _names: Mapping[str, Any]) -> Any:
    return node.value


def _name(node: Any, names: Mapping[str, Any]) -> Any:
    if node.id not in names:
        raise NotConstantError(f"built from {node.id}")
    return names[node.id]


def _items(node: Any, names: Mapping[str, Any]) -> Any:
    return [constant(item, names) for item in node.elts]


def _mapping(node: Any, names: Mapping[str, Any]) -> Any:
    if any(key is None for key in node.keys):
        raise NotConstantError("built from another mapping")
    return {
        constant(key, names): constant(value, names)
        for key, value in zip(node.keys, node.values, strict=True)
    }


def _unary(node: Any, names: Mapping[str, Any]) -> Any:
    value = constant(node.operand, names)
    if isinstance(node.op, ast.USub) and isinstance(value, _NUMBERS):
        return -value
    if isinstance(node.op, ast.Not):
        return not value
    raise NotConstantError("no constant")


def _binary(node: Any, names: Mapping[str, Any]) -> Any:
    left, right = constant(node.left, names), constant(node.right, names)
    operation = _OPERATIONS.get(type(node.op))
    numbers = isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)
    joined = isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, str | list)
    # Powers and products of texts are where a short line becomes a large value.
    small = not isinstance(node.op, ast.Pow) or (numbers and abs(right) <= _LARGEST_POWER)
    if operation is None or not (numbers or joined) or not small:
        raise NotConstantError("no constant")
    try:
        value = operation(left, right)
    except (ArithmeticError, ValueError):
        raise NotConstantError("arithmetic that fails") from None
    if isinstance(value, str | list) and len(value) > _LONGEST:
        raise NotConstantError("too long")
    return value


def _call(node: Any, names: Mapping[str, Any]) -> Any:
    """The default of `os.environ.get("KEY", default)` and its kin, or `int(...)` and `bool(...)` of a constant."""
    called = dotted(node.func)
    if called in _FROM_ENVIRONMENT:
        return _default(node, names)
    if called in _CASTS and len(node.args) == 1 and not node.keywords:
        return _cast(constant(node.args[0], names), called)
    if called in _TRANSPARENT and len(node.args) == 1:
        return constant(node.args[0], names)
    raise NotConstantError(f"what {called or 'a call'}(…) returns")


def _default(node: Any, names: Mapping[str, Any]) -> Any:
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    if len(node.args) > 1:
        value = constant(node.args[1], names)
    elif "default" in named:
        value = constant(named["default"], names)
    else:
        raise NotConstantError("read from the environment, with no default")
    cast = dotted(named["cast"]) if "cast" in named else ""
    return _cast(value, cast) if cast in _CASTS else value


def _cast(value: Any, kind: str) -> Any:
    try:
        return read_text(value, _CASTS[kind]) if isinstance(value, str) else _TYPES[kind](value)
    except (ValueError, TypeError, OverflowError):
        raise NotConstantError(f"no {_CASTS[kind]}") from None


_TYPES: Final[dict[str, Callable[[Any], Any]]] = {"int": int, "float": float, "bool": bool, "str": str}
_READERS: Final[dict[type[ast.expr], Callable[[Any, Mapping[str, Any]], Any]]] = {
    ast.Constant: _literal,
    ast.Name: _name,
    ast.List: _items,
    ast.Tuple: _items,
    ast.Set: _items,
    ast.Dict: _mapping,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Call: _call,
}
