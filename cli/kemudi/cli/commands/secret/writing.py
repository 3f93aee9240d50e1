"""`kemudi secret set`: one value sealed into its line."""

import sys
from pathlib import Path
from typing import TextIO

import click

from kemudi.cli.commands.secret.options import identities_of, identity_option, layer_option
from kemudi.cli.completion import sensitive_settings
from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, json_option, print_json
from kemudi.schema.errors import UsageError


@click.command(
    "set",
    epilog="""\b
Examples:
  kemudi secret set NEO4J_PASSWORD --layer prod
  kemudi secret set NEO4J_PASSWORD --layer prod --from-file - < password""",
)
@click.argument("key", shell_complete=sensitive_settings)
@layer_option("Where the value stands: base, or an environment's overlay.")
@click.option(
    "--from-file",
    type=click.File("r", encoding="utf-8"),
    help="Read the value from a file; `-` is stdin. Without it you are asked, and nothing is shown.",
)
@identity_option
@repo_option
@json_option
def set_command(
    key: str, layer: str, from_file: TextIO | None, identity: Path | None, repo: Path, as_json: bool
) -> None:
    """Seal a value and write its line; the line then goes through a pull request like any other.

    A setting whose contract says text takes the value as it is (one line break at the end is dropped); any other type
    is read as JSON: 5432, true, {"a": 1}. No identity is needed. With one, the same value set again changes nothing.
    """
    from kemudi.cli.sealing import seal_into_file

    value = (
        _asked(key, layer) if from_file is None else from_file.read().removesuffix("\n").removesuffix("\r")
    )
    written = seal_into_file(repo, layer, key, value, identities_of(identity))
    if as_json:
        print_json({"key": key, "layer": layer, "file": str(written.path), "changed": written.changed})
    else:
        said = (
            f"sealed {key} in {written.path}" if written.changed else f"{written.path} has this value already"
        )
        data_console().print(said, soft_wrap=True, markup=False, highlight=False)


def _asked(key: str, layer: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for the value", hint="Use --from-file FILE, or --from-file -."
        )
    value: str = click.prompt(
        f"Value of {key} in {layer}", hide_input=True, confirmation_prompt=True, err=True
    )
    return value
