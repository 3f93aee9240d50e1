"""`kemudi secret edit`: the secrets of one file in an editor, in memory only."""

from pathlib import Path

import click

from kemudi.cli.commands.secret.options import identity_option, layer_option, needed_identities
from kemudi.cli.completion import categories
from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, json_option, print_json


@click.command(
    "edit",
    epilog="""\b
Example:
  kemudi secret edit neo4j --layer prod --identity ~/.kemudi.txt""",
)
@click.argument("category", shell_complete=categories)
@layer_option("Whose file of the category.")
@identity_option
@repo_option
@json_option
def edit_command(category: str, layer: str, identity: Path | None, repo: Path, as_json: bool) -> None:
    """Open the secrets of LAYER/CATEGORY.yaml in $VISUAL or $EDITOR, and seal what you changed.

    You see the sensitive settings alone, as `KEY: value`. Lines that you leave alone keep their ciphertext; a line
    that you delete is taken out of the file; a new one is added. The opened text stands in a folder of mode 0700 on a
    file system in memory, never beside the repository, and is gone when the editor ends.
    """
    from kemudi.cli.secret_editor import edit_secrets
    from kemudi.cli.workspace import open_workspace

    workspace = open_workspace(repo)
    changed = edit_secrets(workspace, layer, category, needed_identities(identity))
    if as_json:
        print_json({"layer": layer, "category": category, "changed": list(changed)})
    else:
        said = f"sealed anew or taken out: {', '.join(changed)}" if changed else "nothing changed"
        data_console().print(said, markup=False, highlight=False, soft_wrap=True)
