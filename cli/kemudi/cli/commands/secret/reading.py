"""`kemudi secret get` and `textconv`: what opens a value, and shows it only when told to."""

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from kemudi.cli.commands.secret.options import (
    identities_of,
    identity_option,
    layer_option,
    needed_identities,
)
from kemudi.cli.completion import environments, sensitive_settings
from kemudi.cli.options import repo_option
from kemudi.cli.output import data_console, fields, json_option, print_json, show_value
from kemudi.schema.errors import RefusedError, UsageError


@click.command(
    "get",
    epilog="""\b
Example:
  kemudi secret get NEO4J_PASSWORD --env prod --identity ~/.kemudi.txt""",
)
@click.argument("key", shell_complete=sensitive_settings)
@layer_option("The layer whose line is opened.", required=False)
@click.option(
    "--env",
    "-e",
    envvar="KEMUDI_ENV",
    metavar="ENV",
    shell_complete=environments,
    help="Instead of a layer: the line that counts in this environment.  [KEMUDI_ENV]",
)
@click.option("--reveal", is_flag=True, help="Print the value itself, and nothing else.")
@identity_option
@repo_option
@json_option
def get_command(
    key: str,
    layer: str | None,
    env: str | None,
    reveal: bool,
    identity: Path | None,
    repo: Path,
    as_json: bool,
) -> None:
    """Open one value of the files at hand with your identity, and say whether that works.

    Type, place and a fingerprint are printed: equal fingerprints mean equal values, for you alone, since your identity
    is the key of it. The value is printed only with --reveal; redirect it rather than read it from the screen.
    """
    from kemudi.cli.sealing import find_stored
    from kemudi.cli.workspace import open_workspace
    from kemudi.repo.sealing import open_stored, sensitive_setting
    from kemudi.repo.textconv import fingerprint

    identities = needed_identities(identity)
    if layer is not None and _is_from_variable("env"):
        env = None
    state = open_workspace(repo).state
    _, spec = sensitive_setting(state, key)
    stored = find_stored(state, key, layer, env)
    value = open_stored(state, stored, identities).reveal()
    found: dict[str, object] = {
        "key": key,
        "layer": stored.layer,
        "source": {"file": stored.place.file, "line": stored.place.line},
        "type": spec.type,
        "fingerprint": fingerprint(identities, key, value),
        "value": value if reveal else None,
    }
    if as_json:
        print_json(found)
    elif reveal:
        click.echo(show_value(value), nl=sys.stdout.isatty())
    else:
        shown = {"layer": stored.layer, "place": str(stored.place), "type": spec.type}
        fields(data_console(), shown | {"fingerprint": found["fingerprint"], "value": "*** (--reveal)"})


def _is_from_variable(parameter: str) -> bool:
    """Whether nobody wrote it on this command line: what was written there counts more."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source in {ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP}


@click.command(
    "textconv",
    epilog="""\b
Example:
  kemudi secret textconv prod/neo4j.yaml""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reveal", is_flag=True, help="Show the values themselves.")
@identity_option
def textconv_command(file: Path, reveal: bool, identity: Path | None) -> None:
    """Print FILE with each sealed value as its type and fingerprint; git calls this to show a diff.

    Without an identity the fingerprint is that of the ciphertext. With one it is that of the value, keyed by the
    identity, so that a value that was only sealed anew shows no difference.

    Set up once per clone: `git config diff.kemudi.textconv "kemudi secret textconv"`; the line `*.yaml diff=kemudi`
    stands in .gitattributes. It refuses to work while cachetextconv is on: git would keep the opened text in its
    object store.
    """
    from kemudi.repo.textconv import caching_driver, shown

    driver = caching_driver(Path())
    if driver is not None:
        raise RefusedError(
            f"diff.{driver}.cachetextconv is on: git would store opened values under refs/notes/textconv",
            hint=f"git config --unset-all diff.{driver}.cachetextconv; "
            f"git update-ref -d refs/notes/textconv/{driver}",
        )
    identities = identities_of(identity)
    if reveal and not identities:
        raise UsageError("--reveal needs an identity (KEMUDI_IDENTITY)")
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    sys.stdout.buffer.write(shown(text, identities, reveal=reveal).encode("utf-8", "surrogateescape"))
