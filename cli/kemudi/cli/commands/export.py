"""`kemudi export`: the settings of an environment for another program, secrets sealed or left out."""

from pathlib import Path
from typing import Any

import click

from kemudi.cli.options import category_option, env_option, repo_option
from kemudi.cli.output import json_option, print_json, print_plain


@click.command(
    "export",
    epilog="""\b
Examples:
  kemudi export --env prod > prod.yaml
  kemudi export --env prod --format env --category sync > sync.env""",
)
@env_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json", "env"]),
    default="yaml",
    show_default=True,
    help="KEY: value lines, one JSON object, or KEY=value lines for a shell.",
)
@category_option
@click.option(
    "--reveal",
    type=click.Choice(["never"]),
    default="never",
    show_default=True,
    help="Secrets stay sealed in YAML and JSON, and are left out of KEY=value lines. There is no other choice.",
)
@repo_option
@json_option
def export_command(env: str, form: str, category: str | None, reveal: str, repo: Path, as_json: bool) -> None:  # noqa: ARG001  # it says what the only choice is
    """Print every setting of ENV as its layers resolve it. Imported again into its layer, it changes nothing."""
    from kemudi.cli.workspace import keys_of, workspace_for
    from kemudi.repo.exporting import as_lines, as_yaml

    workspace = workspace_for(repo, env)
    wanted = set(keys_of(workspace, category))
    resolved = workspace.state.resolve(env)
    grouped = {
        name: {key: _written(item.value) for key, item in found.settings.items() if key in wanted}
        for name, found in sorted(resolved.items())
    }
    sensitive = {key for contract in workspace.state.contracts.values() for key in contract.sensitive}
    if as_json or form == "json":
        print_json({key: value for values in grouped.values() for key, value in values.items()})
    elif form == "yaml":
        print_plain(as_yaml(grouped, f"{env} at {workspace.revision or 'the files on disk'}"))
    else:
        print_plain(as_lines(grouped, sensitive))


def _written(value: Any) -> Any:  # JSON, or an Envelope: its text
    from kemudi.schema.envelope import Envelope

    return str(value) if isinstance(value, Envelope) else value
