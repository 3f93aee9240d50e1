"""`kemudi export`: the settings of an environment for another program, secrets sealed or left out."""

import json
import re
from pathlib import Path
from typing import Any

import click

from kemudi.cli.options import env_option, repo_option
from kemudi.cli.output import json_option, print_json, print_plain


@click.command("export")
@env_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json", "env"]),
    default="yaml",
    show_default=True,
    help="KEY: value lines, one JSON object, or KEY=value lines for a shell.",
)
@click.option("--category", "-c", help="Only this category.")
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
        print_plain(_yaml(grouped, env, workspace.revision))
    else:
        print_plain(_lines(grouped, sensitive))


def _written(value: Any) -> Any:  # JSON, or an Envelope: its text
    from kemudi.schema.envelope import Envelope

    return str(value) if isinstance(value, Envelope) else value


def _yaml(grouped: dict[str, dict[str, Any]], env: str, revision: str | None) -> str:
    from kemudi.repo.edits import render

    lines = [f"# {env} at {revision or 'the files on disk'}"]
    for category, values in grouped.items():
        if values:
            lines += [f"# {category}", *(f"{key}: {render(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _lines(grouped: dict[str, dict[str, Any]], sensitive: set[str]) -> str:
    lines = []
    for values in grouped.values():
        for key, value in values.items():
            lines.append(f"# {key} is sealed" if key in sensitive else f"{key}={_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(value: Any) -> str:
    """A value for a shell and for every reader of .env files."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,-]+", text, re.ASCII):
        return text
    if "'" not in text:
        return f"'{text}'"
    escaped = re.sub(r'([\\"$`])', r"\\\1", text)
    return f'"{escaped}"'
