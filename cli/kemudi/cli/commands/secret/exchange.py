"""`kemudi secret import-sops` and `export-sops`: to and from files of SOPS with age keys."""

from pathlib import Path

import click

from kemudi.cli.commands.secret.options import identity_option, layer_option, needed_identities
from kemudi.cli.completion import categories
from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, json_option, print_json
from kemudi.schema.errors import ConflictError


@click.command(
    "import-sops",
    epilog="""\b
Example:
  kemudi secret import-sops neo4j.sops.yaml --layer prod --category neo4j --identity key.txt""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@layer_option("The layer that takes the values.")
@click.option("--category", metavar="CATEGORY", help="Their category; without it the name of FILE.")
@identity_option
@repo_option
@json_option
def import_sops_command(
    file: Path, layer: str, category: str | None, identity: Path | None, repo: Path, as_json: bool
) -> None:
    """Take over a YAML file that SOPS encrypted to age keys: each secret becomes a sealed line of its own.

    FILE may be the values file itself, which is then rewritten, or any other file, whose keys are set in
    LAYER/CATEGORY.yaml; FILE itself is left alone then. The MAC has to fit. Sensitive settings are sealed to the
    recipients of the layer; the others are written in plain text. Encrypted comments are dropped.
    """
    from kemudi.cli.workspace import open_workspace
    from kemudi.repo.edits import edit_text
    from kemudi.repo.sops_exchange import imported, without_block, written_out
    from kemudi.schema.paths import values_path

    workspace = open_workspace(repo)
    name = category or file.name.split(".")[0]
    path = workspace.root / values_path(layer, name)
    values = imported(workspace.state, layer, name, file.read_bytes(), file.name, needed_identities(identity))
    in_place = path.exists() and path.samefile(file)
    edit_text(
        path,
        lambda text: written_out(values, without_block(text, file.name) if in_place else text, path.name),
    )
    if as_json:
        print_json({"file": str(path), "layer": layer, "category": name, "keys": list(values)})
    else:
        data_console().print(f"{path} has {', '.join(values)}", markup=False, highlight=False, soft_wrap=True)


@click.command(
    "export-sops",
    epilog="""\b
Example:
  kemudi secret export-sops neo4j --layer prod --out neo4j.sops.yaml --identity key.txt""",
)
@click.argument("category", shell_complete=categories)
@layer_option("Whose file of the category.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A new file; without it stdout.")
@identity_option
@repo_option
@json_option
def export_sops_command(
    category: str, layer: str, out: Path | None, identity: Path | None, repo: Path, as_json: bool
) -> None:
    """Give out LAYER/CATEGORY.yaml as a file that `sops` opens with an age key.

    Its sensitive settings are encrypted, by name (encrypted_regex), to the recipients of the layer; the rest stays
    plain, and the MAC covers all of it. Nothing in the config repo changes.
    """
    from kemudi.cli.workspace import open_workspace
    from kemudi.repo.sops_exchange import exported

    text = exported(open_workspace(repo).state, layer, category, needed_identities(identity))
    if out is None:
        if as_json:
            print_json({"layer": layer, "category": category, "text": text})
        else:
            click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConflictError(f"{out} is there already") from None
    if as_json:
        print_json({"layer": layer, "category": category, "file": str(out)})
