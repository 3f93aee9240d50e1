"""`kemudi set` and `kemudi unset`: one setting, one line, one commit."""

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
    typed,
)
from kemudi.cli.completion import settings
from kemudi.schema.errors import UsageError


@click.command(
    "set",
    epilog="""\b
Examples:
  kemudi set SYNC_BATCH_SIZE 500 --env prod -m "the nightly batch times out"
  kemudi set GRAPH_HYBRID_WEIGHTS '{"collaborative": 0.7, "similarity": 0.3}' --layer base -m "better recall"
  kemudi set SYNC_TIMEOUT 7200 --env prod -m "bigger semester" --propose --push
  kemudi set TEMPERATURE_OFFSET --env dev -m "colder" -- -5""",
)
@click.argument("key", shell_complete=settings)
@click.argument("value")
@place_option
@change_options
def set_command(key: str, value: str, env: str | None, layer: str | None, manner: Manner) -> None:
    """Give KEY a VALUE in one environment or layer, as one commit.

    VALUE is read as the contract says: a text as it stands, everything else as JSON (true, 12, [1, 2], {"a": 1}). Only
    the one line changes. The plan is shown before; at a terminal you are asked.
    """
    start = desired(manner.repo)
    contract = contract_of(start.state, key)
    target = layer_for(start.state, env, layer)
    if contract.settings[key].sensitive:
        raise UsageError(
            f"{key} is sensitive: its value must not stand on a command line",
            hint=f"Use `kemudi secret set {key} --layer {target}`, which asks for it and seals it.",
        )
    change(manner, [Edit(target, key, typed(contract, key, value))], "set", expected=start.revision)


@click.command(
    "unset",
    epilog="""\b
Examples:
  kemudi unset SYNC_TIMEOUT --env prod -m "the default is enough again"
  kemudi unset SYNC_TIMEOUT --layer base --dry-run""",
)
@click.argument("key", shell_complete=settings)
@place_option
@change_options
def unset_command(key: str, env: str | None, layer: str | None, manner: Manner) -> None:
    """Take KEY out of one environment's overlay or layer, as one commit: the layer below counts again."""
    start = desired(manner.repo)
    target = layer_for(start.state, env, layer)
    change(manner, [Edit(target, key, UNSET)], "unset", expected=start.revision)
