"""`kemudi init`: start a config repo in a folder."""

from pathlib import Path

import click

from kemudi.cli.output import data_console, json_option, print_json


@click.command(
    "init",
    epilog="""\b
Examples:
  kemudi init settings
  kemudi init --example""",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("config-repo"))
@click.option("--example", is_flag=True, help="Start from the worked example instead of one small category.")
@json_option
def init_command(folder: Path, example: bool, as_json: bool) -> None:
    """Start a config repo in FOLDER (default: config-repo): manifest, one contract, three environments, first commit.

    FOLDER must be new or empty. Inside an existing git repository the files are written and left for you to commit.
    """
    from kemudi.cli.starter import start

    started = start(folder, example=example)
    if as_json:
        print_json(started.as_json())
        return
    console = data_console()
    console.print(f"a config repo is in {folder}; next:", markup=False)
    for line in started.next_steps():
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
