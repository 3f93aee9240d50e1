"""`kemudi sync run`, `status` and `verify`: here, or by the process that owns the graph."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from kemudi.cli.options import GRAPH_PORT, Command, mapping_option
from kemudi.cli.output import data_console, error_console, json_option, print_json


def _graph_url_option(command: Command) -> Command:
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


def _registry_option(help_: str) -> Callable[[Command], Command]:
    return click.option(
        "--registry", envvar="KEMUDI_REGISTRY", metavar="DSN", help=f"{help_}  [KEMUDI_REGISTRY]"
    )


@click.command(
    "run",
    epilog="""\b
Examples:
  kemudi sync run      # by the graph service
  KEMUDI_REGISTRY="$(cat dsn)" kemudi sync run      # here, into the Neo4j of the settings""",
)
@_registry_option("Run here, from this database into Neo4j.")
@mapping_option
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="With --registry: have the rows copied by the workers of the Dask scheduler at tcp://HOST:PORT.",
)
@_graph_url_option
@json_option
def run_command(
    registry: str | None, mapping: Path | None, dask: str | None, graph_url: str, as_json: bool
) -> None:
    """Bring the graph up to the registry.

    With --registry the sync runs in this process, into the Neo4j that the settings name. Without it the process that
    owns the graph is asked to run it, which is the only way with the embedded store. Exit code 1: it stopped at its
    time limit or failed; the checkpoint is kept, and the next run goes on from there.

    With --dask this process plans, obeys the settings and compares at the end; the workers of a Dask cluster copy. They
    are started with KEMUDI_REGISTRY and the variables of the client, as this process is.
    """
    from kemudi.cli.sync_runs import run_here, run_there

    _require_registry(registry, mapping, dask)
    console = error_console()
    status = run_here(registry, mapping, dask, console) if registry else run_there(graph_url, console)
    if as_json:
        print_json(status)
    else:
        reason = f"; {status['error']}" if status["error"] else ""
        line = f"{status['state']}: {status['rows_done']} rows{reason}"
        data_console().print(line, markup=False, highlight=False, soft_wrap=True)
    if status["state"] != "done":
        sys.exit(1)


@click.command(
    "verify",
    epilog="""\b
Example:
  kemudi sync verify --json""",
)
@_registry_option("Compare here, this database with Neo4j.")
@mapping_option
@_graph_url_option
@json_option
def verify_command(registry: str | None, mapping: Path | None, graph_url: str, as_json: bool) -> None:
    """Compare registry and graph, pair for pair, and name what differs.

    With --registry it is compared in this process, else by the one that owns the graph. While a sync runs, what it has
    not copied yet differs. Exit code 1: there are differences.
    """
    from kemudi.cli.sync_runs import difference_lines, verify_here, verify_there

    _require_registry(registry, mapping)
    console = error_console()
    answer = verify_here(registry, mapping, console) if registry else verify_there(graph_url, console)
    if as_json:
        print_json(answer)
    else:
        for line in difference_lines(answer):
            data_console().print(line, markup=False, highlight=False, soft_wrap=True)
    if not answer["equal"]:
        sys.exit(1)


@click.command(
    "status",
    epilog="""\b
Example:
  kemudi sync status""",
)
@_graph_url_option
@json_option
def status_command(graph_url: str, as_json: bool) -> None:
    """Say what the sync does now: state, rows done, rate, batch size."""
    from kemudi.cli.output import fields
    from kemudi.cli.sync_runs import status_there

    answer = status_there(graph_url)
    if as_json:
        print_json(answer)
    else:
        fields(data_console(), {name: value for name, value in answer.items() if value is not None})


def _require_registry(registry: str | None, mapping: Path | None, dask: str | None = None) -> None:
    if registry is not None:
        return
    if mapping is not None:
        raise click.UsageError(
            "--mapping names the tables of a --registry; the graph service was told its own"
        )
    if dask is not None:
        raise click.UsageError("--dask needs a --registry: the graph service copies by itself")
