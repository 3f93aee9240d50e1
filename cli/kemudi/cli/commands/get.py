"""`kemudi get`: one value, from git, and whether Redis serves the same."""

from pathlib import Path
from typing import Any

import click

from kemudi.cli.completion import settings
from kemudi.cli.options import env_option, file_option, redis_url_option, repo_option
from kemudi.cli.output import data_console, json_option, print_json, show_value


@click.command(
    "get",
    epilog="""\b
Examples:
  kemudi get SYNC_BATCH_SIZE --env prod
  kemudi get SYNC_BATCH_SIZE --env prod --json      # with its source, and whether it is live""",
)
@click.argument("key", shell_complete=settings)
@env_option
@repo_option
@redis_url_option
@file_option(
    "--verify-key", "KEMUDI_VERIFY_KEY", "Public key of the daemon; with it the served value is compared."
)
@json_option
def get_command(
    key: str, env: str, repo: Path, redis_url: str | None, verify_key: Path | None, as_json: bool
) -> None:
    """Print the value of KEY in ENV as git has it. A sensitive value is never printed."""
    from kemudi.cli.workspace import describe, workspace_for

    workspace = workspace_for(repo, env)
    answer: dict[str, Any] = describe(workspace, env, key)
    answer["live"] = _is_live(answer, env, redis_url, verify_key)
    if as_json:
        print_json(answer)
        return
    shown = "***" if answer["sensitive"] else show_value(answer["value"])
    data_console().print(shown, markup=False, highlight=False)


def _is_live(answer: dict[str, Any], env: str, redis_url: str | None, verify_key: Path | None) -> bool | None:
    """True or False when Redis could be asked and the value may be compared; None when unknown."""
    if redis_url is None or verify_key is None or answer["sensitive"]:
        return None
    from kemudi.cli.served import served_category
    from kemudi.schema.errors import KemudiError

    try:
        category = served_category(env, redis_url, verify_key, answer["category"])
    except KemudiError:
        return None
    if category is None:
        return False
    served = category.values if answer["key"] in category.values else category.defaults
    return answer["key"] in served and bool(served[answer["key"]] == answer["value"])
