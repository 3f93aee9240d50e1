"""`kemudi console`: the console and its REST API, local users, tokens, and one-time sign-in links."""

import sys
from pathlib import Path
from typing import Final

import click

from kemudi.cli.completion import categories, environments
from kemudi.cli.oidc import oidc_options, oidc_settings
from kemudi.cli.options import Command, daemon_url_option, repo_option
from kemudi.cli.output import error_console, json_option, print_json
from kemudi.schema.errors import UsageError
from kemudi.schema.manifest import Role

CONSOLE_PORT: Final = 8420
PATH: Final = click.Path(path_type=Path)


def state_option(command: Command) -> Command:
    """Where the console keeps sessions, users and its audit log."""
    return click.option(
        "--state",
        envvar="KEMUDI_STATE_DIR",
        type=PATH,
        default=Path("~/.local/state/kemudi/console"),
        show_default=True,
        help="Folder of sessions, local users, tokens and the audit log.  [KEMUDI_STATE_DIR]",
    )(command)


@click.group("console")
def console_command() -> None:
    """Run the console, and say who may use it.

    People get their roles in roles.yaml of the config repo; here they get a way to sign in.
    """


@console_command.command(
    "serve",
    epilog="""\b
Examples:
  kemudi console serve --repo settings
  kemudi console serve --public-url https://console.example.org --proxy 127.0.0.1 --proxy-header X-Forwarded-User""",
)
@repo_option
@daemon_url_option
@state_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen; with another address set --public-url.",
)
@click.option("--port", default=CONSOLE_PORT, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--public-url",
    default="",
    metavar="URL",
    help="How browsers reach it, behind a proxy: https://console.example.org",
)
@click.option(
    "--proxy-header",
    default="",
    metavar="NAME",
    help="Header in which a trusted proxy names the user, such as X-Forwarded-User.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Address of a proxy that is trusted with --proxy-header; repeatable.",
)
@click.option(
    "--daemon-token",
    envvar="KEMUDI_DAEMON_TOKEN",
    type=PATH,
    metavar="FILE",
    help="Bearer token that the daemon wants.  [KEMUDI_DAEMON_TOKEN]",
)
@oidc_options
def serve(
    repo: Path,
    daemon_url: str,
    state: Path,
    host: str,
    port: int,
    public_url: str,
    proxy_header: str,
    proxies: tuple[str, ...],
    daemon_token: Path | None,
    oidc_issuer: str,
    oidc_client: str,
    oidc_secret: Path | None,
    oidc_groups: str,
) -> None:
    """Serve the console and the REST API. SIGTERM or Ctrl-C ends it.

    Without any user, token, proxy or identity provider, only a one-time link opens it: `kemudi console login`.
    """
    from kemudi.console.runtime import serve as run
    from kemudi.console.settings import ConsoleSettings

    console = error_console()
    settings = ConsoleSettings(
        repo=repo,
        daemon_url=daemon_url,
        state=state.expanduser(),
        loopback=host in {"127.0.0.1", "::1", "localhost"},
        public_url=public_url.rstrip("/"),
        proxy_header=proxy_header,
        proxies=frozenset(proxies),
        daemon_token=daemon_token,
        oidc=oidc_settings(oidc_issuer, oidc_client, oidc_secret, oidc_groups),
    )
    if settings.oidc is not None and not (settings.loopback or settings.public_url):
        raise UsageError("an identity provider needs --public-url: it sends browsers back there")

    def say(url: str) -> None:
        console.print(f"console: {url}", markup=False, highlight=False, soft_wrap=True)

    sys.exit(run(settings, host=host, port=port, ready=say))


