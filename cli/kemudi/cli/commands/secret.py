"""`kemudi secret`: make keys, and seal values so that only the daemon can read them."""

import sys
from pathlib import Path
from typing import TextIO

import click

from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, json_option, print_json
from kemudi.schema.errors import UsageError


@click.group("secret")
def secret_command() -> None:
    """Make keys and seal values.

    Anyone can seal a value with the public keys in recipients.yaml; only the daemon's identity opens it.
    """


@secret_command.command("keygen")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="A new or empty folder for the keys; made with mode 0700.",
)
@repo_option
@json_option
def keygen(out: Path, repo: Path, as_json: bool) -> None:
    """Make all keys of a daemon: identity, signing key, and one keyset for it and for each service.

    The services and their categories are read from kemudi.yaml. Nothing that exists is overwritten.
    """
    from kemudi.cli.keys import make_keys
    from kemudi.cli.workspace import open_workspace

    keys = make_keys(out, open_workspace(repo).state)
    if as_json:
        print_json(keys.as_json())
        return
    console = data_console()
    console.print(f"public key of the daemon, for recipients.yaml: {keys.recipient}")
    for name, path in keys.paths():
        console.print(f"{name}: {path}", soft_wrap=True)


@secret_command.command("set")
@click.argument("key")
@click.option(
    "--layer", "-l", required=True, help="Where the value stands: base, or an environment's overlay."
)
@click.option(
    "--from-file",
    type=click.File("r", encoding="utf-8"),
    help="Read the value from a file; `-` is stdin. Without it you are asked, and nothing is shown.",
)
@repo_option
@json_option
def set_secret(key: str, layer: str, from_file: TextIO | None, repo: Path, as_json: bool) -> None:
    """Seal a value and write it into its file; the line then goes through a pull request like any other."""
    from kemudi.cli.sealing import seal_into_file

    if from_file is not None:
        value = from_file.read()
        value = value.removesuffix("\n")
    elif sys.stdin.isatty():
        value = click.prompt(
            f"Value of {key} in {layer}", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        raise UsageError(
            "there is no terminal to ask for the value", hint="Use --from-file FILE, or --from-file -."
        )
    path = seal_into_file(repo, layer, key, value)
    if as_json:
        print_json({"key": key, "layer": layer, "file": str(path)})
    else:
        data_console().print(f"sealed {key} in {path}", soft_wrap=True)
