"""`kemudi secret rotate-keyset`: new keys at rest while everything runs."""

from pathlib import Path

import click

from kemudi.cli.completion import categories
from kemudi.cli.options import daemon_url_option
from kemudi.cli.output import data_console, error_console, json_option, print_json


@click.command(
    "rotate-keyset",
    epilog="""\
Exit code 4: a reader did not take over the new keys in time. Run it again: it goes on from there.

\b
Examples:
  kemudi secret rotate-keyset --keyset keys/keyset.json
  kemudi secret rotate-keyset --keyset keys/keyset.json --category neo4j --timeout 600""",
)
@click.option(
    "--keyset",
    envvar="KEMUDI_KEYSET",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The daemon's keyset file; keyset-*.json beside it follow.  [KEMUDI_KEYSET]",
)
@click.option(
    "--service-keyset",
    "service_keysets",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The keyset file of a service that lies elsewhere, repeatable.",
)
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="CATEGORY",
    shell_complete=categories,
    help="Rotate the keys of this category alone, repeatable; all without it.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400),
    default=120.0,
    show_default=True,
    help="How long each wait for readers may take, in seconds.",
)
@daemon_url_option
@json_option
def rotate_keyset_command(
    keyset: Path,
    service_keysets: tuple[Path, ...],
    categories: tuple[str, ...],
    timeout: float,
    daemon_url: str,
    as_json: bool,
) -> None:
    """Replace the keys that seal secrets in Redis, with no restart and no failed read.

    A key is added; every live reader says that it knows it; then it seals, and what is served is sealed anew; when
    every live reader runs that, the old keys are retired. Daemon and clients read their keyset files again by
    themselves. Where a service keeps its file on another machine, bring it there while the command waits. A stopped
    run is taken up by the next one.
    """
    from kemudi.cli.daemon_api import DaemonApi
    from kemudi.cli.rotation import KeysetFiles, Rotation

    talk = error_console()
    sealing = Rotation(
        files=KeysetFiles.found(keyset, service_keysets),
        status=lambda: DaemonApi(daemon_url).get("/status"),
        categories=categories,
        timeout_seconds=timeout,
        say=lambda text: talk.print(text, markup=False, highlight=False, soft_wrap=True),
    ).run()
    if as_json:
        print_json({"sealing": list(sealing)})
    else:
        data_console().print(f"sealing now: {', '.join(sealing)}", markup=False, highlight=False)
