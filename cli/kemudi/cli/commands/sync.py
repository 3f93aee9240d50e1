"""`kemudi sync`: run the sync service, and ask how far it is."""

import sys
from typing import Any

import click

from kemudi.cli.options import GRAPH_PORT
from kemudi.cli.output import data_console, error_console, json_option, print_json


def graph_url_option(command: Any) -> Any:  # a decorator
    """Where the process that owns the graph answers."""
    return click.option(
        "--graph",
        "graph_url",
        envvar="KEMUDI_GRAPH_URL",
        default=f"http://127.0.0.1:{GRAPH_PORT}",
        show_default=True,
        metavar="URL",
        help="Where the graph service answers; it runs the sync.  [KEMUDI_GRAPH_URL]",
    )(command)


@click.group("sync")
def sync_command() -> None:
    """Run the sync service and ask how far it is."""


@sync_command.command("run")
@click.option(
    "--registry", envvar="KEMUDI_REGISTRY", metavar="DSN", help="Run here, from this database into Neo4j."
)
@graph_url_option
@json_option
def run(registry: str | None, graph_url: str, as_json: bool) -> None:
    """Bring the graph up to the registry.

    With --registry the sync runs in this process, into the Neo4j that the settings name. Without it the process that
    owns the graph is asked to run it, which is the only way with the embedded store. Exit code 1: it stopped at its
    time limit or failed; the checkpoint is kept, and the next run goes on from there.
    """
    from kemudi.cli.sync_runs import run_here, run_there

    status = run_here(registry, error_console()) if registry else run_there(graph_url, error_console())
    if as_json:
        print_json(status)
    else:
        data_console().print(f"{status['state']}: {status['rows_done']} rows", markup=False)
    if status["state"] != "done":
        sys.exit(1)


@sync_command.command("status")
@graph_url_option
@json_option
def status(graph_url: str, as_json: bool) -> None:
    """Say what the sync does now: state, rows done, rate, batch size."""
    from kemudi.cli.output import fields
    from kemudi.cli.sync_runs import status_there

    answer = status_there(graph_url)
    if as_json:
        print_json(answer)
    else:
        fields(data_console(), {name: value for name, value in answer.items() if value is not None})
