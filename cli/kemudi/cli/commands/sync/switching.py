"""`kemudi sync pause` and `resume`: the setting that holds the sync, as one commit."""

from typing import Final

import click

from kemudi.cli.changing import (
    Edit,
    Manner,
    change,
    change_options,
    contract_of,
    desired,
    layer_for,
    place_option,
)

_SWITCH: Final = "SYNC_PAUSED"


@click.command(
    "pause",
    epilog="""\b
Example:
  kemudi sync pause --env prod -m "the registry is overloaded\"""",
)
@place_option
@change_options
def pause_command(env: str | None, layer: str | None, manner: Manner) -> None:
    """Stop the sync after its present batch, as one commit that sets SYNC_PAUSED.

    It waits there, however long, and goes on with the next batch after `kemudi sync resume`. To stop it without a
    commit, until a time that you name: `kemudi override set SYNC_PAUSED true`.
    """
    _switch(env, layer, manner, on=True)


@click.command(
    "resume",
    epilog="""\b
Example:
  kemudi sync resume --env prod -m "it is quiet again\"""",
)
@place_option
@change_options
def resume_command(env: str | None, layer: str | None, manner: Manner) -> None:
    """Let a paused sync go on, as one commit. An override of SYNC_PAUSED ends by `kemudi override end`."""
    _switch(env, layer, manner, on=False)


def _switch(env: str | None, layer: str | None, manner: Manner, *, on: bool) -> None:
    start = desired(manner.repo)
    contract_of(start.state, _SWITCH)
    edit = Edit(layer_for(start.state, env, layer), _SWITCH, on)
    change(manner, [edit], "set", expected=start.revision)
