"""The reference page of the commands, written from the commands themselves."""

import inspect
from collections.abc import Iterator
from typing import Final

import click

from kemudi.cli.main import cli

_EVERYWHERE: Final = {"--help", "--no-color", "--output"}
"""Options that all commands have: the head of the page names them, for all at once."""

_HEADER: Final = """\
# Commands

Written by `scripts/docs` from the commands themselves. Results go to stdout, talk to stderr; `--json` is stable, and
`--output json` and `--output yaml` print the same. `--no-color`, `NO_COLOR`, `TERM=dumb` and a pipe give plain text.
Exit codes: 0 fine, 1 findings or differences, 2 usage, 3 store or git unreachable, 4 stale or conflicting, 5 refused by
policy, 70 internal error.
"""


def commands_page() -> str:
    """The whole page as Markdown."""
    context = click.Context(cli, info_name="kemudi")
    sections = [_HEADER]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            sections += _sections(command, f"kemudi {name}")
    return "\n".join(sections)


def _sections(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    text = inspect.cleandoc(command.help or "")
    parts = [f"## {path}\n", f"`{path} {usage}`\n", f"{text}\n"]
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    options = [each for each in options if not _EVERYWHERE & set(each.opts)]
    rows = [record for option in options if (record := option.get_help_record(context))]
    if rows:
        parts.append("| option | meaning |\n|---|---|")
        parts.append(
            "\n".join(f"| `{_cell(name)}` | {_cell(description)} |" for name, description in rows) + "\n"
        )
    if command.epilog:
        parts.append(f"{_epilog(command.epilog)}\n")
    yield "\n".join(parts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _sections(inner, f"{path} {name}")


def _epilog(text: str) -> str:
    """The text below the options, its examples as a block."""
    said, heading, examples = inspect.cleandoc(text).replace("\b\n", "").partition("Example")
    if not heading:
        return said
    heading_rest, _, lines = examples.partition("\n")
    block = inspect.cleandoc(f"\n{lines}")
    return f"{said}{heading}{heading_rest}\n\n```console\n{block}\n```"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
