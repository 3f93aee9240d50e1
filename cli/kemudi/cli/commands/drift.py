"""`kemudi drift`: what Redis serves, compared with what git says."""

import sys

import click

from kemudi.cli.daemon_api import DaemonApi
from kemudi.cli.options import any_env_option, daemon_url_option
from kemudi.cli.output import data_console, json_option, print_json, table


@click.command(
    "drift",
    epilog="""\
Exit code 0: none. 1: drift was found (the daemon repairs it on its interval).

\b
Example:
  kemudi drift --env prod""",
)
@any_env_option
@daemon_url_option
@json_option
def drift_command(env: str | None, daemon_url: str, as_json: bool) -> None:
    """Compare what Redis serves now with what git says."""
    answer = DaemonApi(daemon_url, timeout=30).get("/drift", env=env)
    environments = answer["environments"]
    items = [(one["env"], item) for one in environments for item in one["drift"]]
    if as_json:
        print_json(answer)
    elif not items:
        data_console().print(f"no drift in {', '.join(one['env'] for one in environments)}")
    else:
        rows = [(name, item["category"] or "", item["key"] or "", item["kind"]) for name, item in items]
        data_console().print(table(("environment", "category", "key", "kind"), rows))
    if items:
        sys.exit(1)
