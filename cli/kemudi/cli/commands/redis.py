"""`kemudi redis`: what an administrator of Redis needs."""

import sys
from hashlib import sha256

import click

from kemudi.cli.options import env_option
from kemudi.cli.output import error_console, json_option, print_json
from kemudi.schema.errors import UsageError

_PLACEHOLDER = "#<SHA-256-OF-THE-PASSWORD-IN-HEX>"
_FEWEST_CHARACTERS = 16


@click.group("redis")
def redis_command() -> None:
    """What an administrator of Redis or Valkey needs."""


@redis_command.command(
    "acl",
    epilog="""\
Turn the user "default" off when the others work: ACL SETUSER default off

\b
Examples:
  kemudi redis acl --role reader --service graph --env prod
  kemudi redis acl --role daemon --env prod --password-stdin --format file < password""",
)
@click.option(
    "--role",
    required=True,
    type=click.Choice(["reader", "daemon", "graph-cache"]),
    help="reader: one service. daemon: who publishes. graph-cache: the graph service's own cache and rates.",
)
@env_option
@click.option("--service", help="The service whose acknowledgements a reader may write; needed for a reader.")
@click.option("--user", help="The name of the user; without it kemudi-ENV-SERVICE or kemudi-ENV-ROLE.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["commands", "file"]),
    default="commands",
    show_default=True,
    help="commands: for redis-cli. file: a line of an aclfile.",
)
@click.option(
    "--server",
    type=click.Choice(["7.0", "6.2"]),
    default="7.0",
    show_default=True,
    help="The oldest version it must run on; before 7.0 a reader cannot acknowledge. Every Valkey is 7.0.",
)
@click.option("--cluster", is_flag=True, help="Also let clients find their way in a cluster.")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from stdin; only its hash is printed."
)
@json_option
def acl_command(
    role: str,
    env: str,
    service: str | None,
    user: str | None,
    form: str,
    server: str,
    *,
    cluster: bool,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Print the least rights of one user, to be given to Redis: a service, the daemon, or the graph cache.

    Without --password-stdin a placeholder stands for the hash of the password; Redis refuses it as it is.
    """
    from kemudi.store import acl

    if role == "reader" and not service:
        raise UsageError("a reader acknowledges for one service", hint="Name it with --service.")
    rules = acl.rules_of(role, env, service=service or "", cluster=cluster, selectors=server != "6.2")
    name = acl.user_name(user or f"kemudi-{env}-{service if role == 'reader' else role}")
    password = _password_hash() if password_stdin else _PLACEHOLDER
    line = acl.user_line(name, password, rules, file=form == "file")
    if as_json:
        print_json({"user": name, "role": role, "rules": list(rules), "line": line})
        return
    click.echo(line)
    if not password_stdin:
        error_console().print(
            "Put the hash in place of the placeholder, or give the password with --password-stdin.",
            markup=False,
            highlight=False,
        )


def _password_hash() -> str:
    """The form in which Redis takes a password without seeing it. Raises UsageError."""
    password = sys.stdin.read().removesuffix("\n")
    if len(password) < _FEWEST_CHARACTERS:
        raise UsageError(
            f"the password on stdin has fewer than {_FEWEST_CHARACTERS} characters",
            hint="Redis hashes passwords without salt and without cost: only a long random one is safe.",
        )
    return "#" + sha256(password.encode()).hexdigest()
