"""`kemudi secret status` and `guard`: what can be said without any private key."""

import sys
from pathlib import Path
from typing import Final

import click

from kemudi.cli.commands.secret.options import layer_option
from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, error_console, json_option, print_json, table

_RUNBOOK: Final = (
    "It is committed already. Whoever could read the repository since then may know the value:\n"
    "  1. Change the secret at its source: the database, the provider. First, whatever else there is to do.\n"
    "  2. Seal the new one: kemudi secret set KEY --layer LAYER, and merge that.\n"
    "  3. Look at the source's log for uses since the commit.\n"
    "  4. Purging history comes last and helps least: clones, forks and caches keep the old commits."
)


@click.command(
    "status",
    epilog="""\
Exit code 0; with --check 1 when something is wrong.

\b
Examples:
  kemudi secret status
  kemudi secret status --check --layer prod""",
)
@layer_option("Only this layer.", required=False)
@click.option("--check", is_flag=True, help="Exit 1 when any line is not as it should be: for CI.")
@repo_option
@json_option
def status_command(layer: str | None, check: bool, repo: Path, as_json: bool) -> None:
    """List every sensitive line of the files at hand: where, for whom, and what is wrong. Needs no key.

    Found: plaintext, damaged text, a line copied from another place, recipients that are not those of now, by digest
    and by number. What is sealed inside is checked by whoever opens it, the daemon last.
    """
    from kemudi.cli.workspace import open_workspace
    from kemudi.repo.sealing import problems_elsewhere, status_of
    from kemudi.schema import report

    state = open_workspace(repo).state
    lines, others = status_of(state, layer), problems_elsewhere(state, layer)
    if as_json:
        print_json(
            {"secrets": [line.as_json() for line in lines], "others": [each.as_json() for each in others]}
        )
    else:
        rows = [
            (line.stored.layer, line.stored.key, line.stored.place, ", ".join(line.readers)) for line in lines
        ]
        states = [line.problems[0].message if line.problems else "ok" for line in lines]
        columns = ("LAYER", "KEY", "PLACE", "RECIPIENTS", "STATE")
        data_console().print(table(columns, [(*row, state) for row, state in zip(rows, states, strict=True)]))
        if others:
            data_console().print(report.as_text(others), soft_wrap=True, markup=False, highlight=False)
    if check and (others or any(line.problems for line in lines)):
        sys.exit(1)


@click.command(
    "guard",
    epilog="""\
Exit code 0: nothing in the way; warnings are printed. 1: findings.

\b
Example:
  kemudi secret guard""",
)
@repo_option
@json_option
def guard_command(repo: Path, as_json: bool) -> None:
    """Refuse plaintext secrets in what is staged for the next commit: a hook for pre-commit.

    Judges the staged contents by the same rules as validation: sensitive by contract, or by the name patterns of
    kemudi.yaml (sensitive_names). Tokens of known forms and random text under other keys are warnings. Private keys
    are refused in any staged file. No value is printed.
    """
    from kemudi.repo.repository import ConfigRepository
    from kemudi.repo.staged import look_at_staged
    from kemudi.schema import report

    with ConfigRepository.open(repo) as repository:
        staged = look_at_staged(repository)
    errors = [finding for finding in staged.findings if finding.severity == "error"]
    if as_json:
        print_json(
            {
                "errors": [each.as_json() for each in errors],
                "warnings": [each.as_json() for each in staged.findings if each.severity == "warning"],
                "committed": [each.as_json() for each in staged.committed],
            }
        )
    elif staged.findings:
        data_console().print(report.as_text(staged.findings), soft_wrap=True, markup=False, highlight=False)
        if staged.committed:
            error_console().print(_RUNBOOK, markup=False, highlight=False, soft_wrap=True)
    if errors:
        sys.exit(1)
