"""`kemudi bulk`: many settings from one document, one commit."""

import json
from typing import BinaryIO, Final

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
from kemudi.schema.documents import JSON, read_document
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.secret import Secret
from kemudi.schema.state import ConfigState

_LARGEST: Final = 4 * 1024 * 1024


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
    content = _read(file)
    nested = layer is None and (env is None or _is_nested(start.state, content))
    edits = (
        _nested(start.state, content)
        if nested
        else _flat(start.state, layer_for(start.state, env, layer), content)
    )
    if unset:
        target = layer_for(start.state, env, layer)
        edits += [Edit(target, key, UNSET) for key in unset]
    if not edits:
        raise UsageError("the document names no settings")
    change(manner, edits, "bulk", expected=start.revision)


def _read(file: BinaryIO) -> dict[str, JSON]:
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise UsageError("the document is larger than 4 MiB")
    try:
        found = json.loads(data)
    except ValueError:
        document, findings = read_document(data, getattr(file, "name", "stdin"))
        if document is None or document.broken:
            raise FindingsError("the document cannot be read", findings) from None
        found = document.values
    if not isinstance(found, dict):
        raise UsageError("the document is no mapping of settings")
    return found


def _is_nested(state: ConfigState, content: dict[str, JSON]) -> bool:
    """Whether KEMUDI_ENV is set, but the document says itself where each value goes."""
    layers = state.manifest.layers if state.manifest is not None else ()
    return bool(content) and all(name in layers and isinstance(each, dict) for name, each in content.items())


def _nested(state: ConfigState, content: dict[str, JSON]) -> list[Edit]:
    edits: list[Edit] = []
    for layer, values in content.items():
        if not isinstance(values, dict):
            raise UsageError(
                f"{layer[:60]!r} is no layer with settings below it",
                hint="Name --env or --layer for a document of `KEY: value`.",
            )
        edits += _flat(state, layer, values)
    return edits


def _flat(state: ConfigState, layer: str, values: dict[str, JSON]) -> list[Edit]:
    return [
        Edit(layer, key, Secret(value) if contract_of(state, key).settings[key].sensitive else value)
        for key, value in values.items()
    ]
