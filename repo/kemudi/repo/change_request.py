"""What somebody wants changed, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from kemudi.repo.people import Author
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope
from kemudi.schema.secret import Secret


class Unset(Enum):
    """No value: the line goes, and the layer below counts again."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


EditValue: TypeAlias = JSON | Secret[JSON] | Envelope | Unset


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of one file.

    Attributes:
        layer: `base`, or an environment's overlay.
        key: The setting.
        value: As JSON; that of a sensitive setting is sealed on the way, and may come in a `Secret`, or sealed for this
            very place already.
    """

    layer: str
    key: str
    value: EditValue


ROLLBACK: Final = "Kemudi-Rollback"
"""The trailer of a change that goes back: the revision whose value is wanted, or that is undone."""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What becomes one commit.

    Attributes:
        edits: Lines to set or take away; none twice.
        reason: Why; the body of the message.
        author: The person. The committer is Kemudi.
        trailers: For the end of the message; a name may come several times.
        expected: The revision that the author saw; None: whatever the branch holds now.
        branch: The branch to commit to; None: the one that HEAD is on.
        propose: Commit to a branch of its own, made for this if `branch` is None, for somebody to review.
        operation: `set`, `unset`, `bulk`, `rollback`, `promote` …; stands in the message.
        subject: First line of the message; None: made from the edits.
    """

    edits: tuple[Edit, ...]
    reason: str
    author: Author
    trailers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    expected: str | None = None
    branch: str | None = None
    propose: bool = False
    operation: str = "set"
    subject: str | None = None

    @property
    def trailer_list(self) -> tuple[tuple[str, str], ...]:
        """The trailers in order."""
        found = self.trailers.items() if isinstance(self.trailers, Mapping) else self.trailers
        return tuple((name, value) for name, value in found)

    @property
    def is_proposal(self) -> bool:
        """Whether the change goes where somebody reviews it."""
        return self.propose

    def titled(self) -> str:
        """The subject. Holds a value only where the file will hold it in plain text, and then a short one."""
        if self.subject is not None:
            return self.subject
        layers = ", ".join(dict.fromkeys(edit.layer for edit in self.edits))
        if len(self.edits) != 1:
            return f"Change {len(self.edits)} settings in {layers}"
        verb = "Unset" if isinstance(self.edits[0].value, Unset) else "Set"
        verb = "Roll back" if self.operation == "rollback" else verb
        return f"{verb} {self.edits[0].key} in {layers}"
