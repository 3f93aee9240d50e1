"""Options that several commands share: one spelling, one variable, one help text each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from kemudi.cli.completion import categories, environments

Command = TypeVar("Command", bound=Callable[..., Any])

DAEMON_PORT: Final = 8422
GRAPH_PORT: Final = 8421
DEFAULT_DAEMON_URL: Final = f"http://127.0.0.1:{DAEMON_PORT}"
DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"


def env_option(command: Command) -> Command:
    """One environment, required."""
    return click.option(
        "--env",
        "-e",
        envvar="KEMUDI_ENV",
        required=True,
        metavar="ENV",
        shell_complete=environments,
        help="Environment.  [KEMUDI_ENV]",
    )(command)


def any_env_option(command: Command) -> Command:
    """One environment, or all of them when none is named."""
    return click.option(
        "--env",
        "-e",
        envvar="KEMUDI_ENV",
        metavar="ENV",
        shell_complete=environments,
        help="Environment; all without it.  [KEMUDI_ENV]",
    )(command)


def category_option(command: Command) -> Command:
    """One category, or all of them when none is named."""
    return click.option(
        "--category", "-c", metavar="CATEGORY", shell_complete=categories, help="Only this category."
    )(command)


def repo_option(command: Command) -> Command:
    """The config repo: its folder or one above it."""
    return click.option(
        "--repo",
        envvar="KEMUDI_REPO",
        type=click.Path(path_type=Path),
        default=Path(),
        show_default="this folder",
        help="The config repo: the folder of kemudi.yaml, or one above it.  [KEMUDI_REPO]",
    )(command)


def daemon_url_option(command: Command) -> Command:
    """Where the daemon answers."""
    return click.option(
        "--daemon",
        "daemon_url",
        envvar="KEMUDI_DAEMON_URL",
        default=DEFAULT_DAEMON_URL,
        show_default=True,
        metavar="URL",
        help="Where the daemon answers.  [KEMUDI_DAEMON_URL]",
    )(command)


def redis_url_option(command: Command) -> Command:
    """The Redis that serves the values."""
    return click.option(
        "--redis",
        "redis_url",
        envvar="KEMUDI_REDIS_URL",
        metavar="URL",
        help=f"Redis or Valkey that serves the values.  [KEMUDI_REDIS_URL] [default: {DEFAULT_REDIS_URL}]",
    )(command)


def file_option(flag: str, variable: str, text: str) -> Callable[[Command], Command]:
    """A path given by flag or variable, such as a key file; its content is read by whoever uses it."""

    def decorate(command: Command) -> Command:
        return click.option(
            flag,
            envvar=variable,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"{text}  [{variable}]",
        )(command)

    return decorate


def mapping_option(command: Command) -> Command:
    """The names of the registry's tables and columns."""
    return click.option(
        "--mapping",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        envvar="KEMUDI_REGISTRY_MAPPING",
        metavar="FILE",
        help="YAML with the registry's own names of tables and columns.  [KEMUDI_REGISTRY_MAPPING]",
    )(command)
