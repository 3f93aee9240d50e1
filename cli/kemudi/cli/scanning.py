"""What Python code reads by name, and what it has written in that could be a setting. The code is parsed, never run."""

import ast
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from kemudi.repo.importing.literals import dotted
from kemudi.schema.errors import UsageError

Kind = Literal["read", "environment", "constant", "argument", "address"]
"""`config["KEY"]`; `os.environ["KEY"]`; `KEY = 30` of a module or class; `f(timeout=30)`; text that is a URL."""

IGNORE: Final = "kemudi: ignore"

_KEY: Final = re.compile(r"[A-Z][A-Z0-9_]{2,127}", re.ASCII)
_NAMES: Final = frozenset({"config", "kemudi_config"})
_MAKERS: Final = frozenset({"connect", "InMemoryClient", "pin"})
_TYPES: Final = frozenset({"Client", "InMemoryClient", "View"})
_READERS: Final = frozenset({"get", "prepare", "subscribe", "changes"})
_TUNED: Final = re.compile(
    r"(?:^|_)(?:TIMEOUT|LIMIT|MAX|MIN|RETRIES|RETRY|ATTEMPTS|INTERVAL|TTL|BATCH|THRESHOLD|POOL|WORKERS|RATE|DELAY|"
    r"BACKOFF|PORT|HOST|URL|URI|ENDPOINT|ENABLED|PAGE_SIZE|BATCH_SIZE|POOL_SIZE|CACHE_SIZE)(?:_|$)"
)
_ARGUMENTS: Final = frozenset(
    [
        "timeout",
        "timeout_seconds",
        "connect_timeout",
        "read_timeout",
        "max_retries",
        "retries",
        "retry_attempts",
        "ttl",
        "max_age",
        "batch_size",
        "chunk_size",
        "page_size",
        "pool_size",
        "max_connections",
        "max_workers",
        "interval",
        "rate_limit",
        "backoff",
    ]
)
_ADDRESS: Final = re.compile(
    r"(?:https?|wss?|redis|rediss|postgres(?:ql)?|mysql|amqps?|mongodb|bolt|neo4j(?:\+s)?|kafka|smtp)://[^\s/{}<>%]+\S*"
)
# Names of things and not addresses, and hosts that are there for examples.
_NO_ADDRESS: Final = re.compile(
    r"://(?:www\.w3\.org|json-schema\.org|schemas?\.|xmlns\.|[^/]*\bexample\.(?:org|com|net)|localhost|127\.0\.0\.1|\[::1\])"
)
_PROCESS: Final = re.compile(
    r"PATH|HOME|USER|SHELL|LANG|LC_.*|TZ|TERM|TMPDIR|TEMP|TMP|PWD|EDITOR|PAGER|NO_COLOR|COLUMNS|CI|HOSTNAME|"
    r"DISPLAY|XDG_.*|PYTHON.*|VIRTUAL_ENV|PYTEST.*|DJANGO_SETTINGS_MODULE|KEMUDI_.*|GIT_.*|SSH_.*|SUDO_.*|"
    r"LISTEN_.*|NOTIFY_SOCKET|WATCHDOG_.*|STATE_DIRECTORY|CACHE_DIRECTORY|CREDENTIALS_DIRECTORY|INVOCATION_ID|"
    r"OTEL_.*|SYSTEMROOT|APPDATA|LOCALAPPDATA|PROGRAMFILES"
)
_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "migrations", "build", "dist"})
_LARGEST: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Spot:
    """One place in code. `name` is the key, or what a key could be called."""

    file: str
    line: int
    column: int
    kind: Kind
    name: str
    text: str = ""

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "kind": self.kind,
            "name": self.name,
            "text": self.text,
        }


@dataclass
class Scanned:
    """What was found in some files.

    Attributes:
        files: How many were read.
        reads: Reads by name, of a client or of the environment.
        candidates: What is written in and could be a setting.
        mentioned: Every key-like text and attribute: what a search for a name would find.
        unreadable: Files that are no Python, with the reason.
    """

    files: int = 0
    reads: list[Spot] = field(default_factory=list)
    candidates: list[Spot] = field(default_factory=list)
    mentioned: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)


def scan(paths: Iterable[Path], *, tests: bool = False) -> Scanned:
    """Read every Python file below some paths. Raises UsageError for a path that is not there.

    Args:
        paths: Files and folders.
        tests: Whether files of tests are read, too; their numbers are examples more often than settings.
    """
    found = Scanned()
    for root in paths:
        if not root.exists():
            raise UsageError(f"{root} does not exist")
        for path in sorted(_python_files(root, tests=tests)):
            _scan_file(path, found)
    found.reads.sort(key=_place)
    found.candidates.sort(key=_place)
    return found


def _place(spot: Spot) -> tuple[str, int, int]:
    return spot.file, spot.line, spot.column


def is_process_variable(name: str) -> bool:
    """Whether a variable belongs to the process and not to an application: `PATH`, `LANG`, `KEMUDI_ENV`."""
    return _PROCESS.fullmatch(name) is not None


def _python_files(root: Path, *, tests: bool) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, below, names in os.walk(root):
        below[:] = [
            name
            for name in below
            if not name.startswith(".") and name not in _SKIPPED and (tests or name not in ("tests", "test"))
        ]
        # A virtual environment is somebody else's code.
        if "pyvenv.cfg" in names:
            below.clear()
            continue
        for name in names:
            if name.endswith(".py") and (tests or not _is_test(name)):
                yield Path(folder, name)


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name in ("conftest.py", "tests.py")


