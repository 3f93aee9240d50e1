"""How results are shown: data on stdout, talk on stderr, JSON on request. No command prints by itself."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import click
import orjson

from kemudi.schema.findings import Finding

if TYPE_CHECKING:
    # Imported when something is drawn: it takes as long as all of `kemudi validate --base`.
    from rich.console import Console
    from rich.table import Table

Command = TypeVar("Command", bound=Callable[..., Any])

_OUTPUT: Final = "kemudi.output"

# Columns for a reader that is a program: rows are never folded.
_PIPE_WIDTH: Final = 1000


def data_console() -> "Console":
    """Where results go. rich honours TERM=dumb and a stdout that is no terminal."""
    return _console(sys.stdout, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def error_console() -> "Console":
    """Where talk goes: progress, hints, errors."""
    return _console(sys.stderr, soft_wrap=True)


def is_plain() -> bool:
    """Whether the user wants no colour: `NO_COLOR` with any content, which is what `--no-color` sets."""
    return bool(os.environ.get("NO_COLOR"))


def _console(file: TextIO, **more: Any) -> "Console":
    from rich.console import Console

    # rich's own answer to NO_COLOR leaves bold and dim, which are escape sequences all the same.
    return Console(file=file, color_system=None if is_plain() else "auto", **more)


def json_option(command: Command) -> Command:
    """`--json`, and `--output` which says the same in more words; the same on every command."""

    def wanted(ctx: click.Context, _param: click.Parameter, given: bool) -> bool:
        return given or ctx.meta.get(_OUTPUT, "table") != "table"

    def remember(ctx: click.Context, _param: click.Parameter, form: str) -> None:
        ctx.meta[_OUTPUT] = form

    as_json = click.option(
        "--json", "as_json", is_flag=True, callback=wanted, help="Print the result as JSON on stdout."
    )
    output = click.option(
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        # Known before `--json` is asked for, wherever it stands in the line.
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="For people, or the result of --json, as JSON or as YAML.",
    )
    return as_json(output(command))


def print_json(value: object) -> None:
    """One JSON document and a newline; indented for a reader, compact for a pipe. YAML with `--output yaml`."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_OUTPUT) == "yaml":
        # Through JSON first: what that has no form for, such as a date, is written here as it is there.
        print_plain("".join(_as_yaml(orjson.loads(orjson.dumps(value)))))
        return
    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.buffer.write(orjson.dumps(value, option=option | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _as_yaml(value: Any, indent: str = "") -> Iterator[str]:
    """JSON in block style, a line at a time."""
    from kemudi.repo.edits import render

    nested: Iterator[tuple[str, Any]]
    if isinstance(value, dict) and value:
        nested = ((f"{render(name)}:", item) for name, item in value.items())
    elif isinstance(value, list) and value:
        nested = (("-", item) for item in value)
    else:
        yield f"{indent}{render(value)}\n"
        return
    for head, item in nested:
        if isinstance(item, dict | list) and item:
            first, *rest = _as_yaml(item, f"{indent}  ")
            # A list's item begins beside its dash; what a name holds begins below it.
            yield f"{indent}- {first.lstrip()}" if head == "-" else f"{indent}{head}\n{first}"
            yield from rest
        else:
            yield f"{indent}{head} {render(item)}\n"


def print_plain(text: str) -> None:
    """Text as it is, in UTF-8 whatever the locale says: reports hold characters that ASCII has not."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def print_findings(console: "Console", findings: Iterable[Finding]) -> None:
    """One line a finding, and its hint; for errors that carry findings but no source text."""
    from rich.text import Text

    for finding in findings:
        place = f"{finding.file}:{finding.line}:{finding.column}:"
        line = Text.assemble((place, "bold"), " ", (finding.rule, "red"), " ", finding.message)
        console.print(line, soft_wrap=True)
        if finding.hint:
            console.print(Text(f"    {finding.hint}", style="dim"), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    """A plain table. Cells are text, never markup: values come from files."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return drawn


def show_value(value: object) -> str:
    """A setting's value as the author would write it: strings bare, the rest as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def short(revision: str | None) -> str:
    """A revision for a person: 9 characters of a SHA, a work-tree revision whole, a dash for none."""
    if not revision:
        return "-"
    return revision if revision.startswith("worktree@") else revision[:9]


def age(moment: str | None) -> str:
    """How long ago an RFC 3339 time was, in one unit."""
    if not moment:
        return "-"
    then = datetime.fromisoformat(moment)
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def fields(console: "Console", values: Mapping[str, object]) -> None:
    """Name and value, one pair a line, aligned."""
    from rich.text import Text

    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        text = value if isinstance(value, Text) else Text(str(value))
        console.print(Text.assemble((f"{name:<{width}}  ", "dim"), text), soft_wrap=True)
