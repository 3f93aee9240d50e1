"""`kemudi doctor`: check this machine and this configuration, and say what to fix."""

import sys
from pathlib import Path

import click
from rich.text import Text

from kemudi.cli.options import (
    DEFAULT_DAEMON_URL,
    daemon_url_option,
    file_option,
    redis_url_option,
    repo_option,
)
from kemudi.cli.output import data_console, json_option, print_json, table

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(
    "doctor",
    epilog="""\
Exit code 1: there is a problem. Warnings do not count.

\b
Examples:
  kemudi doctor
  kemudi doctor --identity keys/identity.txt --signing-key keys/signing.key --keyset keys/keyset.json""",
)
@repo_option
@redis_url_option
@daemon_url_option
@file_option("--verify-key", "KEMUDI_VERIFY_KEY", "Public key of the daemon.")
@file_option("--keyset", "KEMUDI_KEYSET", "Keyset of this process.")
@file_option("--identity", "KEMUDI_IDENTITY", "Age identity of the daemon.")
@file_option("--signing-key", "KEMUDI_SIGNING_KEY", "Signing key of the daemon.")
@json_option
def doctor_command(
    repo: Path,
    redis_url: str | None,
    daemon_url: str,
    verify_key: Path | None,
    keyset: Path | None,
    identity: Path | None,
    signing_key: Path | None,
    as_json: bool,
) -> None:
    """Check this machine and this configuration; say what to fix. Changes nothing."""
    from kemudi.cli import checks

    results = [
        checks.python(),
        checks.git(),
        checks.config_repo(repo),
        checks.private_file("identity", identity),
        checks.private_file("signing key", signing_key),
        checks.private_file("keyset", keyset),
        checks.public_file("verify key", verify_key),
        *checks.redis(redis_url),
        checks.daemon(daemon_url, asked=daemon_url != DEFAULT_DAEMON_URL),
    ]
    shown = [result for result in results if result is not None]
    if as_json:
        print_json({"checks": [result.as_json() for result in shown]})
    else:
        rows = [
            (Text(result.state, style=_STYLES[result.state]), result.name, result.message) for result in shown
        ]
        data_console().print(table(("", "check", "what was found"), rows))
    if any(result.state == "problem" for result in shown):
        sys.exit(1)
