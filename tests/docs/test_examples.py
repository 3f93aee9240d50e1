"""What the documentation shows is run, and what it names exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from kemudi.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?m)^( *)```(\w+)\n(.*?)^\1```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    found = []
    for indent, name, text in BLOCK.findall(page.read_text()):
        if name == language:
            found.append("\n".join(line.removeprefix(indent) for line in text.splitlines()))
    return found


def commands_shown() -> list[tuple[str, str]]:
    """Each `kemudi …` line of a console block, continuation lines joined."""
    shown = []
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                text = line.removeprefix("$ ").split("  #")[0].strip()
                if text.startswith("kemudi "):
                    shown.append((page.name, text))
    return shown


@pytest.mark.parametrize(("page", "line"), commands_shown())
def test_every_command_shown_is_one_that_the_program_understands(page, line):
    """The words parse: the command exists, and so do its options."""
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="kemudi")
    while isinstance(command, click.Group):
        if command is cli:
            with cli.make_context("kemudi", list(words), resilient_parsing=True) as context:
                words = [*context._protected_args, *context.args]
        name, found, words = command.resolve_command(context, words)
        assert found is not None, f"{page}: {line}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    parser_context = click.Context(command, info_name=command.name, parent=context)
    command.make_parser(parser_context).parse_args(list(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    """Relative links name files that exist."""
    broken = [
        target
        for target in LINK.findall(page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_python_examples_for_readers_of_settings_run(monkeypatch):
    """The page for service developers, top to bottom, against the client's own read path."""
    import kemudi.client
    from kemudi.client.testing import InMemoryClient
    from kemudi.graph.settings import CONTRACTS

    client = InMemoryClient({"SYNC_BATCH_SIZE": 500, "GRAPH_CLASSMATES_LIMIT": 5}, contracts=CONTRACTS)
    monkeypatch.setattr(kemudi.client, "connect", lambda *_args, **_options: client)
    source = "\n".join(blocks(ROOT / "docs" / "how-to" / "read-settings.md", "python"))
    names: dict[str, object] = {}
    exec(compile(source, "read-settings.md", "exec"), names)
    assert names["limit"] == 5


def test_every_command_is_in_the_reference():
    """docs/reference/commands.md is what `scripts/docs` writes."""
    from kemudi.cli.reference import commands_page

    assert (ROOT / "docs" / "reference" / "commands.md").read_text() == commands_page()


def test_the_help_of_the_program_names_every_command_without_importing_one():
    """`kemudi --help` stays quick: the table is the help."""
    text = cli.get_help(click.Context(cli, info_name="kemudi"))
    assert all(name in text for name in COMMANDS)
