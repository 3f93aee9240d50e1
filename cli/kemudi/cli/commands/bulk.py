"""`kemudi bulk`: many settings from one document, one commit."""

from typing import BinaryIO

import click

from kemudi.cli.changing import (
    UNSET,
    Edit,
    Manner,
    change,
    change_options,
    contract_of,
    desired,
    layer_for,
    place_option,
)
from kemudi.cli.completion import settings
from kemudi.repo.bulk import LARGEST, Given, read_bulk
from kemudi.schema.errors import UsageError
from kemudi.schema.secret import Secret
from kemudi.schema.state import ConfigState


@click.command(
    "bulk",
    epilog="""\b
Examples:
  kemudi bulk values.yaml --env prod -m "sizes of the new machines"
  echo '{"prod": {"SYNC_TIMEOUT": 7200}, "base": {"SYNC_RETRY_ATTEMPTS": 5}}' | kemudi bulk - -m "bigger semester"
  kemudi bulk values.yaml --env dev --unset SYNC_PARALLELISM -m "back to the default\"""",
)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--unset",
    "unset",
    multiple=True,
    metavar="KEY",
    shell_complete=settings,
    help="Also take this setting out; with --env or --layer.",
)
@place_option
@change_options
def bulk_command(
    file: BinaryIO, unset: tuple[str, ...], env: str | None, layer: str | None, manner: Manner
) -> None:
    """Set many settings from FILE (YAML or JSON, `-` for stdin), all or none, as ONE commit.

    With --env or --layer the document is `KEY: value`; without, it is `layer: {KEY: value}`. Sensitive values are
    sealed on the way; keep such a file out of git.
    """
    start = desired(manner.repo)
    bulk = read_bulk(file.read(LARGEST + 1), getattr(file, "name", "stdin"))
    layers = start.state.manifest.layers if start.state.manifest is not None else ()
    if layer is None and (env is None or bulk.is_nested(layers)):
        edits = [_edit(start.state, str(each.layer), each) for each in bulk.nested()]
    else:
        target = layer_for(start.state, env, layer)
        edits = [_edit(start.state, target, each) for each in bulk.flat()]
    if unset:
        target = layer_for(start.state, env, layer)
        edits += [Edit(target, key, UNSET) for key in unset]
    if not edits:
        raise UsageError("the document names no settings")
    change(manner, edits, "bulk", expected=start.revision)


def _edit(state: ConfigState, layer: str, given: Given) -> Edit:
    sensitive = contract_of(state, given.key).settings[given.key].sensitive
    return Edit(layer, given.key, Secret(given.value) if sensitive else given.value)