@console_command.command(
    "login",
    epilog="""\b
Examples:
  kemudi console login --up
  kemudi console login --repo settings --url https://console.example.org""",
)
@click.option(
    "--up",
    "folder",
    type=PATH,
    is_flag=False,
    flag_value=Path(".kemudi/up"),
    metavar="[DIR]",
    help="For a running `kemudi up`, by its folder; the options below are known then.",
)
@repo_option
@state_option
@click.option(
    "--url", default=f"http://127.0.0.1:{CONSOLE_PORT}", show_default=True, help="Where the console answers."
)
@json_option
def login(folder: Path | None, repo: Path, state: Path, url: str, as_json: bool) -> None:
    """Print a link that signs you in once, with all rights.

    Whoever can write to the state folder can do this, and nobody else.
    """
    from kemudi.cli.console_login import link_of_up, owner_link

    link = link_of_up(folder) if folder is not None else owner_link(repo, state.expanduser(), url.rstrip("/"))
    if as_json:
        print_json({"console_login": link})
    else:
        click.echo(link)


@console_command.group("user")
def user_group() -> None:
    """Local users, for machines without an identity provider. Their roles stand in roles.yaml."""


@user_group.command(
    "add",
    epilog="""\b
Example:
  kemudi console user add alpha --name "Alpha" --email alpha@example.org""",
)
@click.argument("login")
@click.option("--name", required=True, help="For people, and for the commits.")
@click.option("--email", required=True, help="For the commits, and to be named in roles.yaml.")
@click.option("--password-file", type=PATH, help="The password on its first line; without it you are asked.")
@state_option
@json_option
def user_add(
    login: str, name: str, email: str, password_file: Path | None, state: Path, as_json: bool
) -> None:
    """Add a local user, or give one a new password. It is stored as an argon2 hash."""
    from kemudi.console.access.accounts import set_user
    from kemudi.console.access.people import Person
    from kemudi.repo.people import Author

    author = Author(name, email)
    set_user(state.expanduser(), Person(login, author.name, author.email), _password(password_file))
    if as_json:
        print_json({"login": login, "name": author.name, "email": author.email})
    click.echo(f"{login} can sign in; give {email} a role in roles.yaml", err=True)


def _password(file: Path | None) -> str:
    """From a file, else from whoever sits at the terminal. Raises UsageError."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from error
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password", hint="Use --password-file FILE.")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@user_group.command(
    "remove",
    epilog="""\b
Example:
  kemudi console user remove alpha""",
)
@click.argument("login")
@state_option
@json_option
def user_remove(login: str, state: Path, as_json: bool) -> None:
    """Remove a local user; their sessions end at once."""
    from kemudi.console.access.accounts import remove_user

    if not remove_user(state.expanduser(), login):
        raise UsageError(f"there is no local user {login!r}")
    if as_json:
        print_json({"login": login, "removed": True})


@console_command.group("token")
def token_group() -> None:
    """Bearer tokens for programs that use the REST API."""


@token_group.command(
    "add",
    epilog="""\b
Example:
  kemudi console token add pipeline --role editor --env staging --days 30""",
)
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "editor", "approver", "admin"]), required=True)
@click.option(
    "--env",
    "environments",
    multiple=True,
    metavar="ENV",
    shell_complete=environments,
    help="Only this environment; repeatable. All without it.",
)
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="CATEGORY",
    shell_complete=categories,
    help="Only this category; repeatable. All without it.",
)
@click.option(
    "--days", default=90, show_default=True, type=click.IntRange(1, 3650), help="How long it works."
)
@state_option
@json_option
def token_add(
    name: str,
    role: Role,
    environments: tuple[str, ...],
    categories: tuple[str, ...],
    days: int,
    state: Path,
    as_json: bool,
) -> None:
    """Make a token and print it, for the only time. Its digest alone is stored."""
    from kemudi.console.access.accounts import add_token
    from kemudi.schema.manifest import RoleGrant

    grant = RoleGrant(name, role, environments, categories)
    token = add_token(state.expanduser(), name, grant, days=days)
    if as_json:
        print_json({"name": name, "token": token})
    else:
        click.echo(token)


@token_group.command(
    "remove",
    epilog="""\b
Example:
  kemudi console token remove pipeline""",
)
@click.argument("name")
@state_option
@json_option
def token_remove(name: str, state: Path, as_json: bool) -> None:
    """Revoke a token; the next request with it is refused."""
    from kemudi.console.access.accounts import remove_token

    if not remove_token(state.expanduser(), name):
        raise UsageError(f"there is no token {name!r}")
    if as_json:
        print_json({"name": name, "removed": True})
