"""What the shell may complete: real environments and real settings, read from the config repo at hand."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kemudi.schema.errors import KemudiError

if TYPE_CHECKING:  # every command imports this module, and few of them read the settings
    from kemudi.schema.state import ConfigState


def environments(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of environments. Nothing where there is no config repo: completion never fails."""
    state = _state(ctx)
    names = (
        [] if state is None or state.manifest is None else [each.name for each in state.manifest.environments]
    )
    return _beginning(incomplete, names)


def layers(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of layers."""
    state = _state(ctx)
    names = () if state is None or state.manifest is None else state.manifest.layers
    return _beginning(incomplete, names)


def categories(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of categories."""
    state = _state(ctx)
    names = [] if state is None else sorted(state.contracts)
    return _beginning(incomplete, names)


def settings(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Keys of settings, whatever the case typed so far."""
    state = _state(ctx)
    keys = [] if state is None else sorted(state.category_of)
    return _beginning(incomplete.upper(), keys)


def sensitive_settings(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Keys of the settings whose values are sealed."""
    state = _state(ctx)
    keys = set() if state is None else {key for each in state.contracts.values() for key in each.sensitive}
    return _beginning(incomplete.upper(), sorted(keys))


def _beginning(typed: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(typed)]


def _state(ctx: click.Context) -> "ConfigState | None":
    from kemudi.cli.workspace import open_workspace

    path = ctx.params.get("repo") or os.environ.get("KEMUDI_REPO") or "."
    try:
        return open_workspace(Path(path)).state
    except (KemudiError, OSError):
        return None
