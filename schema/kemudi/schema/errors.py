"""The error tree of Kemudi, and the exit code that each branch means.

::

    KemudiError                 70
    ├── UsageError               2   the call is off; the message says how to call
    ├── FindingsError            1   files of a config repo are wrong; carries every finding
    ├── UnavailableError         3   a store, the daemon or git cannot be reached; retry later
    ├── ConflictError            4   stale or conflicting; read again, then retry
    └── RefusedError             5   a policy, a signature or a key refuses; a person decides

Inner code only raises. One boundary per program turns an error into an exit code or an HTTP status.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from kemudi.schema.sentences import sentence

if TYPE_CHECKING:
    from kemudi.schema.findings import Finding


class KemudiError(Exception):
    """Any failure that Kemudi explains. `str(error)` is one sentence for the user; `hint` says what to do.

    `message` is that sentence as it was given: as a `Sentence` it can be said in another language.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def explained(self) -> str:
        """The sentence, and what to do."""
        if not self.hint:
            return self.message
        return sentence("%(message)s. %(hint)s", message=self.message, hint=self.hint)


class UsageError(KemudiError):
    """The call itself is wrong: an unknown environment, a missing path, a malformed name."""

    exit_code = 2


class FindingsError(KemudiError):
    """A config repo does not validate. `findings` holds every finding, in file and line order."""

    exit_code = 1

    def __init__(self, message: str, findings: "Sequence[Finding]") -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class UnavailableError(KemudiError):
    """A store, the daemon or git cannot be reached now; the same call may succeed later."""

    exit_code = 3


class ConflictError(KemudiError):
    """The state moved meanwhile, or is older than what is served."""

    exit_code = 4


class RefusedError(KemudiError):
    """A policy, a signature or a missing key refuses the action; waiting does not help."""

    exit_code = 5
