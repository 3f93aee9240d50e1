"""A one-time link to the console for whoever runs this machine, under the name that git knows them by."""

import json
from pathlib import Path

from kemudi.schema.errors import UsageError


def owner_link(repo: Path, state: Path, url: str) -> str:
    """Make the link; its code is stored in the console's state folder as a digest."""
    from kemudi.console.access.once import make_link
    from kemudi.console.access.people import Person
    from kemudi.repo.layout import find
    from kemudi.repo.people import identity

    author = identity(find(repo))
    return make_link(state, url, Person("owner", author.name, author.email))


def link_of_up(folder: Path) -> str:
    """The same for the console of a running `kemudi up`. Raises UsageError when none runs there."""
    from kemudi.cli.up.layout import Layout

    layout = Layout(folder)
    try:
        console = json.loads(layout.endpoints.read_text(encoding="utf-8"))["console"]
    except (OSError, ValueError, KeyError):
        raise UsageError(f"no kemudi up runs in {folder}", hint="Start it, or name its folder.") from None
    return owner_link(layout.repo, layout.console, console)
