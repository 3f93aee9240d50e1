"""What every command that changes settings shares: its options, the plan before, the commit, and what is said after."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from kemudi.cli.completion import environments, layers
from kemudi.cli.live import served_by
from kemudi.cli.options import repo_option
from kemudi.cli.output import error_console, json_option, print_findings, print_json, print_plain, short
from kemudi.repo.change_request import UNSET, ChangeRequest, Edit
from kemudi.repo.changes import Committed, Prepared, commit, prepare
from kemudi.repo.errors import HeadMovedError, PolicyRefusedError
from kemudi.repo.evidence import Evidence
from kemudi.repo.people import identity
from kemudi.repo.plan_text import as_text
from kemudi.repo.policy import PolicyContext
from kemudi.repo.push import PushResult, push, unpushed
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.contract import Contract
from kemudi.schema.documents import JSON
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.state import ConfigState
from kemudi.schema.wording import expectation

Command = TypeVar("Command", bound=Callable[..., Any])

_PUSH_EXITS: Final = {"pushed": 0, "moved": 4, "rejected": 5, "unreachable": 3, "no-remote": 2}
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Manner:
    """How a change is to be made: the options that all of these commands have."""

    repo: Path
    reason: str | None
    propose: str | None
    trailers: tuple[str, ...]
    dry_run: bool
    push: bool
    quiet: bool
    daemon_url: str | None
    as_json: bool

    @property
    def asks(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin.isatty() and sys.stdout.isatty() and not self.quiet and not self.as_json


def change_options(command: Command) -> Command:
    """The options of `Manner`, collected into one parameter `manner`."""

    def collected(**options: Any) -> Any:
        names = Manner.__slots__
        manner = Manner(**{name: options.pop(name) for name in names})
        return command(manner=manner, **options)

    collected.__doc__ = command.__doc__
    collected.__name__ = command.__name__
    # A function takes with it what click has noted of arguments that stand below.
    collected.__click_params__ = list(getattr(command, "__click_params__", ()))  # type: ignore[attr-defined]
    for decorate in reversed(_OPTIONS):
        collected = decorate(collected)
    return collected  # type: ignore[return-value]  # click calls it by its options


_OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option("-m", "--message", "reason", help="Why. It becomes the body of the commit message."),
    click.option(
        "--propose",
        is_flag=False,
        flag_value="",
        metavar="[BRANCH]",
        help="Commit to a branch of its own, for a pull request. Without a name: kemudi/<what it does>.",
    ),
    click.option(
        "--trailer", "trailers", multiple=True, metavar="NAME=VALUE", help="A trailer of the commit message."
    ),
    click.option("--dry-run", is_flag=True, help="Show the plan and the diff; write nothing."),
    click.option("--push", is_flag=True, help="Push the branch to `origin` afterwards."),
    click.option(
        "-y", "--yes", "--no-input", "quiet", is_flag=True, help="Do not ask; also without a terminal."
    ),
    click.option(
        "--daemon",
        "daemon_url",
        envvar="KEMUDI_DAEMON_URL",
        metavar="URL",
        help="For policies that ask how long a value ran.  [KEMUDI_DAEMON_URL]",
    ),
    repo_option,
    json_option,
)

place_options: Final = (
    click.option(
        "--env",
        "-e",
        envvar="KEMUDI_ENV",
        metavar="ENV",
        shell_complete=environments,
        help="The environment.  [KEMUDI_ENV]",
    ),
    click.option(
        "--layer",
        "-l",
        metavar="LAYER",
        shell_complete=layers,
        help="The layer, instead of --env: base, or an overlay.",
    ),
)


def place_option(command: Command) -> Command:
    """`--env` or `--layer`."""
    for decorate in reversed(place_options):
        command = decorate(command)
    return command


@dataclass(frozen=True, slots=True)
class Desired:
    """The committed state that a change starts from, and its revision."""

    state: ConfigState
    revision: str


def desired(repo: Path) -> Desired:
    """What HEAD holds. Raises UsageError without a commit, FindingsError when kemudi.yaml cannot be used."""
    with ConfigRepository.open(repo) as repository:
        head = repository.head().sha
        if head is None:
            raise UsageError("the repository has no commit yet", hint="Commit the config repo first.")
        state = ConfigState.load(repository.files(head).values())
    if state.manifest is None:
        raise FindingsError("kemudi.yaml is not valid", state.findings)
    return Desired(state, head)


def layer_for(state: ConfigState, env: str | None, layer: str | None) -> str:
    """The layer to write to: the named one, or the one that wins in an environment. Raises UsageError."""
    assert state.manifest is not None  # noqa: S101  # `desired` has checked
    if layer is not None:
        return layer
    if env is None:
        raise UsageError("name the environment with --env, or the layer with --layer")
    names = [each.name for each in state.manifest.environments]
    if env not in names:
        raise UsageError(
            f"there is no environment {env!r}; there are: {', '.join(names)}", hint=did_you_mean(env, names)
        )
    return state.manifest.environment(env).layers[-1]


def contract_of(state: ConfigState, key: str) -> Contract:
    """The contract of a setting. Raises UsageError."""
    category = state.category_of.get(key)
    if category is None:
        raise UsageError(f"no contract has a setting {key!r}", hint=did_you_mean(key, state.category_of))
    return state.contracts[category]


def typed(contract: Contract, key: str, text: str) -> JSON:
    """A value from the command line, read as its contract says. Raises UsageError."""
    import json

    spec = contract.settings[key]
    kinds = set(spec.type.split("|"))
    if kinds == {"string"}:
        return text
    try:
        value: JSON = json.loads(text)
    except ValueError:
        if "string" in kinds or "any" in kinds:
            return text
        raise UsageError(
            f"{text[:80]!r} cannot be the value of {key}",
            hint=f"It must be: {expectation(spec.schema, spec.unit)}.",
        ) from None
    return value


def change(manner: Manner, edits: Sequence[Edit], operation: str, *, expected: str, **further: Any) -> None:
    """Prepare, show, ask, commit, push, and say what comes next. `further` goes into the request."""
    with ConfigRepository.open(manner.repo) as repository:
        author = identity(repository.layout)
        evidence = Evidence(repository, lambda env: served_by(manner.daemon_url, env))
        request = ChangeRequest(
            tuple(edits),
            _reason(manner),
            author,
            (*_trailers(manner), *further.pop("trailers", ())),
            expected,
            manner.propose or None,
            propose=manner.propose is not None,
            operation=operation,
            **further,
        )
        context = PolicyContext(datetime.now(UTC), live_since=evidence.live_since)
        for attempt in range(_ATTEMPTS):
            prepared = prepare(manner.repo, request, context=context)
            if not attempt:
                _show(manner, prepared)
            if manner.dry_run or prepared.is_empty:
                return _stopped(manner, prepared)
            if not attempt and manner.asks:
                click.confirm("Commit this?", abort=True, err=True)
            try:
                return _done(manner, prepared, _committed(prepared))
            except HeadMovedError:
                if attempt == _ATTEMPTS - 1:
                    raise
    return None


def _committed(prepared: Prepared) -> Committed:
    try:
        return commit(prepared)
    except PolicyRefusedError as error:
        print_findings(error_console(), error.findings)
        raise


def _reason(manner: Manner) -> str:
    if manner.reason is not None:
        return manner.reason
    if manner.dry_run:
        return ""
    if manner.asks:
        return str(click.prompt("Why", err=True))
    raise UsageError("say why with -m", hint='For example: -m "the nightly batch times out".')


def _trailers(manner: Manner) -> list[tuple[str, str]]:
    found = []
    for text in manner.trailers:
        name, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"--trailer is written NAME=VALUE, not {text[:60]!r}")
        found.append((name.strip(), value.strip()))
    return found


def _show(manner: Manner, prepared: Prepared) -> None:
    """The plan before the question, where talk goes; with --dry-run it is the result."""
    if manner.as_json or prepared.is_empty:
        return
    text = as_text(prepared.plan)
    if manner.dry_run:
        print_plain(f"{text}\n{prepared.diff}")
    else:
        error_console().print(text, markup=False, highlight=False, soft_wrap=True)
    if prepared.warnings:
        print_findings(error_console(), prepared.warnings)


def _stopped(manner: Manner, prepared: Prepared) -> None:
    if manner.as_json:
        print_json(_answer(manner, prepared, None, None))
    elif prepared.is_empty:
        print_plain("nothing to change: it is so already\n")
    if prepared.refusals:
        sys.exit(PolicyRefusedError.exit_code)


def _done(manner: Manner, prepared: Prepared, committed: Committed) -> None:
    pushed = push(manner.repo, committed.branch) if manner.push else None
    if manner.as_json:
        print_json(_answer(manner, prepared, committed, pushed))
    else:
        print_plain("".join(f"{line}\n" for line in _said(manner, prepared, committed, pushed)))
    if pushed is not None and not pushed.is_done:
        sys.exit(_PUSH_EXITS[pushed.state])


def _answer(
    manner: Manner, prepared: Prepared, committed: Committed | None, pushed: PushResult | None
) -> dict[str, Any]:
    return {
        "changed": committed is not None and committed.changed,
        "revision": committed.revision if committed is not None else None,
        "branch": prepared.branch,
        "base": prepared.base,
        "proposal": prepared.is_proposal,
        "dry_run": manner.dry_run,
        "files": list(prepared.files),
        "diff": prepared.diff,
        "plan": prepared.plan.as_json(),
        "warnings": [each.as_json() for each in prepared.warnings],
        "push": pushed.as_json() if pushed is not None else None,
    }


def _said(manner: Manner, prepared: Prepared, committed: Committed, pushed: PushResult | None) -> list[str]:
    subject = prepared.message.partition("\n")[0]
    verb = "proposed" if prepared.is_proposal else "committed"
    lines = [f"{verb} {short(committed.revision)} on {committed.branch}: {subject}"]
    waiting = unpushed(manner.repo, committed.branch)
    if pushed is not None:
        lines += [line for line in (pushed.message, pushed.advice) if line]
    elif waiting.remote is not None:
        lines.append(f"not pushed yet: git push {waiting.remote} {committed.branch}")
    if prepared.is_proposal:
        lines.append("it takes effect when it is merged; open a pull request for the branch")
        return lines
    for environment in prepared.plan.environments:
        if environment.changes:
            lines.append(
                f"live in {environment.env}? kemudi wait {short(committed.revision)} --env {environment.env}"
            )
    return lines


__all__ = [
    "UNSET",
    "Desired",
    "Edit",
    "Manner",
    "change",
    "change_options",
    "contract_of",
    "desired",
    "layer_for",
    "place_option",
    "typed",
]
