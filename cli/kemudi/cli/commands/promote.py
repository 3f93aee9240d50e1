"""`kemudi promote` and `kemudi compare`: values from one environment to the next, and how two differ."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kemudi.cli.changing import UNSET, Edit, Manner, change, change_options, contract_of, desired, layer_for
from kemudi.cli.completion import environments, settings
from kemudi.cli.options import repo_option
from kemudi.cli.output import json_option, print_json, print_plain, show_value
from kemudi.repo.compare import Difference, compare
from kemudi.repo.plan import same_value
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope
from kemudi.schema.errors import UsageError
from kemudi.schema.state import ConfigState, ResolvedSetting


@click.command(
    "promote",
    epilog="""\b
Examples:
  kemudi promote --from staging --to prod SYNC_BATCH_SIZE -m "ran for a week"
  kemudi promote --from staging --to prod --all --dry-run""",
)
@click.argument("keys", metavar="[KEY]…", nargs=-1, shell_complete=settings)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="ENV",
    shell_complete=environments,
    help="Where the values run.",
)
@click.option(
    "--to", "target", required=True, metavar="ENV", shell_complete=environments, help="Where they shall run."
)
@click.option("--all", "everything", is_flag=True, help="Every setting that differs, but for secrets.")
@change_options
def promote_command(
    keys: tuple[str, ...], source: str, target: str, everything: bool, manner: Manner
) -> None:
    """Give an environment the values that another one has, as one commit.

    A value that the layers below give anyway is not written: the override is taken out instead. Secrets cannot be
    promoted: they are sealed for their environment.
    """
    start = desired(manner.repo)
    if bool(keys) == everything:
        raise UsageError("name the settings to promote, or --all")
    found = {each.key: each for each in compare(start.state, source, target)}
    for key in keys:
        if contract_of(start.state, key).settings[key].sensitive:
            hint = f"Seal it for {target}: kemudi secret set {key} --layer {layer_for(start.state, target, None)}"
            raise UsageError(
                f"{key} is sensitive: it is sealed for {source} and cannot be promoted", hint=hint
            )
    chosen = [found[key] for key in (keys or found) if key in found and not found[key].sensitive]
    layer = layer_for(start.state, target, None)
    edits = [Edit(layer, each.key, _wanted(start.state, target, layer, each)) for each in chosen]
    if not edits:
        print_plain(f"nothing to promote: {target} has these values already\n")
        return
    subject = (
        f"Promote {edits[0].key if len(edits) == 1 else f'{len(edits)} settings'} from {source} to {target}"
    )
    change(manner, edits, "promote", expected=start.revision, subject=subject)


@click.command(
    "compare",
    epilog="""\
Exit code 0: no difference. 1: there are differences, or secrets that may differ.

\b
Example:
  kemudi compare staging prod""",
)
@click.argument("left", metavar="ENV", shell_complete=environments)
@click.argument("right", metavar="ENV", shell_complete=environments)
@repo_option
@json_option
def compare_command(left: str, right: str, repo: Path, as_json: bool) -> None:
    """Show the settings that differ between two environments, as git has them.

    Secrets are compared without any key: the same sealed line is equal; whether two different ones hold the same value
    cannot be known.
    """
    found = compare(desired(repo).state, left, right)
    if as_json:
        print_json({"left": left, "right": right, "differences": [each.as_json() for each in found]})
    else:
        print_plain("".join(_lines(found, left, right)) or f"{left} and {right} have the same values\n")
    if found:
        sys.exit(1)


def _lines(found: tuple[Difference, ...], left: str, right: str) -> Iterator[str]:
    rows = [
        ("setting", left, right),
        *((each.key, _shown(each, each.left), _shown(each, each.right)) for each in found),
    ]
    if not found:
        return
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    for key, one, other in rows:
        yield f"{key:<{widths[0]}}  {one:<{widths[1]}}  {other}".rstrip() + "\n"


def _shown(difference: Difference, value: Any) -> str:
    if difference.sensitive:
        return "sealed (may differ)" if difference.state == "unknown" else ("sealed" if value else "not set")
    return show_value(value)


def _wanted(state: ConfigState, env: str, layer: str, each: Difference) -> Any:  # a value, or UNSET
    """The value itself, or UNSET when the layers below already say so."""
    contract = contract_of(state, each.key)
    now = state.resolve(env)[contract.category].settings.get(each.key)
    if now is not None and now.layer == layer and _below(now, contract.settings[each.key].default, each.left):
        return UNSET
    return UNSET if each.left_layer is None else each.left


def _below(now: ResolvedSetting, default: JSON, wanted: JSON) -> bool:
    below = now.overrides[0].value if now.overrides else default
    return not isinstance(below, Envelope) and same_value(below, wanted)
