"""The entry point: the table of commands, the settings file, and the one place where errors become exit codes."""

import os
import sys
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from kemudi.cli.lazy import LazyGroup, with_no_color
from kemudi.cli.output import error_console, print_findings
from kemudi.schema.errors import FindingsError, KemudiError, UsageError

INTERNAL_ERROR: Final = 70
INTERRUPTED: Final = 130

# name -> (module, one line of help). The line stands here so that `kemudi --help` imports no command.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("up", "Run everything on this machine: Redis, daemon, graph and sync service."),
    "init": ("init", "Start a config repo in a folder."),
    "setup": ("setup", "Create the settings that Kemudi's own services read."),
    "import": ("import_settings", "Bring settings from elsewhere into a config repo."),
    "validate": ("validate", "Check every file of a config repo; name file, line, column and fix."),
    "plan": ("plan", "Show what a change does to every environment, before it does it."),
    "explain": ("explain", "Say where the value of a setting comes from."),
    "get": ("get", "Print the value of one setting."),
    "export": ("export", "Print the settings of an environment for another program."),
    "scan": ("scan", "Find undeclared reads and hard-coded settings in Python code."),
    "unused": ("unused", "Find settings that neither code nor clients read."),
    "list": ("list_settings", "List the settings of an environment."),
    "set": ("set_value", "Give a setting a value, as one commit or a proposal."),
    "unset": ("set_value", "Take a setting out of a layer, so that the one below counts again."),
    "bulk": ("bulk", "Change many settings from a YAML or JSON document, as one commit."),
    "rollback": ("rollback", "Go back to an earlier value, as a new commit."),
    "promote": ("promote", "Give an environment the values of another one."),
    "compare": ("promote", "Show the settings that differ between two environments."),
    "log": ("log", "Show who changed a setting, when and why."),
    "blame": ("log", "Say for every setting which commit gave it its value."),
    "show": ("log", "Show what one commit did to which settings."),
    "diff": ("log", "Show how the settings differ between two revisions."),
    "daemon": ("daemon", "Serve a config repo: watch git, validate, publish to Redis."),
    "apply": ("daemon", "Publish the current revision once and exit."),
    "status": ("status", "Show what is applied, what was refused, and who runs it."),
    "wait": ("wait", "Wait until every live client runs a revision."),
    "drift": ("drift", "Compare what Redis serves with what git says."),
    "pause": ("pause", "Stop publishing, with a reason and an end."),
    "resume": ("pause", "Publish again after a pause."),
    "override": ("override", "Put a value above git for a while: break-glass."),
    "reconcile": ("reconcile", "Ask the daemon to look at git now."),
    "accept-rewrite": ("reconcile", "Accept a rewritten history as the new desired state."),
    "secret": ("secret", "Make keys and seal values."),
    "redis": ("redis", "Print the rights that Redis should give to each user."),
    "graph": ("graph", "Run the graph service."),
    "sync": ("sync", "Run the sync service, pause it, ask how far it is, and compare."),
    "console": ("console", "Run the console; make one-time sign-in links, users and tokens."),
    "doctor": ("doctor", "Check this machine and this configuration; say what to fix."),
}


def _read_settings_file(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}") from error


def _default_map(settings: dict[str, Any]) -> dict[str, Any]:
    """Top-level keys hold for every command that has such an option; a table holds for its own command."""
    common = {key.replace("-", "_"): value for key, value in settings.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    return {
        name: common | {key.replace("-", "_"): value for key, value in tables.get(name, {}).items()}
        for name in COMMANDS
    }


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    package="kemudi.cli.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Exit codes: 0 fine, 1 findings or differences, 2 usage, 3 store or git unreachable, "
        "4 stale or conflicting, 5 refused by policy, 70 internal error.\n\n"
        'Shell completion: eval "$(_KEMUDI_COMPLETE=bash_source kemudi)" (or zsh_source, fish_source).'
    ),
)
@click.version_option(package_name="kemudi", prog_name="kemudi")
@click.option(
    "--config",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with defaults of the options below. A flag or a KEMUDI_* variable wins over it.",
)
@click.pass_context
def cli(ctx: click.Context, settings_file: Path | None) -> None:
    """Kemudi makes a setting change a pull request: typed YAML in git, live in every process.

    New here? Run `kemudi up`, then follow what it prints.
    """
    if settings_file is not None:
        ctx.default_map = _default_map(_read_settings_file(settings_file))


with_no_color(cli)


def _reader_left() -> NoReturn:
    """The reader of our output went away (`kemudi list | head`): not an error, and nothing more to say."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def main() -> None:
    """Run the program; never returns. The only boundary that turns an error into an exit code."""
    stdout = sys.stdout
    try:
        code = cli.main(prog_name="kemudi", standalone_mode=False)
    except SystemExit as ended:
        # click (which changes stdout for it) and rich end a broken pipe themselves, with 1: here that means findings.
        if sys.stdout is not stdout or isinstance(ended.__context__, BrokenPipeError):
            _reader_left()
        raise
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("\nstopped", err=True)  # the cursor may stand behind a question
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KemudiError as error:
        _say(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _reader_left()
    except Exception as error:  # noqa: BLE001  # the boundary
        _say_internal(error)
        sys.exit(INTERNAL_ERROR)
    sys.exit(code if isinstance(code, int) else 0)


def _say(error: KemudiError) -> None:
    console = error_console()
    if isinstance(error, FindingsError):
        print_findings(console, error.findings)
    console.print("[red]kemudi:[/red] ", end="")
    console.print(str(error), markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"        {error.hint}", markup=False, highlight=False, soft_wrap=True)


def _say_internal(error: Exception) -> None:
    if os.environ.get("KEMUDI_DEBUG"):
        traceback.print_exception(error)
    error_console().print(
        f"kemudi: internal error ({type(error).__name__}). Set KEMUDI_DEBUG=1 to see the traceback.",
        markup=False,
        highlight=False,
    )
