"""A one-time link to the console for whoever runs this machine, under the name that git knows them by."""

from pathlib import Path


def owner_link(repo: Path, state: Path, url: str) -> str:
    """Make the link; its code is stored in the console's state folder as a digest."""
    from kemudi.console.access.once import make_link
    from kemudi.console.access.people import Person
    from kemudi.repo.layout import find
    from kemudi.repo.porcelain import identity

    author = identity(find(repo))
    return make_link(state, url, Person("owner", author.name, author.email))
