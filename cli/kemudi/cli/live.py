"""When something went live, as the daemon's log says."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from kemudi.cli.daemon_api import DaemonApi
from kemudi.repo.evidence import Applied
from kemudi.repo.git import SHA
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import KemudiError

_ENTRIES: Final = 10_000
_SERVING: Final = frozenset({"applied", "repaired"})


def applied(daemon_url: str | None, env: str) -> list[Applied]:
    """The revisions that an environment was given, the newest first; none when the daemon cannot be asked."""
    if daemon_url is None:
        return []
    try:
        answer = DaemonApi(daemon_url).get("/log", env=env, limit=str(_ENTRIES))
    except KemudiError:
        return []
    found = [
        Applied(entry["revision"], datetime.fromisoformat(entry["at"]))
        for each in answer["environments"]
        for entry in each["entries"]
        if entry["kind"] in _SERVING
    ]
    return sorted(found, key=lambda each: each.at, reverse=True)


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
