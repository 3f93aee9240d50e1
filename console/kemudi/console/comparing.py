"""Two environments side by side: which settings differ, and which of them somebody may copy from one to the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from kemudi.console.access.people import Caller
from kemudi.console.board import EnvironmentBoard, Row
from kemudi.console.catalogue import visible
from kemudi.console.writing import Wanted

PairState = Literal["equal", "different", "sealed"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One setting in both.

    Attributes:
        left: Where a value comes from.
        right: Where it would go.
        state: `sealed`: two ciphertexts, which may hold the same secret; nobody can tell without a key.
        hindrance: Why it cannot be copied: `secret`, `role`, `layer` (the value on the right is that of a layer which
            others share); empty when it can.
    """

    left: Row
    right: Row
    state: PairState
    hindrance: Literal["", "secret", "role", "layer"]

    @property
    def key(self) -> str:
        """The setting."""
        return self.right.key

    def wanted(self) -> Wanted:
        """The change that makes the right like the left."""
        return Wanted(self.key, self.left.value, unset=not self.left.is_set)


def pairs(left: EnvironmentBoard, right: EnvironmentBoard, caller: Caller, top: str) -> Mapping[str, Pair]:
    """By key, what the caller may see on both sides. `top` is the layer of the right alone, where copies go."""
    ours = {row.key: row for row in visible(left, caller)}
    return {
        row.key: Pair(
            ours[row.key], row, _state(ours[row.key], row), _hindrance(ours[row.key], row, caller, top)
        )
        for row in visible(right, caller)
        if row.key in ours
    }


def digest(chosen: list[Pair]) -> str:
    """Names what was looked at: other settings, or other values on either side, have another one."""
    said = sorted(f"{pair.key}\0{pair.left.env}\0{pair.left.etag}\0{pair.right.etag}" for pair in chosen)
    return sha256("\n".join(said).encode()).hexdigest()[:24]


def differs(one: Row, other: Row) -> bool:
    """Whether two rows have different values; secrets by their ciphertext, which is all that is known here."""
    if one.spec.sensitive:
        return one.is_set != other.is_set or one.seal != other.seal
    return one.is_set != other.is_set or type(one.value) is not type(other.value) or one.value != other.value


def _state(left: Row, right: Row) -> PairState:
    if not differs(left, right):
        return "equal"
    return "sealed" if left.spec.sensitive and left.is_set and right.is_set else "different"


def _hindrance(left: Row, right: Row, caller: Caller, top: str) -> Literal["", "secret", "role", "layer"]:
    if right.spec.sensitive:
        return "secret"
    if not caller.may("editor", right.env, right.category):
        return "role"
    # What is not set on the left is taken out on the right; a line that others share is not theirs to take.
    return "" if left.is_set or right.layer == top else "layer"
