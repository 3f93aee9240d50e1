"""`kemudi reconcile` and `kemudi accept-rewrite`: what an operator may ask of a running daemon."""

import click

from kemudi.cli.daemon_api import DaemonApi
from kemudi.cli.options import daemon_url_option, env_option
from kemudi.cli.output import data_console, json_option, print_json


@click.command(
    "reconcile",
    epilog="""\b
Example:
  kemudi reconcile && kemudi status""",
)
@daemon_url_option
@json_option
def reconcile_command(daemon_url: str, as_json: bool) -> None:
    """Ask the daemon to look at git now instead of at its next poll."""
    answer = DaemonApi(daemon_url, timeout=60).send("POST", "/reconcile")
    if as_json:
        print_json(answer)
    else:
        data_console().print("reconcile scheduled; `kemudi status` shows the outcome")


@click.command(
    "accept-rewrite",
    epilog="""\b
Example:
  kemudi accept-rewrite --env prod -m "a large file was taken out of history\"""",
)
@env_option
@click.option(
    "--reason", "-m", required=True, help="Why the history was rewritten; kept in the daemon's log."
)
@daemon_url_option
@json_option
def accept_rewrite_command(env: str, reason: str, daemon_url: str, as_json: bool) -> None:
    """Accept that the branch of ENV was rewritten, and serve it.

    After a force push, a rebase or a reset the daemon keeps the last good snapshot, because the new history does not
    contain what is live. This starts a new era with the rewritten one.
    """
    answer = DaemonApi(daemon_url, timeout=60).send("POST", "/accept-rewrite", {"env": env, "reason": reason})
    if as_json:
        print_json(answer)
    else:
        data_console().print(f"{env} accepts the rewritten history")
