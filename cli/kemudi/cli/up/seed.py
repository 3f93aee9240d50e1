"""The scratch config repo of `kemudi up`: the worked example with recipients and a password of its own."""

import secrets
import shutil
from pathlib import Path
from typing import Final

from kemudi.cli.example import example_folder
from kemudi.cli.keys import KeyFiles, make_keys
from kemudi.cli.sealing import reseal, write_recipients
from kemudi.cli.up.layout import Layout
from kemudi.cli.workspace import open_workspace
from kemudi.repo.edits import set_value
from kemudi.repo.layout import find
from kemudi.repo.porcelain import KEMUDI, commit_all, identity, initialise

SERVICES: Final = ("graph", "sync")
PASSWORD_KEY: Final = "NEO4J_PASSWORD"  # noqa: S105  # a setting's name


def store_keys(layout: Layout) -> KeyFiles:
    """The keys of this folder, made on the first run."""
    state = open_workspace(example_folder()).state
    services = tuple(state.manifest.services) if state.manifest is not None else ()
    recipient_file = layout.keys / "recipient.txt"
    if recipient_file.is_file():
        return KeyFiles(layout.keys, recipient_file.read_text(encoding="utf-8").strip(), services)
    # A run that ended between two key files is begun anew: nothing is sealed to them before the marker is there.
    shutil.rmtree(layout.keys, ignore_errors=True)
    keys = make_keys(layout.keys, state, bundles=[SERVICES])
    recipient_file.write_text(keys.recipient + "\n", encoding="utf-8")
    return keys


def seed(layout: Layout, keys: KeyFiles, neo4j: tuple[str, str] | None) -> str:
    """Make the scratch repository when it is not there; return one line that says what it is.

    With `neo4j` (URI, password) these two are the settings; else a generated password is sealed, so that the example
    has a secret that this folder's daemon alone can open.
    """
    if (layout.repo / ".git").is_dir():
        return f"{layout.repo}, as you left it"
    building = layout.repo.with_name("config.new")
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(example_folder(), building)
    initialise(building, branch="main")
    write_recipients(building, keys.recipient)
    uri, password = neo4j or (None, secrets.token_urlsafe(24))
    if uri is not None:
        _set_uri(building, uri)
    reseal(building, PASSWORD_KEY, password)
    _allow_commits(building)
    commit_all(building, "Start from the worked example\n\nRecipients and password are of this machine.")
    building.rename(layout.repo)
    return f"{layout.repo}, seeded from the worked example"


def _allow_commits(folder: Path) -> None:
    """Give the scratch repository an author of its own where the machine has none, so that `git commit` works."""
    if identity(find(folder)) == KEMUDI:
        with (folder / ".git" / "config").open("a", encoding="utf-8") as config:
            config.write(f"[user]\n\tname = {KEMUDI.name}\n\temail = {KEMUDI.email}\n")


def _set_uri(folder: Path, uri: str) -> None:
    set_value(folder / "dev" / "neo4j.yaml", "NEO4J_URI", uri)
