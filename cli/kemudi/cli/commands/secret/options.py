"""Options that several secret commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from kemudi.cli.completion import layers
from kemudi.cli.options import file_option
from kemudi.schema.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

identity_option = file_option("--identity", "KEMUDI_IDENTITY", "Your age identity, or an SSH private key.")


def layer_option(text: str, *, required: bool = True) -> Callable[[Command], Command]:
    """Which layer."""

    def decorate(command: Command) -> Command:
        return click.option(
            "--layer", "-l", required=required, metavar="LAYER", shell_complete=layers, help=text
        )(command)

    return decorate


def identities_of(path: Path | None) -> tuple[str, ...]:
    """The identities of a file; none when no file is named."""
    from kemudi.repo.secrets import load_identities

    return load_identities(path) if path is not None else ()


def needed_identities(path: Path | None) -> tuple[str, ...]:
    """The identities of a file that has to be named. Raises UsageError."""
    if path is None:
        raise UsageError(
            "an identity is needed to open sealed values",
            hint="Name its file: --identity FILE or KEMUDI_IDENTITY. Make one: kemudi secret keygen --identity FILE",
        )
    return identities_of(path)
