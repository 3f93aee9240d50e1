"""`kemudi unused`: settings that nobody reads, by the code and by what running clients say."""

import sys
from pathlib import Path
from typing import Any

import click

from kemudi.cli.options import any_env_option, daemon_url_option, repo_option
from kemudi.cli.output import data_console, error_console, json_option, print_json, table


@click.command(
    "unused",
    epilog="""\
Exit code 0: none is known to be unused. 1: some are. 2: no such path, no config repo.

\b
Example:
  kemudi unused src --env prod""",
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@any_env_option
@repo_option
@daemon_url_option
@json_option
def unused_command(
    paths: tuple[Path, ...], env: str | None, repo: Path, daemon_url: str, as_json: bool
) -> None:
    """List the settings that neither the Python code in PATHS mentions nor a running client has read.

    What clients have read is known from their acknowledgements, which the daemon collects. Where no code is given, or
    no daemon answers, or no client runs, that side is said to be unknown; a setting is unused only by what is known.
    """
    from kemudi.cli.scanning import scan
    from kemudi.cli.workspace import environment_of, open_workspace

    workspace = open_workspace(repo)
    if env is not None:
        environment_of(workspace, env)
    category_of = workspace.state.category_of
    mentioned = scan(paths, tests=False).mentioned if paths else None
    read, why = _read_by_clients(daemon_url, env)
    rows = [
        {
            "key": key,
            "category": category,
            "in_code": None if mentioned is None else key in mentioned,
            "read_by": None if read is None else sorted(read.get(key, ())),
        }
        for key, category in sorted(category_of.items(), key=lambda pair: (pair[1], pair[0]))
    ]
    unused = [row for row in rows if _is_unused(row)]
    if as_json:
        print_json(
            {"unused": unused, "settings": rows, "code": mentioned is not None, "clients": read is not None}
        )
    else:
        if unused:
            shown = [
                (row["key"], row["category"], _said(row["in_code"]), _said(row["read_by"])) for row in unused
            ]
            data_console().print(table(("setting", "category", "in code", "read by clients"), shown))
        talk = error_console()
        if mentioned is None:
            talk.print("in code: unknown, no path was given", highlight=False)
        if read is None:
            talk.print(f"read by clients: unknown, {why}", markup=False, highlight=False, soft_wrap=True)
        talk.print(f"{len(unused)} of {len(rows)} settings are unused by what is known", highlight=False)
    if unused:
        sys.exit(1)


def _read_by_clients(daemon_url: str, env: str | None) -> tuple[dict[str, set[str]] | None, str]:
    """Key → services that have read it; None where that cannot be known, and why."""
    from kemudi.cli.daemon_api import DaemonApi
    from kemudi.schema.errors import KemudiError

    try:
        answer = DaemonApi(daemon_url).get("/status")
    except KemudiError as error:
        return None, str(error)
    clients = [
        client for one in answer["environments"] if env in {None, one["env"]} for client in one["clients"]
    ]
    if not clients:
        return None, "no client runs"
    found: dict[str, set[str]] = {}
    for client in clients:
        for key in client.get("keys_read", ()):
            found.setdefault(key, set()).add(client["service"])
    return found, ""


def _is_unused(row: dict[str, Any]) -> bool:
    known = [bool(answer) for answer in (row["in_code"], row["read_by"]) if answer is not None]
    return bool(known) and not any(known)


def _said(answer: object) -> str:
    return "unknown" if answer is None else "no"
