"""`kemudi daemon` and `kemudi apply`: the long-running and the one-shot way to publish."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kemudi.cli.completion import environments
from kemudi.cli.options import DAEMON_PORT, file_option, redis_url_option
from kemudi.cli.output import json_option

Command = TypeVar("Command", bound=Callable[..., Any])


def source_options(command: Command) -> Command:
    """What both commands need to know: where the repo is, where Redis is, which keys to use."""
    for option in reversed(
        (
            click.option(
                "--repo",
                envvar="KEMUDI_REPO",
                default=".",
                show_default="this folder",
                metavar="PATH|URL",
                help="Config repo: a folder in a local repository, or the address of a remote.  [KEMUDI_REPO]",
            ),
            click.option(
                "--branch",
                envvar="KEMUDI_BRANCH",
                help="The branch to serve; without it the one that HEAD names at start.",
            ),
            click.option(
                "--env",
                "-e",
                "environments",
                multiple=True,
                envvar="KEMUDI_ENV",
                shell_complete=environments,
                help="Environment to serve, repeatable; all without it.  [KEMUDI_ENV]",
            ),
            click.option(
                "--worktree/--commits-only",
                "mode",
                default=None,
                callback=lambda _ctx, _param, chosen: {True: "worktree", False: "commit", None: None}[chosen],
                help="Serve uncommitted saves too, or never; without it kemudi.yaml decides for each environment.",
            ),
            redis_url_option,
            file_option("--identity", "KEMUDI_IDENTITY", "Age identity that opens the sealed values."),
            file_option("--signing-key", "KEMUDI_SIGNING_KEY", "Ed25519 key that signs what is published."),
            file_option("--keyset", "KEMUDI_KEYSET", "Keyset that seals secrets in Redis."),
            file_option(
                "--verify-key",
                "KEMUDI_VERIFY_KEY",
                "Further public keys whose manifests count, for a rotation.",
            ),
            file_option(
                "--allowed-signers",
                "KEMUDI_ALLOWED_SIGNERS",
                "OpenSSH allowed signers, for environments with `verify: ssh`.",
            ),
            file_option(
                "--gpg-home",
                "KEMUDI_GPG_HOME",
                "GnuPG folder whose keys may sign, for environments with `verify: gpg`.",
            ),
            file_option(
                "--state-dir", "KEMUDI_STATE_DIR", "The daemon's own folder: its local refs and pauses."
            ),
        )
    ):
        command = option(command)
    return command


@click.command(
    "daemon",
    epilog="""\b
Example:
  kemudi daemon --identity keys/identity.txt --signing-key keys/signing.key --keyset keys/keyset.json""",
)
@source_options
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Beyond loopback a token file is required."
)
@click.option("--port", default=DAEMON_PORT, show_default=True, type=click.IntRange(0, 65535))
@click.option("--poll-seconds", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True)
@click.option("--drift-seconds", type=click.FloatRange(0.5, 3600), default=30.0, show_default=True)
@file_option("--token-file", "KEMUDI_DAEMON_TOKEN", "Bearer token that callers must send.")
@file_option("--webhook-secret", "KEMUDI_WEBHOOK_SECRET", "Shared secret of POST /hooks/git.")
def daemon_command(**options: Any) -> None:  # one settings object, built in one place
    """Serve a config repo: watch git, check every commit, publish what is good to Redis.

    A bad commit is refused with file, line and column, and the last good one keeps serving. Keys are made by
    `kemudi secret keygen`. SIGTERM or Ctrl-C ends it cleanly; SIGHUP makes it look at git at once.
    """
    from kemudi.cli.daemon_settings import daemon_settings
    from kemudi.daemon.service import run

    sys.exit(run(daemon_settings(options)))


@click.command(
    "apply",
    epilog="""\b
Example:
  kemudi apply --env prod --json      # the variables name repo, Redis and keys, as for the daemon""",
)
@source_options
@json_option
def apply_command(*, as_json: bool, **options: Any) -> None:
    """Publish the current revision once and exit: for a pipeline that has no daemon.

    Exit code 1: an environment refused the revision; its findings are printed.
    """
    from kemudi.cli.daemon_settings import daemon_settings
    from kemudi.cli.output import data_console, print_json, short
    from kemudi.daemon.service import apply_once

    outcomes = [outcome.as_json() for outcome in apply_once(daemon_settings(options))]
    if as_json:
        print_json({"environments": outcomes})
    for outcome in [] if as_json else outcomes:
        applied = outcome["applied"] or {}
        data_console().print(
            f"{outcome['env']}: {short(applied.get('revision'))} {applied.get('generation', '')}"
        )
        for error in outcome["errors"]:
            data_console().print(
                f"  {error['file']}:{error['line']}:{error['column']}: {error['rule']} {error['message']}",
                markup=False,
            )
    if any(outcome["errors"] or not outcome["applied"] for outcome in outcomes):
        sys.exit(1)
