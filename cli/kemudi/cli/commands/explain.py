"""`kemudi explain`: where the value of a setting comes from, who made it so, and since when it is live."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from kemudi.cli.completion import settings
from kemudi.cli.live import live_since, served_by
from kemudi.cli.options import env_option, repo_option
from kemudi.cli.output import data_console, json_option, print_json, short
from kemudi.cli.workspace import Workspace


@click.command(
    "explain",
    epilog="""\b
Examples:
  kemudi explain SYNC_BATCH_SIZE --env prod
  kemudi explain SYNC_BATCH_SIZE --env prod --at HEAD~20
  kemudi explain SYNC_BATCH_SIZE --env prod --at 2026-03-01T12:00Z""",
)
@click.argument("key", shell_complete=settings)
@env_option
@click.option(
    "--at", metavar="REV|TIME", help="At this commit, or at this time on the branch that HEAD is on."
)
@click.option(
    "--daemon",
    "daemon_url",
    envvar="KEMUDI_DAEMON_URL",
    metavar="URL",
    help="Ask this daemon since when it is live.  [KEMUDI_DAEMON_URL]",
)
@repo_option
@json_option
def explain_command(
    key: str, env: str, at: str | None, daemon_url: str | None, repo: Path, as_json: bool
) -> None:
    """Say which file and line set KEY in ENV, what that overrides, what the contract says, and who made it so."""
    from kemudi.cli.workspace import workspace_for
    from kemudi.schema.explain import explain

    workspace = workspace_for(repo, env) if at is None else _workspace_at(repo, env, at)
    found = explain(workspace.state, env, key)
    origin = _origin(workspace, env, key, daemon_url)
    if as_json:
        print_json(found.as_json() | {"revision": workspace.revision, "origin": origin})
        return
    data_console().print(found.as_text(), markup=False, highlight=False)
    if origin is not None:
        data_console().print("\n".join(_lines(origin)), markup=False, highlight=False)


def _workspace_at(repo: Path, env: str, at: str) -> Workspace:
    """The state of a commit, named by git or by a time. Raises UsageError."""
    from kemudi.cli.workspace import Workspace
    from kemudi.repo.repository import ConfigRepository
    from kemudi.schema.errors import FindingsError
    from kemudi.schema.state import ConfigState

    with ConfigRepository.open(repo) as repository:
        moment = _moment(at)
        revision = repository.resolve(at) if moment is None else _commit_at(repository, moment)
        state = ConfigState.load(repository.files(revision).values())
        root = repository.worktree_root or repository.layout.git_dir
    findings = state.findings_for(env) if state.manifest is not None else state.findings
    if findings:
        raise FindingsError(
            f"{env} cannot be resolved at {short(revision)}: its files did not validate", findings
        )
    return Workspace(root, state, revision)


def _moment(text: str) -> datetime | None:
    """A time, UTC where no zone is named; None for what can only be a revision."""
    if not text[:4].isdigit() or "-" not in text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _commit_at(repository: Any, moment: datetime) -> str:
    from kemudi.schema.errors import UsageError

    head = repository.head().sha
    while head is not None:
        line = repository.first_parents(head, 500)
        for sha in line:
            if repository.commit_info(sha).committed_at <= moment:
                return str(sha)
        parents = repository.commit_info(line[-1]).parents
        head = parents[0] if parents else None
    raise UsageError(f"there was no commit at {moment:%Y-%m-%d %H:%M %Z}")


def _origin(workspace: Workspace, env: str, key: str, daemon_url: str | None) -> dict[str, Any] | None:
    """The commit that gave the value, and since when it is live; None outside of git, or before a commit."""
    from kemudi.repo.history import History
    from kemudi.repo.repository import ConfigRepository
    from kemudi.schema.errors import KemudiError

    revision = workspace.revision
    if revision is None:
        return None
    try:
        with ConfigRepository.open(workspace.root) as repository, History(repository) as history:
            at = None if revision.startswith("worktree@") else revision
            entry = history.origin(env, key, at=at)
            if entry is None:
                return None
            live = live_since(repository, served_by(daemon_url, env).applied, [entry.revision])
    except KemudiError:
        return None
    since = live.get(entry.revision)
    return entry.as_json() | {"live_at": since.isoformat() if since is not None else None}


def _lines(origin: dict[str, Any]) -> list[str]:
    author = origin["author"]
    lines = [
        f"  {'commit':<10} {short(origin['revision'])} {origin['at']}",
        f"  {'author':<10} {author['name']} <{author['email']}>",
        f"  {'reason':<10} {' '.join(origin['reason'].split())}",
    ]
    return [*lines, f"  {'live since':<10} {origin['live_at'] or 'not known'}"]
