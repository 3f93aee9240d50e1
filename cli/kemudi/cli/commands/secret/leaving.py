"""`kemudi secret rotate-plan`: what has to change at the source when somebody leaves."""

from pathlib import Path

import click

from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, error_console, json_option, print_json, short, table


@click.command(
    "rotate-plan",
    epilog="""\b
Example:
  kemudi secret rotate-plan operator-2""",
)
@click.argument("recipient")
@repo_option
@json_option
def rotate_plan_command(recipient: str, repo: Path, as_json: bool) -> None:
    """List every secret that RECIPIENT could ever read, from the whole of git history.

    RECIPIENT is a name of recipients.yaml, also one that is gone from it, or a public key. All branches and tags of
    this clone are read; no key is needed. Each listed secret has to change at its source: sealing it anew changes
    nothing about what was read.
    """
    from kemudi.repo.exposure import rotate_plan
    from kemudi.repo.repository import ConfigRepository

    with ConfigRepository.open(repo) as repository:
        exposed = rotate_plan(repository, recipient)
    if as_json:
        print_json({"recipient": recipient, "secrets": [each.as_json() for each in exposed]})
        return
    rows = [
        (
            each.layer,
            each.key,
            each.versions,
            f"{short(each.last)} of {each.at:%Y-%m-%d}",
            "yes" if each.certain else "perhaps: recipients unknown",
        )
        for each in exposed
    ]
    data_console().print(table(("LAYER", "KEY", "VALUES", "LAST READABLE IN", "READABLE"), rows))
    said = f"{len(rows)} secret{'' if len(rows) == 1 else 's'} to change at the source, then to seal anew"
    error_console().print(said if rows else f"{recipient} could never read a secret", highlight=False)
