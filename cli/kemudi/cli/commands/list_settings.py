"""`kemudi list`: the settings of an environment."""

from pathlib import Path

import click

from kemudi.cli.options import category_option, env_option, repo_option
from kemudi.cli.output import data_console, json_option, print_json, show_value, table


@click.command(
    "list",
    epilog="""\b
Examples:
  kemudi list --env prod
  kemudi list --env prod --category sync --json""",
)
@env_option
@category_option
@repo_option
@json_option
def list_command(env: str, category: str | None, repo: Path, as_json: bool) -> None:
    """List the settings of ENV: value, type, and the layer that sets it."""
    from kemudi.cli.workspace import describe, keys_of, workspace_for

    workspace = workspace_for(repo, env)
    rows = [describe(workspace, env, key) for key in keys_of(workspace, category)]
    if as_json:
        print_json({"env": env, "revision": workspace.revision, "settings": rows})
        return
    shown = [
        (
            row["key"],
            "***" if row["sensitive"] else show_value(row["value"]),
            row["type"],
            row["layer"],
            f"{row['source']['file']}:{row['source']['line']}" if row["source"] else "",
        )
        for row in rows
    ]
    data_console().print(table(("setting", "value", "type", "layer", "file"), shown))
