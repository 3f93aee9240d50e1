"""Who changed the config repo, when and why."""

from kemudi.repo.formats import Commit
from kemudi.repo.repository import ConfigRepository


def commit_info(repository: ConfigRepository, rev: str) -> Commit:
    """The commit that a name of git's stands for: author, times, subject. Raises UnknownRevisionError."""
    return repository.commit_info(repository.resolve(rev))
