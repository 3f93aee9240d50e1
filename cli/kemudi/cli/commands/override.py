"""`kemudi override`: break-glass. A value above git for a while, by the daemon, with a reason and an end."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from kemudi.cli.commands.pause import Until
from kemudi.cli.completion import settings
from kemudi.cli.daemon_api import DaemonApi
from kemudi.cli.options import any_env_option, daemon_url_option, env_option, repo_option
from kemudi.cli.output import data_console, json_option, print_json, show_value, table


@click.group("override")
def override_command() -> None:
    """Put a value above git for a while, when a pull request would come too late or the git host is away.

    Allowed where a break-glass policy names the setting. The daemon serves it at once, shows it as drift, and takes it
    back at its end, or as soon as git says the same. It works while publishing is paused. Secrets are never overridden.
    """


@override_command.command(
    "set",
    epilog="""\b
Example:
  kemudi override set SYNC_PAUSED true --env prod --until 2h -m "the registry is overloaded\"""",
)
@click.argument("key", shell_complete=settings)
@click.argument("value")
@env_option
@click.option(
    "--until", type=Until(), required=True, help="When it ends by itself: 30min, 2h, or an RFC 3339 time."
)
@click.option("--reason", "-m", required=True, help="Why; it stands in the status and in the daemon's log.")
@click.option("--author", help="Who you are, `Name <address>`.  [default: as git knows you]")
@repo_option
@daemon_url_option
@json_option
def set_override(
    key: str,
    value: str,
    env: str,
    until: datetime,
    reason: str,
    author: str | None,
    repo: Path,
    daemon_url: str,
    as_json: bool,
) -> None:
    """Override KEY in ENV with VALUE: text, or JSON for every other type.

    The type is that of the contract when the config repo is here; without it, what reads as JSON is JSON.
    """
    end = until.isoformat(timespec="seconds").replace("+00:00", "Z")
    told: dict[str, object] = {
        "env": env,
        "key": key,
        "value": _typed(repo, key, value),
        "reason": reason,
        "author": author or _author(repo),
        "until": end,
    }
    answer = DaemonApi(daemon_url).send("PUT", "/overrides", told)
    if as_json:
        print_json(answer)
        return
    served = any(each["key"] == key and each["served"] for each in answer["overrides"])
    state = "is served" if served else "is written down, and served as soon as this daemon can publish"
    data_console().print(f"{key} in {env} {state}, until {end}: {reason}", markup=False, soft_wrap=True)


@override_command.command(
    "end",
    epilog="""\b
Example:
  kemudi override end SYNC_PAUSED --env prod -m "it is quiet again\"""",
)
@click.argument("key", shell_complete=settings)
@env_option
@click.option("--reason", "-m", default="No longer needed.", show_default=True, help="Why.")
@daemon_url_option
@json_option
def end_override(key: str, env: str, reason: str, daemon_url: str, as_json: bool) -> None:
    """End the override of KEY in ENV before its time. What git says is served again."""
    told: dict[str, object] = {"env": env, "key": key, "reason": reason}
    answer = DaemonApi(daemon_url).send("DELETE", "/overrides", told)
    if as_json:
        print_json(answer)
    else:
        data_console().print(f"{key} in {env} is what git says again", markup=False)


@override_command.command(
    "list",
    epilog="""\b
Example:
  kemudi override list --env prod""",
)
@any_env_option
@daemon_url_option
@json_option
def list_overrides(env: str | None, daemon_url: str, as_json: bool) -> None:
    """List the overrides in force."""
    answer = DaemonApi(daemon_url).get("/overrides", env=env)
    if as_json:
        print_json(answer)
        return
    rows = [_row(one["env"], each) for one in answer["environments"] for each in one["overrides"]]
    if rows:
        data_console().print(table(("env", "setting", "value", "until", "by", "why", ""), rows))
    else:
        data_console().print("nothing is overridden")


def _row(env: str, each: dict[str, Any]) -> tuple[str, ...]:
    waiting = "" if each["served"] else "not served yet"
    return env, each["key"], show_value(each["value"]), each["until"], each["author"], each["reason"], waiting


def _typed(repo: Path, key: str, text: str) -> object:
    from kemudi.cli.changing import typed
    from kemudi.cli.workspace import find_root, open_workspace
    from kemudi.schema.errors import UsageError

    try:
        find_root(repo)
    except UsageError:
        return _by_look(text)
    state = open_workspace(repo).state
    category = state.category_of.get(key)
    # A key that is not known here may be known where the daemon is; it says so if not.
    return _by_look(text) if category is None else typed(state.contracts[category], key, text)


def _by_look(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _author(repo: Path) -> str:
    from kemudi.repo.layout import Layout
    from kemudi.repo.people import identity

    # The user's own configuration answers, whatever repository this is, if any.
    person = identity(Layout(repo / ".git", repo / ".git", repo))
    return f"{person.name} <{person.email}>"
