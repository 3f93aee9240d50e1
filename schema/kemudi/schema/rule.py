"""What a rule is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: `KEM001`…, never reused.
        title: What the finding says, in a few words.
        explanation: Why the rule exists.
        fix: What to do.
    """

    id: str
    title: str
    explanation: str
    fix: str
