"""Growing pauses between two tries, spread by chance so that many daemons do not try in step."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """`next()` doubles from `first` up to `most` seconds; each pause is between half and the whole of that."""

    first: float
    most: float
    _tries: int = field(default=0)

    def next(self) -> float:
        """The pause before the next try."""
        whole = min(self.most, self.first * float(2 ** min(self._tries, 30)))
        self._tries += 1
        return whole * random.uniform(0.5, 1.0)  # noqa: S311  # spread, not secrecy

    def reset(self) -> None:
        """It worked: begin anew."""
        self._tries = 0
