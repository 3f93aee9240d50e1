"""What can go wrong between Kemudi and git.

::

    UnavailableError                    exit 3, retry later
    ├── GitMissingError                 no usable git program
    ├── GitFailedError                  git ended with an error that has no name below
    ├── GitTimeoutError                 git took longer than its time limit
    ├── UnsafeRepositoryError           the repository belongs to another user
    ├── ShallowRepositoryError          history is cut off: depth and ancestry cannot be known
    ├── CorruptObjectError              an object is damaged
    │   ├── MissingObjectError          an object is not there
    │   └── WrongObjectKindError        it is a tree, say, where a commit was asked for
    ├── FetchError                      a remote cannot be fetched
    │   └── BranchMissingError          the remote has no such branch
    └── UnreadableFolderError           the work tree cannot be read
    UsageError                          exit 2
    ├── NoConfigRepositoryError         no git repository, or no kemudi.yaml in it
    ├── UnknownRevisionError            no commit has this name
    └── UnsupportedRepositoryError      a repository format that is not read
    ConflictError                       exit 4
    ├── GitLockedError                  a lock file stands in the way; names it and its age
    ├── HeadMovedError                  HEAD is not the commit that the caller read
    └── StaleSettingError               somebody changed the same setting since the caller read it
    RefusedError                        exit 5
    ├── PolicyRefusedError              a policy of the config repo does not allow the change; carries its findings
    └── UnsealError                     a sealed value cannot be opened; subclasses say which check failed
        ├── DamagedSealError            the text or what is inside is not a sealed value
        ├── NoMatchingIdentityError     none of the identities opens it; names who can
        ├── WrongContextError           sealed for another place
        └── WrongSealedTypeError        sealed as another type than the contract has
"""

from collections.abc import Sequence

from kemudi.schema.documents import JSON
from kemudi.schema.errors import ConflictError, RefusedError, UnavailableError, UsageError
from kemudi.schema.findings import Finding


class GitMissingError(UnavailableError):
    """There is no git program, or it is too old."""


class GitFailedError(UnavailableError):
    """Git ended with an error. `stderr` is what it said, without credentials."""

    def __init__(self, message: str, *, stderr: str = "", code: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.stderr = stderr
        self.code = code


class GitTimeoutError(UnavailableError):
    """Git took longer than its time limit and was ended."""


class UnsafeRepositoryError(UnavailableError):
    """The repository belongs to another user, so its configuration is not trusted."""


class ShallowRepositoryError(UnavailableError):
    """The repository is a shallow clone: counts and ancestry would be wrong."""


class CorruptObjectError(UnavailableError):
    """A git object is damaged or missing. `sha` names it."""

    def __init__(self, message: str, *, sha: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sha = sha


class MissingObjectError(CorruptObjectError):
    """A git object is not in the repository."""


class WrongObjectKindError(CorruptObjectError):
    """A git object is of another kind than was asked for."""


class FetchError(UnavailableError):
    """A remote cannot be fetched now."""


class BranchMissingError(FetchError):
    """The remote has no such branch."""


class UnreadableFolderError(UnavailableError):
    """The work tree, or a file in it, cannot be read."""


class NoConfigRepositoryError(UsageError):
    """The path leads to no git repository, or there is no kemudi.yaml in it."""


class UnknownRevisionError(UsageError):
    """No commit of the repository has this name."""


class UnsupportedRepositoryError(UsageError):
    """The repository is in a format that Kemudi does not read."""


class GitLockedError(ConflictError):
    """A lock file of git stands in the way. It is never deleted here: its owner may be alive."""


class HeadMovedError(ConflictError):
    """The branch has moved since the caller read it."""


class StaleSettingError(ConflictError):
    """Somebody changed the same setting since the caller read it.

    Attributes:
        layer: Where.
        key: The setting.
        current: Its value there now, None for a sensitive one or none.
        revision: The commit that changed it, None if it cannot be known.
        author: Who made that commit, as `Name <address>`; None likewise.
    """

    def __init__(
        self,
        message: str,
        *,
        layer: str,
        key: str,
        current: JSON,
        revision: str | None,
        author: str | None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.layer = layer
        self.key = key
        self.current = current
        self.revision = revision
        self.author = author


class PolicyRefusedError(RefusedError):
    """A policy does not allow the change. `findings` name the rules."""

    def __init__(self, message: str, findings: Sequence[Finding], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.findings = tuple(findings)


class UnsealError(RefusedError):
    """A sealed value cannot be opened. No message holds a value."""


class DamagedSealError(UnsealError):
    """The text is not a sealed value, or what is inside is not one of Kemudi's."""


class NoMatchingIdentityError(UnsealError):
    """None of the identities is a recipient."""


class WrongContextError(UnsealError):
    """The value was sealed for another repository, layer, category or key."""


class WrongSealedTypeError(UnsealError):
    """The value was sealed as another type."""
