"""`kemudi secret`: sealed values from the first key to the last rotation; one module per kind of work."""

from importlib import import_module
from typing import Final

import click

# name -> (module, one line of help): as in `kemudi --help`, no command is imported to be listed.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "keygen": ("keygen", "Make the keys of a daemon, or an identity for a person."),
    "set": ("writing", "Seal a value and write its line."),
    "edit": ("editing", "Edit the secrets of one file in your editor, in memory only."),
    "get": ("reading", "Open one value with your identity."),
    "status": ("checking", "List every sealed value and what is wrong with it; needs no key."),
    "rekey": ("renewing", "Seal stale lines anew for the recipients of now."),
    "rebind": ("renewing", "Follow a renamed setting."),
    "rotate-plan": ("leaving", "List what a recipient could ever read."),
    "rotate-keyset": ("rotating", "Replace the keys at rest in Redis while everything runs."),
    "guard": ("checking", "Refuse plaintext secrets in what is staged: for pre-commit."),
    "import-sops": ("exchange", "Take over a file that SOPS encrypted to age keys."),
    "export-sops": ("exchange", "Give a file out as SOPS writes it."),
    "textconv": ("reading", "Show sealed values in a diff as type and fingerprint."),
}


class SecretGroup(click.Group):
    """The sub-commands, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """In the order of the table: from the first secret to its rotation."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"{__name__}.{entry[0]}")
        command = getattr(module, cmd_name.replace("-", "_") + "_command")
        assert isinstance(command, click.Command)  # noqa: S101  # a wrong table is a bug, found by any test
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table as it stands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group("secret", cls=SecretGroup)
def secret_command() -> None:
    """Seal values in git so that only the daemon, and whom you name, can read them.

    Anyone can seal with the public keys in recipients.yaml; only a recipient's identity opens. A value is never an
    argument: it is asked for, or read from a file or from stdin.
    """
