"""`kemudi setup`: the settings of Kemudi's own services, in a config repo that is there."""

from pathlib import Path

import click

from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, error_console, json_option, print_json


@click.command(
    "setup",
    epilog="""\b
Examples:
  kemudi setup
  kemudi setup --repo settings --json""",
)
@repo_option
@json_option
def setup_command(repo: Path, as_json: bool) -> None:
    """Create the settings that the graph and sync services read, with their contracts and defaults, as one commit.

    What is there stays: a setting that exists only gets what its contract entry lacks, and no value is changed. A
    second run has nothing to do.
    """
    from kemudi.cli.setting_up import set_up

    done = set_up(repo)
    if as_json:
        print_json(
            {
                "created": list(done.created),
                "updated": list(done.updated),
                "elsewhere": list(done.elsewhere),
                "revision": done.revision,
            }
        )
        return
    console = data_console()
    console.print(
        f"Setup complete: {len(done.created)} created, {len(done.updated)} updated", highlight=False
    )
    if done.elsewhere:
        named = ", ".join(done.elsewhere)
        error_console().print(f"left, for another category has them: {named}", markup=False, soft_wrap=True)
