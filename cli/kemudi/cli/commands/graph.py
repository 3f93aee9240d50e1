"""`kemudi graph`: the graph service."""

import sys
from pathlib import Path

import click

from kemudi.cli.options import GRAPH_PORT, mapping_option


@click.group("graph")
def graph_command() -> None:
    """Run the graph service."""


@graph_command.command(
    "serve",
    epilog="""\b
Examples:
  kemudi graph serve      # settings from Kemudi, the graph in Neo4j
  kemudi graph serve --ladybug graph.lbug --registry sqlite:///registry.db --port 0""",
)
@click.option(
    "--ladybug",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use the embedded store in this file. Without it: Neo4j, at the address that the settings name.",
)
@click.option(
    "--registry",
    envvar="KEMUDI_REGISTRY",
    metavar="DSN",
    help="SQLAlchemy address of the student registry; the sync runs here too.  [KEMUDI_REGISTRY]",
)
@mapping_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=GRAPH_PORT, show_default=True, type=click.IntRange(0, 65535))
def serve(ladybug: Path | None, registry: str | None, mapping: Path | None, host: str, port: int) -> None:
    """Serve classmates, friends of friends and recommendations over HTTP.

    Settings come from Kemudi (KEMUDI_ENV, KEMUDI_REDIS_URL, KEMUDI_VERIFY_KEY, KEMUDI_KEYSET) and steer the service
    while it runs.
    """
    from kemudi.cli.sync_runs import names_of
    from kemudi.graph.runtime import serve as run
    from kemudi.schema.hardening import harden

    names = names_of(mapping)
    harden()
    sys.exit(run(ladybug=ladybug, registry_dsn=registry, host=host, port=port, names=names))
