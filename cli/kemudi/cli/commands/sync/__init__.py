"""`kemudi sync`: run the sync service, pause it, ask how far it is, and compare."""

from typing import Final

import click

from kemudi.cli.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("running", "Bring the graph up to the registry."),
    "status": ("running", "Say what the sync does now: state, rows done, rate, batch size."),
    "pause": ("switching", "Stop the sync after its present batch, as one commit."),
    "resume": ("switching", "Let a paused sync go on, as one commit."),
    "verify": ("running", "Compare registry and graph, pair for pair, and name what differs."),
}


@click.group("sync", cls=LazyGroup, table=COMMANDS, package=__name__)
def sync_command() -> None:
    """Run the sync service, pause it, ask how far it is, and compare registry and graph."""
