"""`kemudi secret keygen`: the keys of a daemon, or the identity of a person."""

from pathlib import Path

import click

from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, json_option, print_json
from kemudi.schema.errors import UsageError


@click.command(
    "keygen",
    epilog="""\b
Examples:
  kemudi secret keygen --out keys                  # a daemon's
  kemudi secret keygen --identity ~/.kemudi.txt     # your own""",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="All keys of a daemon, in a new or empty folder; made with mode 0700.",
)
@click.option(
    "--identity",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Only an age identity, for a person or as a recovery key, in a new file of mode 0600.",
)
@repo_option
@json_option
def keygen_command(out: Path | None, identity: Path | None, repo: Path, as_json: bool) -> None:
    """Make the keys of a daemon (--out), or an age identity for a person (--identity).

    A daemon has an identity, a signing key, and one keyset for itself and for each service; the services and their
    categories are read from kemudi.yaml. Nothing that exists is overwritten. What is printed is public.
    """
    if (out is None) == (identity is None):
        raise UsageError("name either --out FOLDER, for a daemon, or --identity FILE, for a person")
    if identity is not None:
        _for_person(identity, as_json)
    elif out is not None:
        _for_daemon(out, repo, as_json)


def _for_person(path: Path, as_json: bool) -> None:
    from kemudi.repo.secrets import generate_identity, save_identity

    text, public = generate_identity()
    save_identity(path, text)
    if as_json:
        print_json({"recipient": public, "files": {"identity": str(path)}})
        return
    console = data_console()
    console.print(f"public key, for recipients.yaml: {public}", soft_wrap=True)
    console.print(f"identity (yours alone; use it as KEMUDI_IDENTITY): {path}", soft_wrap=True)


def _for_daemon(out: Path, repo: Path, as_json: bool) -> None:
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
