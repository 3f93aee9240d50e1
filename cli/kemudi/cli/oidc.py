"""How `kemudi console serve` is told of an identity provider."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kemudi.cli.options import Command
from kemudi.schema.errors import UsageError
from kemudi.schema.secret import Secret

if TYPE_CHECKING:
    from kemudi.console.access.oidc import OidcSettings

SECRET_VARIABLE: Final = "KEMUDI_OIDC_CLIENT_SECRET"  # noqa: S105  # the name of it


def oidc_options(command: Command) -> Command:
    """The provider, and as whom the console asks it."""
    for option in (
        click.option(
            "--oidc-issuer",
            envvar="KEMUDI_OIDC_ISSUER",
            default="",
            metavar="URL",
            help="Let people sign in with this OpenID Connect provider.  [KEMUDI_OIDC_ISSUER]",
        ),
        click.option(
            "--oidc-client",
            envvar="KEMUDI_OIDC_CLIENT",
            default="",
            metavar="ID",
            help="What the provider calls the console; its way back is <console>/sign-in/oidc/back.  "
            "[KEMUDI_OIDC_CLIENT]",
        ),
        click.option(
            "--oidc-secret",
            envvar="KEMUDI_OIDC_SECRET_FILE",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"The client's secret on the first line; else it is taken from {SECRET_VARIABLE}, and without "
            "either there is PKCE alone.  [KEMUDI_OIDC_SECRET_FILE]",
        ),
        click.option(
            "--oidc-groups",
            envvar="KEMUDI_OIDC_GROUPS",
            default="groups",
            show_default=True,
            metavar="CLAIM",
            help="Which claim lists the groups, for `group:NAME` in roles.yaml.  [KEMUDI_OIDC_GROUPS]",
        ),
    )[::-1]:
        command = option(command)
    return command


def oidc_settings(issuer: str, client: str, secret: Path | None, groups: str) -> "OidcSettings | None":
    """What the options say; None without a provider. Raises UsageError for half of it."""
    from kemudi.console.access.oidc import OidcSettings

    if not issuer and not client:
        return None
    if not issuer or not client:
        raise UsageError("an identity provider needs both --oidc-issuer and --oidc-client")
    return OidcSettings(issuer, client, _secret(secret), groups)


def _secret(file: Path | None) -> Secret[str] | None:
    if file is None:
        said = os.environ.get(SECRET_VARIABLE, "")
    else:
        try:
            said = file.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"{file} cannot be read") from None
        if not said:
            raise UsageError(f"the first line of {file} is empty")
    return Secret(said) if said else None
