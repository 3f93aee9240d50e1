"""`kemudi validate`: every error of every file, where it is and how to fix it. Needs no server; git only for --base."""

import os
import sys
from pathlib import Path

import click

from kemudi.cli.output import json_option, print_json, print_plain
from kemudi.schema.errors import UsageError


@click.command(
    "validate",
    epilog="""\b
Exit code 0: valid. 1: findings. 2: no config repo there. 3: git cannot be read (--base).

\b
Examples:
  kemudi validate                                   # every file of the config repo here
  kemudi validate --base origin/main                # what a pull request changes
  kemudi validate --format sarif > kemudi.sarif     # for code scanning""",
)
@click.argument("path", type=click.Path(path_type=Path), default=Path(), required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "gitlab", "sarif", "junit"]),
    default="text",
    show_default=True,
    help="Form of the report. `github` also writes a table into $GITHUB_STEP_SUMMARY.",
)
@click.option(
    "--base",
    metavar="REF",
    help="Only what changed since this commit, and what a changed contract is about.",
)
@json_option
def validate_command(path: Path, form: str, base: str | None, as_json: bool) -> None:
    """Check every file of the config repo in PATH (or above it); name file, line, column and fix.

    Checks the files as they are on disk, committed or not.
    """
    from kemudi.cli.formats import render
    from kemudi.cli.formats.json import content
    from kemudi.cli.validation import validate

    if not path.exists():
        raise UsageError(f"{path} does not exist")
    report = validate(path, base)
    form = "json" if as_json else form
    if as_json:
        print_json(content(report))
    elif form == "text" and sys.stdout.isatty():
        _print_coloured(render(form, report))
    else:
        print_plain(render(form, report))
    if form != "json":
        click.echo(f"{report.root}: {report.summary()}", err=True)
    table = os.environ.get("GITHUB_STEP_SUMMARY")
    if form == "github" and table:
        from kemudi.cli.formats.github import summary

        with Path(table).open("a", encoding="utf-8") as file:
            file.write(summary(report))
    if report.errors:
        sys.exit(1)


def _print_coloured(report: str) -> None:
    from rich.text import Text

    from kemudi.cli.output import data_console

    text = Text(report)
    text.highlight_regex(r"(?m)^[^\s:]+:\d+:\d+:", "bold")
    text.highlight_regex(r"\bKEM\d{3}\b", "red")
    text.highlight_regex(r"(?m)^\s*\^+$", "red")
    data_console().print(text, soft_wrap=True, end="")
