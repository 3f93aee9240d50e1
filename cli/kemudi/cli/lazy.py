"""Groups of commands that are imported when they are called: `--help` and completion stay instant."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar

import click

AnyCommand = TypeVar("AnyCommand", bound=click.Command)

Table = Mapping[str, tuple[str, str]]
"""Name to module and one line of help. The line stands in the table so that help imports no command."""


def with_no_color(command: AnyCommand) -> AnyCommand:
    """Give a command, or every command of a group, the option that all of them have."""
    if isinstance(command, click.Group) and not isinstance(command, LazyGroup):  # that one does it itself
        for inner in command.commands.values():
            with_no_color(inner)
    if all(each.name != "no_color" for each in command.params):
        command.params.append(
            click.Option(
                ["--no-color"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_no_color,
                help="No colour, as with NO_COLOR=1 or where the output is no terminal.",
            )
        )
    return command


def _no_color(_ctx: click.Context, _param: click.Parameter, given: bool) -> None:
    if given:
        # The one place where all that draws looks, an error after the command's end among it.
        os.environ["NO_COLOR"] = "1"


class LazyGroup(click.Group):
    """A group whose commands stand in a table; `some-name` is `some_name_command` of its module.

    Args:
        table: The commands, in the order in which a newcomer meets them.
        package: Where the modules are.
        more: As for `click.Group`.
    """

    def __init__(self, *, table: Table, package: str, **more: Any) -> None:  # click's own parameters
        super().__init__(**more)
        self._table = table
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of one command."""
        entry = self._table.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"{self._package}.{entry[0]}")
        command = getattr(module, cmd_name.replace("-", "_") + "_command")
        assert isinstance(command, click.Command)  # noqa: S101  # a wrong table is a bug, found by any test
        return with_no_color(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table as it stands, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when one is mistyped."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._table, n=1)
            if near:
                raise click.UsageError(
                    f"no such command {args[0]!r}. Did you mean {near[0]!r}?", ctx
                ) from error
            raise
