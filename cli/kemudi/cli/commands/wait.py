"""`kemudi wait`: the gate of a pipeline. Returns when every live client runs a revision."""

import sys
from typing import Any, Final

import click

from kemudi.cli.daemon_api import DaemonApi
from kemudi.cli.options import daemon_url_option, env_option
from kemudi.cli.output import data_console, json_option, print_json, short, table

NOT_IN_TIME: Final = 1
REJECTED: Final = 4


@click.command(
    "wait",
    epilog="""\
Exit code 0: applied, and every live client runs it or a descendant. 1: not in time, or a client
refused. 3: the daemon is away. 4: the revision was rejected or is not on the branch.

\b
Examples:
  kemudi wait HEAD --env prod
  kemudi wait 3f2a91c --env prod --timeout 120 --json""",
)
@click.argument("revision")
@env_option
@click.option(
    "--timeout", type=click.FloatRange(0, 3600), default=30.0, show_default=True, help="Seconds to wait."
)
@daemon_url_option
@json_option
def wait_command(revision: str, env: str, timeout: float, daemon_url: str, as_json: bool) -> None:
    """Wait until every live client of ENV runs REVISION (any git name) or a descendant; name who does not."""
    answer = DaemonApi(daemon_url).get(
        "/wait", wait=timeout, env=env, revision=revision, timeout=str(timeout)
    )
    if as_json:
        print_json(answer)
    else:
        _print(answer, env)
    if answer.get("state") in {"rejected", "unknown-revision"}:
        sys.exit(REJECTED)
    if not answer["converged"]:
        sys.exit(NOT_IN_TIME)


def _print(answer: dict[str, Any], env: str) -> None:
    console = data_console()
    served = short(answer["served_revision"])
    if answer["converged"]:
        count = len(answer["clients"])
        console.print(f"{env} runs {served}: {count} live client{'' if count == 1 else 's'}, none behind")
        return
    console.print(f"{env} does not run {short(answer['revision'])} everywhere; it serves {served}")
    if answer.get("message"):
        console.print(answer["message"], markup=False)
    late = [client for client in answer["clients"] if client["state"] != "current"]
    rows = [(c["service"], c["instance"], c["state"], short(c["revision"]), c["reason"] or "") for c in late]
    if rows:
        console.print(table(("service", "instance", "state", "revision", "reason"), rows))
