"""`kemudi secret rekey` and `rebind`: lines sealed anew, their plaintext the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kemudi.cli.commands.secret.options import identity_option, layer_option, needed_identities
from kemudi.cli.completion import settings
from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, json_option, print_json

if TYPE_CHECKING:
    from kemudi.repo.renewal import Renewed


@click.command(
    "rekey",
    epilog="""\
Exit code 0: done. 5: a line cannot be opened; nothing was changed.

\b
Example:
  kemudi secret rekey --identity ~/.kemudi.txt""",
)
@layer_option("Only this layer.", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Also lines that are sealed to the recipients of now."
)
@identity_option
@repo_option
@json_option
def rekey_command(
    layer: str | None, everything: bool, identity: Path | None, repo: Path, as_json: bool
) -> None:
    """Seal every stale line anew, for the recipients that recipients.yaml names now.

    Needs an identity that opens them. Each line is opened for the place where it stands, so a copied one is refused
    and not bound there. All lines or none are written.

    Somebody who was removed still has what they read, and git history still has it sealed to them: change those
    secrets at the source, too. `kemudi secret rotate-plan RECIPIENT` lists them.
    """
    from kemudi.cli.sealing import write_renewed
    from kemudi.cli.workspace import open_workspace
    from kemudi.repo.renewal import rekey

    workspace = open_workspace(repo)
    renewed = rekey(workspace.state, needed_identities(identity), layer=layer, everything=everything)
    write_renewed(workspace.root, renewed)
    _say(renewed, as_json)


@click.command(
    "rebind",
    epilog="""\b
Example:
  kemudi secret rebind NEO4J_PASS NEO4J_PASSWORD --identity ~/.kemudi.txt""",
)
@click.argument("old", shell_complete=settings)
@click.argument("new", shell_complete=settings)
@identity_option
@repo_option
@json_option
def rebind_command(old: str, new: str, identity: Path | None, repo: Path, as_json: bool) -> None:
    """Follow a rename: seal what was sealed for OLD for NEW, in every layer that has it.

    OLD and NEW are keys, or CATEGORY/KEY where the category changed. Rename the setting in the contract first. The
    line may stand under the old key still, which is renamed with it, or under the new one already.
    """
    from kemudi.cli.sealing import write_renewed
    from kemudi.cli.workspace import open_workspace
    from kemudi.repo.renewal import rebind

    workspace = open_workspace(repo)
    renewed = rebind(workspace.state, old, new, needed_identities(identity))
    write_renewed(workspace.root, renewed)
    _say(renewed, as_json)


def _say(renewed: "Sequence[Renewed]", as_json: bool) -> None:
    if as_json:
        print_json({"sealed": [{"layer": e.layer, "category": e.category, "key": e.key} for e in renewed]})
        return
    console = data_console()
    for each in renewed:
        console.print(
            f"sealed {each.key} in {each.layer}/{each.category}.yaml", markup=False, highlight=False
        )
    if not renewed:
        console.print("every line is sealed to the recipients of now")
