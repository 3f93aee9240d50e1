"""`kemudi import`: settings that live elsewhere become contracts, values and, where there is a log, commits."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from kemudi.cli.output import data_console, error_console, json_option, print_json, show_value, table
from kemudi.schema.errors import UsageError

if TYPE_CHECKING:
    from kemudi.cli.importing import ImportPlan
    from kemudi.repo.importing.found import Gathered

Command = TypeVar("Command", bound=Callable[..., Any])

_LONGEST_SHOWN: Final = 60
_DSN: Final = "KEMUDI_IMPORT_DSN"


def _common(command: Command) -> Command:
    """The options of every source: where to, what of it, and how."""
    options = (
        click.option(
            "--repo",
            envvar="KEMUDI_REPO",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("config-repo"),
            show_default=True,
            help="The config repo; a folder that is new or empty becomes one.  [KEMUDI_REPO]",
        ),
        click.option("--layer", "-l", default="base", show_default=True, help="Where the values go."),
        click.option("--category", help="One category for all that is new, instead of groups by name."),
        click.option(
            "--only", multiple=True, metavar="PATTERN", help="Only these keys, such as 'SYNC_*'. Repeatable."
        ),
        click.option(
            "--keys",
            type=click.Path(file_okay=False, path_type=Path),
            help="Make the daemon's keys in this folder and seal to them; add keys for new categories to those there.",
        ),
        click.option(
            "--recipient",
            "recipients",
            multiple=True,
            metavar="NAME=KEY",
            help="For a new config repo: a public age key to seal to, such as daemon=age1…. Repeatable.",
        ),
        click.option("--dry-run", is_flag=True, help="Show the plan and change nothing."),
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("import")
def import_command() -> None:
    """Bring settings from elsewhere into a config repo, as one commit or with the history of their changes.

    Types are inferred or taken from the source, descriptions are kept. A setting that is sensitive by the source, by
    its name or by the form of its value arrives sealed. A second run changes only what has changed.
    """


@import_command.command(
    "django-settings",
    epilog="""\b
Examples:
  kemudi import django-settings shop/settings.py --dry-run
  kemudi import django-settings shop.settings --execute --project . --keys keys""",
)
@click.argument("settings")
@click.option(
    "--execute", is_flag=True, help="Import the module in a child process; SETTINGS is then its dotted name."
)
@click.option(
    "--project",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(),
    show_default="this folder",
    help="With --execute: the folder of manage.py.",
)
@click.option(
    "--python", default="python3", show_default=True, help="With --execute: the project's own Python."
)
@_common
def import_django_settings(
    settings: str, execute: bool, project: Path, python: str, only: tuple[str, ...], **how: Any
) -> None:
    """Take the constants of SETTINGS, a settings.py or a folder of settings. Nothing of it is run without --execute.

    What is a program's shape (INSTALLED_APPS, MIDDLEWARE, …) stays in the code unless --only names it.
    """
    from kemudi.repo.importing.django_project import execute_django_settings
    from kemudi.repo.importing.django_settings import read_django_settings

    if execute:
        gathered = execute_django_settings(settings, project, python, only)
    else:
        gathered = read_django_settings(_existing(settings), only)
    _run(gathered, **how)


@import_command.command(
    "dotenv",
    epilog="""\b
Example:
  kemudi import dotenv .env --category shop --dry-run""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_common
def import_dotenv(file: Path, only: tuple[str, ...], **how: Any) -> None:
    """Take the lines of FILE, a .env file."""
    from kemudi.repo.importing.plain_sources import read_dotenv

    _run(read_dotenv(file, only), **how)


@import_command.command(
    "env",
    epilog="""\b
Example:
  kemudi import env --prefix SHOP_ --layer prod""",
)
@click.option("--prefix", default="", help="Variables that begin so, such as APP_.")
@_common
def import_env(prefix: str, only: tuple[str, ...], **how: Any) -> None:
    """Take variables of this process's environment; --prefix or --only says which."""
    from kemudi.repo.importing.plain_sources import read_environment

    _run(read_environment(os.environ, prefix, only), **how)


