"""`kemudi scan`: reads of undeclared keys, and numbers and addresses that could be settings, in Python code."""

import sys
from pathlib import Path

import click

from kemudi.cli.options import repo_option
from kemudi.cli.output import error_console, json_option, print_json, print_plain


@click.command(
    "scan",
    epilog="""\b
Exit code 0: every key that is read is declared. 1: some are not. 2: no such path, no config repo.

A line with the comment `# kemudi: ignore` is left out.

\b
Examples:
  kemudi scan src
  kemudi scan src tools --tests --json""",
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tests", is_flag=True, help="Look into files of tests, too.")
@repo_option
@json_option
def scan_command(paths: tuple[Path, ...], tests: bool, repo: Path, as_json: bool) -> None:
    """Look through the Python code in PATHS, without running it.

    An error is a key that is read (config["KEY"], config.get("KEY"), bind, os.environ) and that no contract has. A
    hint is a timeout, limit, switch or address that is written into the code and could be a setting.
    """
    from kemudi.cli.scanning import is_process_variable, scan
    from kemudi.cli.workspace import open_workspace
    from kemudi.schema.nearest import did_you_mean

    category_of = open_workspace(repo).state.category_of
    found = scan(paths, tests=tests)
    undeclared = [
        spot
        for spot in found.reads
        if spot.name not in category_of
        and not (spot.kind == "environment" and is_process_variable(spot.name))
    ]
    if as_json:
        print_json(
            {
                "files": found.files,
                "undeclared": [
                    spot.as_json() | {"hint": did_you_mean(spot.name, category_of)} for spot in undeclared
                ],
                "candidates": [
                    spot.as_json() | {"category": category_of.get(spot.name)} for spot in found.candidates
                ],
                "unreadable": found.unreadable,
            }
        )
    else:
        lines = []
        for spot in undeclared:
            hint = did_you_mean(spot.name, category_of)
            where = "the environment" if spot.kind == "environment" else "the settings"
            lines.append(
                f"{spot.file}:{spot.line}:{spot.column}: undeclared {spot.name} is read from {where}"
                + (f" ({hint})" if hint else "")
            )
        for spot in found.candidates:
            known = category_of.get(spot.name)
            what = f"is a setting of {known} already" if known else "could be a setting"
            lines.append(
                f"{spot.file}:{spot.line}:{spot.column}: hard-coded {spot.name} = {spot.text} {what}"
            )
        print_plain("".join(f"{line}\n" for line in lines))
        for line in found.unreadable:
            error_console().print(f"not read: {line}", markup=False, highlight=False, soft_wrap=True)
        error_console().print(
            f"{found.files} files, {len(undeclared)} undeclared reads, {len(found.candidates)} candidates",
            highlight=False,
        )
    if undeclared:
        sys.exit(1)
