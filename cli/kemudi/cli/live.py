"""When something went live, as the daemon's log says."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from kemudi.cli.daemon_api import DaemonApi
from kemudi.repo.evidence import LOG_ENTRIES, Applied, Served, served
from kemudi.repo.git import SHA
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import KemudiError


def served_by(daemon_url: str | None, env: str) -> Served:
    """What an environment was given; nothing when the daemon cannot be asked."""
    if daemon_url is None:
        return Served()
    api = DaemonApi(daemon_url)
    try:
        log = api.get("/log", env=env, limit=str(LOG_ENTRIES))
        standing = api.get("/overrides", env=env)  # after the log, so that none is in neither
    except KemudiError:
        return Served()
    entries = [entry for each in log["environments"] for entry in each["entries"]]
    return served(entries, [one["key"] for each in standing["environments"] for one in each["overrides"]])


def live_since(
    repository: ConfigRepository, log: Sequence[Applied], revisions: Iterable[str]
) -> dict[str, datetime]:
    """When each commit was first part of what was applied; those are left out of which the log does not know."""
    found: dict[str, datetime] = {}
    wanted = set(revisions)
    for each in reversed(log):
        if not SHA.fullmatch(each.revision):
            continue
        arrived = {revision for revision in wanted if _contains(repository, each.revision, revision)}
        found.update(dict.fromkeys(arrived, each.at))
        wanted -= arrived
    return found


def _contains(repository: ConfigRepository, head: str, revision: str) -> bool:
    try:
        return repository.is_ancestor(revision, head)
    except KemudiError:
        return False
