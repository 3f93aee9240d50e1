"""`kemudi secret`: sealed values from the first key to the last rotation; one module per kind of work."""

from typing import Final

import click

from kemudi.cli.lazy import LazyGroup

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


@click.group("secret", cls=LazyGroup, table=COMMANDS, package=__name__)
def secret_command() -> None:
    """Seal values in git so that only the daemon, and whom you name, can read them.

    Anyone can seal with the public keys in recipients.yaml; only a recipient's identity opens. A value is never an
    argument: it is asked for, or read from a file or from stdin.
    """
