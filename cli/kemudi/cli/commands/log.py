"""`kemudi log`, `blame`, `show` and `diff`: who changed which setting, when and why, from git."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import click

from kemudi.cli.completion import layers, settings
from kemudi.cli.options import any_env_option, env_option, repo_option
from kemudi.cli.output import json_option, print_json, print_plain, short, show_value
from kemudi.repo.history import Entry, History
from kemudi.repo.repository import ConfigRepository

_DAEMON = click.option(
    "--daemon",
    "daemon_url",
    envvar="KEMUDI_DAEMON_URL",
    metavar="URL",
    help="Ask this daemon when each change went live in ENV.  [KEMUDI_DAEMON_URL]",
)


@click.command(
    "log",
    epilog="""\b
Examples:
  kemudi log SYNC_BATCH_SIZE               # every change of one setting, in all environments
  kemudi log SYNC_BATCH_SIZE --env prod    # those that prod sees: its overlay, base and the contract's default
  kemudi log -n 20                         # the newest changes of all settings""",
)
@click.argument("key", required=False, shell_complete=settings)
@any_env_option
@click.option("--layer", "-l", metavar="LAYER", shell_complete=layers, help="Only this layer; with KEY.")
@click.option(
    "--limit", "-n", type=click.IntRange(1), help="At most so many entries.  [default: all of KEY, else 50]"
)
@click.option(
    "--before", metavar="REV", help="Only what leads to this commit, without itself: the next page."
)
@click.option("--at", metavar="REV", help="The history of this commit instead of HEAD.")
@_DAEMON
@repo_option
@json_option
def log_command(
    key: str | None,
    env: str | None,
    layer: str | None,
    limit: int | None,
    before: str | None,
    at: str | None,
    daemon_url: str | None,
    repo: Path,
    as_json: bool,
) -> None:
    """Show what happened to KEY, or to all settings: old value, new value, who, when and why, the newest first.

    Follows a setting when its line moves to another file, category or layer. Values of secrets are never shown.
    """
    with ConfigRepository.open(repo) as repository, History(repository) as history:
        if key is None:
            found = history.latest(limit or 50, env=env, layer=layer, before=before, at=at)
        else:
            found = history.of_key(key, env=env, layer=layer, limit=limit, before=before, at=at)
            if not found:
                _check_known(repository, key, at)
        live = _live(repository, found, env, daemon_url)
    if as_json:
        entries = [
            each.as_json() | {"live_at": live[each.revision].isoformat() if each.revision in live else None}
            for each in found
        ]
        print_json({"entries": entries})
        return
    print_plain("".join(_log_lines(found, {sha: f"{at:%Y-%m-%d %H:%M} UTC" for sha, at in live.items()})))


def _check_known(repository: ConfigRepository, key: str, at: str | None) -> None:
    """Raise UsageError for a key without history that no contract has: it is mistyped."""
    from kemudi.schema.errors import UsageError
    from kemudi.schema.nearest import did_you_mean
    from kemudi.schema.state import ConfigState

    revision = repository.resolve(at or "HEAD")
    known = ConfigState.load(repository.files(revision).values()).category_of
    if key not in known:
        raise UsageError(f"there is and was no setting {key!r}", hint=did_you_mean(key, known))


def _live(
    repository: ConfigRepository, found: Iterable[Entry], env: str | None, daemon_url: str | None
) -> dict[str, datetime]:
    if env is None or daemon_url is None:
        return {}
    # Only where a daemon is asked: to import it costs as much as the answer.
    from kemudi.cli.live import live_since, served_by

    log = served_by(daemon_url, env).applied
    return live_since(repository, log, [each.revision for each in found]) if log else {}


@click.command(
    "blame",
    epilog="""\b
Examples:
  kemudi blame --env prod
  kemudi blame --env prod --at HEAD~20""",
)
@env_option
@click.option("--at", metavar="REV", help="At this commit instead of HEAD.")
@repo_option
@json_option
def blame_command(env: str, at: str | None, repo: Path, as_json: bool) -> None:
    """Say for every setting of ENV which commit gave it its value, who made it, and why."""
    with ConfigRepository.open(repo) as repository, History(repository) as history:
        found = history.blame(env, at=at)
    if as_json:
        print_json({"env": env, "settings": [each.as_json() for each in found]})
        return
    rows = [
        (
            short(each.revision),
            f"{each.at:%Y-%m-%d}",
            each.author_name,
            each.layer,
            each.key,
            _side(each, each.new),
        )
        for each in found
    ]
    print_plain("".join(_columns(rows)))


