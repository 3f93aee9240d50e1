"""`kemudi up`: a private Redis, a scratch config repo, the daemon, a registry, graph and sync service; one Ctrl-C."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

import click

from kemudi.cli.output import error_console, json_option, print_json

CONSOLE_PORT: Final = 8420


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived: the ordinary end of `kemudi up`."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the clean-up that the first one began.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


@click.command(
    "up",
    epilog="""\b
Examples:
  kemudi up
  kemudi up --fresh --port 9000
  kemudi up --json > endpoints.json &      # the addresses, for a script""",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(".kemudi/up"),
    show_default=True,
    help="The one folder that is written to.",
)
@click.option(
    "--port",
    type=click.IntRange(1024, 65000),
    default=CONSOLE_PORT,
    show_default=True,
    help="First of three ports: console, graph service, daemon. A busy one is replaced by the next free one.",
)
@click.option("--fresh", is_flag=True, help="Start with an empty folder.")
@click.option("--redis", "redis_url", metavar="URL", help="Use this Redis instead of a private one.")
@click.option(
    "--neo4j", metavar="URI", help="Use this Neo4j instead of the embedded store; see --neo4j-password-file."
)
@click.option(
    "--neo4j-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its password, on the first line of a file; it is sealed into the scratch config repo.",
)
@click.option(
    "--registry", metavar="DSN", help="Use this SQLAlchemy database instead of a generated registry."
)
@json_option
def up_command(
    folder: Path,
    port: int,
    fresh: bool,
    redis_url: str | None,
    neo4j: str | None,
    neo4j_password_file: Path | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Run everything on this machine, with nothing to configure.

    A private Redis, a git repository seeded with the example settings, the daemon, a registry of students, the sync
    service, the graph service on an embedded store, and the console: all on loopback, all inside one folder. Open the
    link that is printed: it signs you in to the console, once; `kemudi console login --up` prints the next one. Or edit
    a file in DIR/config, save it, and ask the graph service again. Ctrl-C ends everything.
    """
    from kemudi.cli.up.run import Choices, bring_up

    console = error_console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    choices = Choices(
        folder=folder,
        port=port,
        fresh=fresh,
        redis_url=redis_url,
        neo4j_uri=neo4j,
        neo4j_password_file=neo4j_password_file,
        registry=registry,
    )
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        with bring_up(choices, say) as running:
            if as_json:
                print_json(running.endpoints)
                sys.stdout.flush()
            for line in running.instructions():
                say(line)
            while True:
                running.watch()
                time.sleep(0.2)
    except Stopped:
        say("stopped")
