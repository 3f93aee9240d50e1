"""What a validation found, as every form of report needs it."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kemudi.schema import rules
from kemudi.schema.findings import Finding
from kemudi.schema.state import ConfigState

_SECRETS: Final = frozenset(
    {rules.PLAINTEXT_SECRET, rules.LIKELY_SECRET, rules.MOVED_SEAL, rules.STALE_SEAL, rules.MALFORMED_SEAL}
)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one validation.

    Attributes:
        root: The folder of kemudi.yaml.
        prefix: That folder in the repository, with a slash at its end; empty for its root.
        state: The files, checked.
        files: The files that the report is about, sorted.
        findings: What is wrong with them, in file and line order.
        changed: The files that differ from the base; None without one.
        base: The commit that they were compared with.
    """

    root: Path
    prefix: str
    state: ConfigState
    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    changed: frozenset[str] | None = None
    base: str | None = None

    @property
    def errors(self) -> int:
        """How many findings stop a commit."""
        return sum(1 for each in self.findings if each.severity == "error")

    @property
    def worst_first(self) -> tuple[Finding, ...]:
        """The findings by weight: errors, secrets among them first; then what the change itself touched."""
        return tuple(sorted(self.findings, key=self._weight))

    def path(self, file: str) -> str:
        """A file's path in the repository."""
        return f"{self.prefix}{file}"

    def fingerprints(self) -> Iterator[str]:
        """One for each finding: unique in the report, and the same when lines move or other findings go."""
        seen: Counter[str] = Counter()
        for each in self.findings:
            name = "\0".join(
                (self.path(each.file), each.rule, each.pointer, each.key or "", each.layer or "")
            )
            seen[name] += 1
            yield hashlib.sha256(f"{name}\0{seen[name]}".encode()).hexdigest()[:40]

    def summary(self) -> str:
        """`12 files, 3 errors, 1 warning`."""
        warnings = len(self.findings) - self.errors
        said = [_counted(len(self.files), "file"), _counted(self.errors, "error")]
        return ", ".join(said + ([_counted(warnings, "warning")] if warnings else []))

    def _weight(self, finding: Finding) -> tuple[int, int, int, Finding]:
        touched = self.changed is not None and finding.file in self.changed
        return finding.severity != "error", not touched, finding.rule not in _SECRETS, finding


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