@click.command(
    "show",
    epilog="""\b
Examples:
  kemudi show HEAD
  kemudi show 3f2a91c --json""",
)
@click.argument("revision", metavar="REV")
@repo_option
@json_option
def show_command(revision: str, repo: Path, as_json: bool) -> None:
    """Show one commit: who, when, why, and what it did to which settings."""
    from kemudi.repo.messages import reason_of, trailers_of

    with ConfigRepository.open(repo) as repository, History(repository) as history:
        commit = repository.commit_info(repository.resolve(revision))
        found = history.of_commit(commit.sha)
    trailers, reason = trailers_of(commit.message), reason_of(commit.message)
    if as_json:
        print_json(
            {
                "revision": commit.sha,
                "parents": list(commit.parents),
                "at": commit.authored_at.isoformat().replace("+00:00", "Z"),
                "author": {"name": commit.author_name, "email": commit.author_email},
                "subject": commit.subject,
                "reason": reason,
                "trailers": [{"name": name, "value": value} for name, value in trailers],
                "entries": [each.as_json() for each in found],
            }
        )
        return
    lines = [
        f"commit {commit.sha}",
        f"author {commit.author_name} <{commit.author_email}>",
        f"date   {commit.authored_at:%Y-%m-%d %H:%M} UTC",
        "",
        commit.subject,
        *([] if reason == commit.subject else ["", *reason.splitlines()]),
        *([""] if trailers else []),
        *(f"{name}: {value}" for name, value in trailers),
        "",
    ]
    print_plain("\n".join(lines) + "\n")
    print_plain("".join(_columns((each.layer, each.key, _change(each), _place(each)) for each in found)))


@click.command(
    "diff",
    epilog="""\
The same words as `kemudi plan`, from A to B. Exit code 0, whether they differ or not.

\b
Examples:
  kemudi diff HEAD~5
  kemudi diff v1.0 v1.1 --env prod""",
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B", default="HEAD")
@any_env_option
@repo_option
@json_option
def diff_command(a: str, b: str, env: str | None, repo: Path, as_json: bool) -> None:
    """Show how the settings of every environment differ between two revisions, after the layers."""
    from dataclasses import replace

    from kemudi.repo.plan import plan
    from kemudi.repo.plan_text import as_text
    from kemudi.schema.errors import UsageError
    from kemudi.schema.nearest import did_you_mean
    from kemudi.schema.state import ConfigState

    with ConfigRepository.open(repo) as repository:
        old, new = repository.resolve(a), repository.resolve(b)
        before = ConfigState.load(repository.files(old).values())
        found = plan(before, before.update(repository.changes(old, new)), base=old, head=new)
    if env is not None:
        names = [each.env for each in found.environments]
        if env not in names:
            raise UsageError(f"there is no environment {env!r}", hint=did_you_mean(env, names))
        found = replace(found, environments=tuple(each for each in found.environments if each.env == env))
    if as_json:
        print_json(found.as_json())
    else:
        print_plain(as_text(found))


def _log_lines(found: Iterable[Entry], live: dict[str, str]) -> Iterator[str]:
    for each in found:
        yield f"{short(each.revision)}  {each.at:%Y-%m-%d %H:%M}  {each.author_name} <{each.author_email}>\n"
        yield f"    {each.layer}  {each.key}  {_change(each)}  {_place(each)}\n"
        yield from (f"    {line}\n" for line in each.reason.splitlines())
        if each.revision in live:
            yield f"    live since {live[each.revision]}\n"
        yield "\n"


def _change(entry: Entry) -> str:
    if entry.kind == "move":
        return f"moved from {entry.from_file}"
    if entry.sensitive:
        return {"add": "set (sealed)", "change": "changed (sealed)", "remove": "taken out"}[entry.kind]
    return f"{_side(entry, entry.old)} → {_side(entry, entry.new)}"


def _side(entry: Entry, value: object) -> str:
    if entry.sensitive:
        return "***"
    missing = value is None and ((entry.kind == "add") if value is entry.old else (entry.kind == "remove"))
    return "not set" if missing else show_value(value)


def _place(entry: Entry) -> str:
    return entry.file if entry.kind == "remove" else f"{entry.file}:{entry.line}"


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
