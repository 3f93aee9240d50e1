"""What validation has to say about one place in one file."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong at one place. Never holds the value of a sensitive setting.

    Attributes:
        file: Path relative to the config repo, with forward slashes.
        line: 1-based; 1 for a whole file.
        column: 1-based, in characters; 1 for a whole file.
        rule: Stable id, `KEM001`…; the list is `kemudi.schema.rules.RULES`.
        pointer: JSON Pointer (RFC 6901) into the document, `""` for the whole.
        key: The setting, where one is concerned.
        message: One sentence that names what is wrong.
        hint: What to write instead, if that is known.
        layer: The layer that holds the value, `base` or an environment's overlay.
        severity: Only an `error` stops a commit from being applied.
    """

    file: str
    line: int
    column: int
    rule: str
    pointer: str = ""
    key: str | None = None
    message: str = ""
    hint: str | None = None
    layer: str | None = None
    severity: Severity = "error"

    def __lt__(self, other: "Finding") -> bool:
        """In the order of files and lines; what is not known sorts first."""
        return self._order() < other._order()

    def _order(self) -> tuple[str, int, int, str, str, str, str, str]:
        rest = (self.rule, self.pointer, self.key or "", self.layer or "", self.message)
        return (self.file, self.line, self.column, *rest)

    def as_json(self) -> dict[str, object]:
        """The pinned wire form used by `validate --format json`, the daemon's status and the console."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "pointer": self.pointer,
            "rule": self.rule,
            "key": self.key,
            "message": self.message,
            "hint": self.hint,
            "layer": self.layer,
            "severity": self.severity,
        }
