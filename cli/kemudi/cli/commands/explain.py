"""`kemudi explain`: where the value of a setting comes from."""

from pathlib import Path

import click

from kemudi.cli.completion import settings
from kemudi.cli.options import env_option, repo_option
from kemudi.cli.output import data_console, json_option, print_json


@click.command("explain")
@click.argument("key", shell_complete=settings)
@env_option
@repo_option
@json_option
def explain_command(key: str, env: str, repo: Path, as_json: bool) -> None:
    """Say which file and line set KEY in ENV, what that overrides, and what the contract says of it."""
    from kemudi.cli.workspace import workspace_for
    from kemudi.schema.explain import explain

    workspace = workspace_for(repo, env)
    found = explain(workspace.state, env, key)
    if as_json:
        print_json(found.as_json())
    else:
        data_console().print(found.as_text(), markup=False, highlight=False)
