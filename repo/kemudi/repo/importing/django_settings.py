"""The settings of a Django project, read from their source text: nothing of the project runs.

What stands there as a constant is taken: literals, arithmetic on them, names given before, and the default in
`os.environ.get("KEY", default)` and its kin. Everything else is named as left, with the line.
"""

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from kemudi.repo.importing.found import Found, Gathered, Left
from kemudi.repo.importing.literals import NotConstantError, constant
from kemudi.repo.importing.naming import is_wanted
from kemudi.schema.documents import JSON
from kemudi.schema.errors import UsageError

STRUCTURE: Final = (
    "INSTALLED_APPS",
    "MIDDLEWARE",
    "TEMPLATES",
    "ROOT_URLCONF",
    "WSGI_APPLICATION",
    "ASGI_APPLICATION",
    "AUTH_PASSWORD_VALIDATORS",
    "AUTHENTICATION_BACKENDS",
    "AUTH_USER_MODEL",
    "DATABASE_ROUTERS",
    "DEFAULT_AUTO_FIELD",
    "LOGGING",
    "LOGGING_CONFIG",
    "BASE_DIR",
    "*_DIRS",
    "*_FINDERS",
    "*_ROOT",
    "CONSTANCE_*",
)
"""What is the shape of a program and not a setting; it stays in the code unless `only` names it."""

AT_START: Final = frozenset(
    {"SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "DATABASES", "CACHES", "TIME_ZONE", "LANGUAGE_CODE", "USE_TZ"}
)
"""What Django itself reads once, while it starts."""

_LARGEST: Final = 2 << 20
_DEEPEST: Final = 8


class SettingsSource:
    """The names that a settings module gives, with those of the modules that it takes everything from."""

    def __init__(self) -> None:
        # A type that stands as a value, as in constance's (5, "Rows on a page.", int), is its name.
        self.values: dict[str, Any] = {name: name for name in ("bool", "float", "int", "str", "dict", "list")}
        self.places: dict[str, str] = {}
        self.words: dict[str, str] = {}
        self.left: dict[str, str] = {}

    def read(self, path: Path, depth: int = 0) -> None:
        """Read one file. Raises UsageError."""
        if depth > _DEEPEST:
            raise UsageError(f"{path} takes its settings from itself")
        text = _text(path)
        try:
            tree = ast.parse(text, filename=path.name)
        except (SyntaxError, ValueError, RecursionError) as error:
            place = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
            raise UsageError(f"{path}{place} is not Python that can be read") from None
        comments = _comments(text)
        for statement in tree.body:
            self._statement(path, statement, comments, depth)

    def _statement(
        self, path: Path, statement: ast.stmt, comments: Mapping[int, tuple[bool, str]], depth: int
    ) -> None:
        if isinstance(statement, ast.ImportFrom) and any(name.name == "*" for name in statement.names):
            below = _module_file(path, statement)
            if below is not None:
                self.read(below, depth + 1)
            return
        if isinstance(statement, ast.Assign) or (isinstance(statement, ast.AnnAssign) and statement.value):
            for name in _targets(statement):
                self._assigned(path, statement, name, comments)
            return
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return  # what it gives is not at the top
        for name in _names_below(statement):
            self.values.pop(name, None)
            self.left[name] = f"{path.name}:{statement.lineno} gives it only under a condition, or in steps"

    def _assigned(
        self,
        path: Path,
        statement: ast.Assign | ast.AnnAssign,
        name: str,
        comments: Mapping[int, tuple[bool, str]],
    ) -> None:
        assert statement.value is not None  # noqa: S101  # the caller has looked
        self.left.pop(name, None)
        self.values.pop(name, None)
        try:
            self.values[name] = constant(statement.value, self.values)
        except NotConstantError as error:
            self.left[name] = f"{path.name}:{statement.lineno} is {error}; --execute asks Python for it"
            return
        self.places[name] = f"{path.name}:{statement.lineno}"
        words = _words(statement, comments)
        if words or name not in self.words:
            self.words[name] = words


def read_django_settings(path: Path, only: tuple[str, ...] = ()) -> Gathered:
    """The settings in a `settings.py`, or the `__init__.py` of a folder of settings.

    Args:
        path: The file or the folder.
        only: Patterns of names; without any, all but what is a program's shape.

    Raises UsageError when a file cannot be read.
    """
    file = path / "__init__.py" if path.is_dir() else path
    source = SettingsSource()
    source.read(file)
    settings, left = [], []
    for name, value in source.values.items():
        if not name.isupper() or not is_wanted(name, only, STRUCTURE):
            continue
        plain = _plain(value)
        if plain is None:
            left.append(Left(name, f"{source.places[name]} says no value"))
        else:
            settings.append(django_setting(name, plain, source.words[name], source.places[name]))
    left += [
        Left(name, why)
        for name, why in source.left.items()
        if name.isupper() and is_wanted(name, only, STRUCTURE)
    ]
    return Gathered(file.name, tuple(settings), left=tuple(left))


def django_setting(name: str, value: JSON, words: str, place: str) -> Found:
    """One setting of a Django project."""
    return Found(name, value, description=words, requires_restart=name in AT_START, place=place)


def _plain(value: Any) -> JSON:
    """A constant as JSON; None for what JSON cannot say."""
    if isinstance(value, tuple | list | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_plain(item) for item in items]
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    found: JSON = value if isinstance(value, bool | int | float | str) else None
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, SyntaxError, LookupError):
        raise UsageError(f"{path} is no text") from None
    if len(data) > _LARGEST:
        raise UsageError(f"{path} is larger than {_LARGEST >> 20} MiB")
    return text


def _comments(text: str) -> dict[int, tuple[bool, str]]:
    """By line: whether the comment stands alone, and its words."""
    found = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                alone = not token.line[: token.start[1]].strip()
                found[token.start[0]] = (alone, token.string.lstrip("#: ").strip())
    except (tokenize.TokenError, IndentationError):
        return {}
    return found


def _words(statement: ast.stmt, comments: Mapping[int, tuple[bool, str]]) -> str:
    """The comment beside a statement, else those right above it."""
    beside = comments.get(statement.end_lineno or statement.lineno)
    if beside is not None and not beside[0]:
        return "" if _is_for_a_tool(beside[1]) else beside[1]
    above: list[str] = []
    line = statement.lineno - 1
    while line in comments and comments[line][0]:
        above.insert(0, comments[line][1])
        line -= 1
    return " ".join(each for each in above if each.strip("-=# ") and not _is_for_a_tool(each))


def _is_for_a_tool(words: str) -> bool:
    return words.lower().startswith(("noqa", "type:", "pylint:", "nosec", "pragma", "isort:", "fmt:", "todo"))


def _targets(statement: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return (target.id for target in targets if isinstance(target, ast.Name))


def _names_below(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _targets(node)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _module_file(path: Path, statement: ast.ImportFrom) -> Path | None:
    """The file that `from .base import *` means, or `from project.settings.base import *` beside it."""
    parts = (statement.module or "").split(".")
    if statement.level:
        folders = [path.parents[min(statement.level, len(path.parents)) - 1]]
    else:
        folders = list(path.resolve().parents)[:_DEEPEST]
    for folder in folders:
        target = folder.joinpath(*filter(None, parts))
        for file in (target.with_suffix(".py"), target / "__init__.py"):
            if target.name and file.is_file():
                return file
    return None
