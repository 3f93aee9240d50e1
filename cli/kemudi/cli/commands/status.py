"""`kemudi status`: what is applied, what was refused, and who runs it."""

import sys
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from kemudi.cli.daemon_api import DaemonApi
from kemudi.cli.options import any_env_option, daemon_url_option
from kemudi.cli.output import age, data_console, fields, json_option, print_json, short, table
from kemudi.schema.errors import UsageError


@click.command(
    "status",
    epilog="""\
Exit code 0: every environment runs its newest revision. 1: something was refused, drifted or lags.

\b
Examples:
  kemudi status
  kemudi status --env prod --json""",
)
@any_env_option
@daemon_url_option
@json_option
def status_command(env: str | None, daemon_url: str, as_json: bool) -> None:
    """Show what is applied, what was refused, and who runs it."""
    answer = DaemonApi(daemon_url).get("/status")
    environments = [one for one in answer["environments"] if env in {None, one["env"]}]
    if env is not None and not environments:
        known = ", ".join(one["env"] for one in answer["environments"]) or "none"
        raise UsageError(f"the daemon serves no environment {env!r}; it serves: {known}")
    if as_json:
        print_json(answer | {"environments": environments})
    else:
        console = data_console()
        for one in environments:
            _print_environment(console, one)
    if not all(_is_fine(one) for one in environments):
        sys.exit(1)


def _is_fine(one: dict[str, Any]) -> bool:
    applied = one["applied"] or {}
    return (
        applied.get("revision") == one["attempted"]
        and not one["errors"]
        and not one["drift"]
        and all(client["state"] == "current" for client in one["clients"])
    )


def _print_environment(console: Console, one: dict[str, Any]) -> None:
    applied = one["applied"] or {}
    good = _is_fine(one)
    console.print(
        Text.assemble((one["env"], "bold"), "  ", ("up to date", "green") if good else ("look", "yellow"))
    )
    shown: dict[str, object] = {
        "applied": f"{short(applied.get('revision'))}  generation {applied.get('generation', '-')}"
        f"  {age(applied.get('at'))}",
    }
    if one["attempted"] != applied.get("revision"):
        shown["attempted"] = Text(f"{short(one['attempted'])}  not applied", style="red")
    if one["paused"]:
        shown["paused"] = f"{one['paused']['reason']} (until {one['paused']['until'] or 'resumed'})"
    # A finding that is listed below is not said a second time, and one message is said once.
    said = {
        "",
        *(
            f"{error['file']}:{error['line']}:{error['column']}: {error['message']}"
            for error in one["errors"]
        ),
    }
    for condition in one["conditions"]:
        if condition["message"] not in said:
            said.add(condition["message"])
            shown[condition["type"]] = f"{condition['reason']}: {condition['message']}"
    fields(console, shown)
    for error in one["errors"]:
        console.print(
            Text.assemble(
                "  ",
                (f"{error['file']}:{error['line']}:{error['column']}:", "bold"),
                " ",
                (error["rule"], "red"),
                " ",
                error["message"],
            )
        )
    for item in one["drift"]:
        name = item["key"] or item["category"] or "manifest"
        console.print(Text.assemble("  drift: ", (name, "bold"), f" {item['kind']}"))
    if one["clients"]:
        rows = [
            (
                client["service"],
                client["instance"],
                client["state"],
                short(client["revision"]),
                _client_note(client),
            )
            for client in one["clients"]
        ]
        console.print(table(("service", "instance", "state", "revision", ""), rows))
    console.print()


def _client_note(client: dict[str, Any]) -> str:
    pending = client["restart_pending"]
    notes = [client["reason"] or ""]
    if pending:
        notes.append("restart pending" if pending is True else f"restart pending: {', '.join(pending)}")
    return "; ".join(note for note in notes if note)