def _scan_file(path: Path, found: Scanned) -> None:
    try:
        data = path.read_bytes()[:_LARGEST]
        tree = ast.parse(data, filename=str(path))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        found.unreadable.append(f"{path}: {type(error).__name__}")
        return
    found.files += 1
    ignored = {
        number
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1)
        if IGNORE in line
    }
    _Visitor(str(path), tree, ignored, found).visit(tree)


class _Visitor(ast.NodeVisitor):
    """One walk over a module."""

    def __init__(self, file: str, tree: ast.Module, ignored: set[int], found: Scanned) -> None:
        self._file = file
        self._ignored = ignored
        self._found = found
        self._clients = _clients(tree)
        self._classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        self._no_values = _texts_that_are_no_values(tree)
        self._depth = 0

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = _text(node.slice)
        if name is not None and self._is_client(node.value):
            self._read(node.slice, "read", name)
        elif name is not None and dotted(node.value) in ("os.environ", "environ"):
            self._read(node.slice, "environment", name)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = dotted(node.func)
        first = _text(node.args[0]) if node.args else None
        if isinstance(node.func, ast.Attribute) and self._is_client(node.func.value):
            if node.func.attr in _READERS and first is not None:
                self._read(node.args[0], "read", first)
            elif node.func.attr == "bind" and node.args and isinstance(node.args[0], ast.Name):
                self._bound(node.args[0].id)
        elif called in ("os.getenv", "getenv", "os.environ.get", "environ.get") and first is not None:
            self._read(node.args[0], "environment", first)
        for keyword in node.keywords:
            if keyword.arg in _ARGUMENTS and _is_tuned_number(keyword.value):
                self._candidate(keyword.value, "argument", keyword.arg.upper(), ast.unparse(keyword.value))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._assigned(node.targets, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assigned([node.target], node.value)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._mention(node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._mention(node.id)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str) or id(node) in self._no_values:
            return
        self._mention(node.value)
        if _ADDRESS.fullmatch(node.value) and not _NO_ADDRESS.search(node.value):
            scheme = node.value.partition(":")[0].upper().replace("+", "_")
            self._candidate(node, "address", f"{scheme}_URL", _without_password(node.value))

    def _inside(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def _assigned(self, targets: list[ast.expr], value: ast.expr) -> None:
        for target in targets:
            if self._depth or not isinstance(target, ast.Name) or not _KEY.fullmatch(target.id.lstrip("_")):
                continue
            name = target.id.lstrip("_")
            if _TUNED.search(name) and (_is_tuned_number(value) or _is_switch(name, value)):
                self._candidate(target, "constant", name, ast.unparse(value))

    def _bound(self, name: str) -> None:
        model = self._classes.get(name)
        for statement in model.body if model is not None else ():
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                self._read(statement.target, "read", statement.target.id)

    def _is_client(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            return node.attr.lstrip("_") in self._clients
        return isinstance(node, ast.Name) and node.id in self._clients

    def _read(self, node: ast.expr, kind: Kind, name: str) -> None:
        self._mention(name)
        if _KEY.fullmatch(name) and node.lineno not in self._ignored:
            self._found.reads.append(self._spot(node, kind, name, ""))

    def _candidate(self, node: ast.expr, kind: Kind, name: str, text: str) -> None:
        if node.lineno not in self._ignored:
            self._found.candidates.append(self._spot(node, kind, name, text))

    def _spot(self, node: ast.expr, kind: Kind, name: str, text: str) -> Spot:
        return Spot(self._file, node.lineno, node.col_offset + 1, kind, name, text)

    def _mention(self, name: str) -> None:
        if _KEY.fullmatch(name):
            self._found.mentioned.add(name)


def _clients(tree: ast.Module) -> frozenset[str]:
    """The names that hold a client of Kemudi: made by `connect`, typed as one, or called `config` and nothing else."""
    made: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        for name, value in _bindings(node):
            (made if _makes_client(value) else others).add(name)
        if isinstance(node, ast.arg) and node.annotation is not None:
            kind = ast.unparse(node.annotation).strip("'\"").rpartition(".")[2]
            (made if kind in _TYPES else others).add(node.arg)
    return frozenset(made | (_NAMES - others))


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            name = _last(target)
            if name:
                yield name, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        yield _last(node.target), node.value
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield _last(node.optional_vars), node.context_expr
    elif isinstance(node, ast.For | ast.comprehension):
        yield _last(node.target), node.iter


def _makes_client(value: ast.expr) -> bool:
    value = value.value if isinstance(value, ast.Await) else value
    if isinstance(value, ast.Name):
        return value.id.lstrip("_") in _NAMES  # handed on: `self._config = config`
    return isinstance(value, ast.Call) and dotted(value.func).rpartition(".")[2] in _MAKERS


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr.lstrip("_")
    return node.id if isinstance(node, ast.Name) else ""


def _texts_that_are_no_values(tree: ast.Module) -> frozenset[int]:
    """Docstrings, and the parts of f-strings: neither is a value by itself."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            found.update(id(part) for part in node.values)
    return frozenset(found)


def _is_tuned_number(node: ast.expr) -> bool:
    """A number that somebody chose: not 0, 1 or -1, which are what code needs to be written at all."""
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    return _is_number(node) and isinstance(node, ast.Constant) and node.value not in (0, 1)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_switch(name: str, node: ast.expr) -> bool:
    return name.endswith("_ENABLED") and isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _without_password(text: str) -> str:
    return re.sub(r"(?<=://)[^/\s]*@", "***@", text)
