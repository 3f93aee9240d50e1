"""`kemudi validate`: every error of every file, where it is and how to fix it. Needs no server and no git."""

import sys
from pathlib import Path

import click
from rich.text import Text

from kemudi.cli.output import data_console, error_console, json_option, print_json
from kemudi.schema.errors import UsageError


@click.command("validate", epilog="Exit code 0: valid. 1: findings. 2: no config repo there.")
@click.argument("path", type=click.Path(path_type=Path), default=Path(), required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the report.",
)
@json_option
def validate_command(path: Path, form: str, as_json: bool) -> None:
    """Check every file of the config repo in PATH (or above it); name file, line, column and fix.

    Checks the files as they are on disk, committed or not.
    """
    from kemudi.cli.workspace import open_workspace
    from kemudi.schema import report

    if not path.exists():
        raise UsageError(f"{path} does not exist")
    workspace = open_workspace(path)
    state, count = workspace.state, len(workspace.state.files)
    errors = [finding for finding in state.findings if finding.severity == "error"]
    if as_json or form == "json":
        print_json(report.as_json(state.findings, files=count))
    else:
        text = report.as_text(state.findings, report.source_of(state))
        if text:
            data_console().print(_coloured(text), soft_wrap=True)
        said = f"{len(errors)} error{'' if len(errors) == 1 else 's'}"
        error_console().print(
            f"{workspace.root}: {count} files, {said}", markup=False, highlight=False, soft_wrap=True
        )
    if errors:
        sys.exit(1)


def _coloured(report: str) -> Text:
    text = Text(report)
    text.highlight_regex(r"(?m)^[^\s:]+:\d+:\d+:", "bold")
    text.highlight_regex(r"\bKEM\d{3}\b", "red")
    text.highlight_regex(r"(?m)^\s*\^+$", "red")
    return text