@import_command.command(
    "dynamic-config",
    epilog="""\b
Examples:
  kemudi import dynamic-config sqlite:///db.sqlite3 --dry-run
  KEMUDI_IMPORT_DSN="$(cat dsn)" kemudi import dynamic-config --table core_dynamicconfig --keys keys""",
)
@click.argument("dsn", required=False, envvar=_DSN)
@click.option("--table", help="The table of settings; found by its columns without it.")
@click.option("--log-table", help="The table of their changes; found by its columns without it.")
@click.option("--people-table", help="Whom the log means by a number.  [default: auth_user, if there is one]")
@_common
def import_dynamic_config(
    dsn: str | None,
    table: str | None,
    log_table: str | None,
    people_table: str | None,
    only: tuple[str, ...],
    **how: Any,
) -> None:
    """Take a table of settings from the database at DSN, and every row of its change log as a commit.

    DSN is an SQLAlchemy URL (sqlite:///db.sqlite3, postgresql://user@host/db). One with a password belongs in the
    variable KEMUDI_IMPORT_DSN and not in a command line.
    """
    from kemudi.repo.importing.database import open_tables
    from kemudi.repo.importing.dynamic_config import read_dynamic_config

    with open_tables(_address(dsn)) as tables:
        gathered = read_dynamic_config(tables, table, log_table, people_table, only)
    _run(gathered, **how)


@import_command.command(
    "constance",
    epilog="""\b
Example:
  kemudi import constance shop/settings.py --database sqlite:///db.sqlite3 --dry-run""",
)
@click.argument("settings", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--database", "dsn", envvar=_DSN, help=f"SQLAlchemy URL; without it the defaults are taken.  [{_DSN}]"
)
@_common
def import_constance(settings: Path, dsn: str | None, only: tuple[str, ...], **how: Any) -> None:
    """Take CONSTANCE_CONFIG from SETTINGS, and the values of its table from --database."""
    from kemudi.repo.importing.constance import read_constance
    from kemudi.repo.importing.database import open_tables

    if dsn is None:
        gathered = read_constance(settings, None, only)
    else:
        with open_tables(_address(dsn)) as tables:
            gathered = read_constance(settings, tables, only)
    _run(gathered, **how)


@import_command.command(
    "json",
    epilog="""\b
Example:
  kemudi import json values.json --category shop --dry-run""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_common
def import_json(file: Path, only: tuple[str, ...], **how: Any) -> None:
    """Take a JSON object of settings, such as `kemudi export --format json` writes."""
    from kemudi.repo.importing.plain_sources import read_mapping

    _run(read_mapping(file, "json", only), **how)


@import_command.command(
    "yaml",
    epilog="""\b
Example:
  kemudi import yaml values.yaml --layer prod --only 'SYNC_*'""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_common
def import_yaml(file: Path, only: tuple[str, ...], **how: Any) -> None:
    """Take a YAML mapping of settings, such as `kemudi export --format yaml` writes."""
    from kemudi.repo.importing.plain_sources import read_mapping

    _run(read_mapping(file, "yaml", only), **how)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        raise UsageError(f"{name} does not exist", hint="A dotted name needs --execute.")
    return path


def _address(dsn: str | None) -> str:
    """Where the database is. A password in a command line is everybody's to read."""
    if not dsn:
        raise UsageError("which database?", hint=f"Give its SQLAlchemy URL, or put it into {_DSN}.")
    source = click.get_current_context().get_parameter_source("dsn")
    if source is ParameterSource.COMMANDLINE and re.search(r"://[^/\s@]*:[^/\s@]*@", dsn):
        raise UsageError("the address holds a password, which others can see", hint=f"Put it into {_DSN}.")
    return dsn


def _run(
    gathered: "Gathered",
    repo: Path,
    layer: str,
    category: str | None,
    keys: Path | None,
    recipients: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    from kemudi.cli.importing import plan_import

    plan = plan_import(gathered, repo, layer, category, keys=keys, recipients=recipients)
    if not dry_run:
        plan.carry_out()
    if as_json:
        print_json(plan.as_json())
    else:
        _show(plan)


def _show(plan: "ImportPlan") -> None:
    console = data_console()
    draft = plan.draft
    marks = {"new": "+", "change": "~", "same": "=", "kept": "=", "unset": "-"}
    shown = [row for row in draft.rows if row.kind != "same"]
    if shown:
        console.print(
            table(
                ("", "key", "category", "type", "value", "from"),
                [(marks[row.kind], row.key, row.category, row.type, _value(row), row.place) for row in shown],
            )
        )
    for each in draft.left:
        console.print(f"left: {each.name}: {each.why}", markup=False, highlight=False, soft_wrap=True)
    console.print(plan.summary(), markup=False, highlight=False, soft_wrap=True)
    for line in plan.remarks():
        error_console().print(line, markup=False, highlight=False, soft_wrap=True)


def _value(row: Any) -> str:  # a Row
    if row.sensitive:
        return "*** stays as it is sealed" if row.kind == "kept" else "*** sealed"
    if row.value is None:
        return "(none: the default)"
    text = show_value(row.value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
