"""Try again what may succeed later: by class of error, with growing, jittered pauses."""

import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from kemudi.graph.errors import GraphContendedError
from kemudi.graph.registry import RegistryContendedError
from kemudi.graph.sync.gate import StoppedError
from kemudi.schema.errors import UnavailableError

_FIRST_SECONDS: Final = 0.5
_FIRST_SECONDS_CONTENDED: Final = 0.05
_LONGEST_SECONDS: Final = 15.0
_IN_THE_WAY: Final = (GraphContendedError, RegistryContendedError)

T = TypeVar("T")


def retried(
    action: Callable[[], T], attempts: Callable[[], int], ending: threading.Event, told: Callable[[str], None]
) -> T:
    """The result of `action`, tried again after an UnavailableError as often as `attempts()` says then.

    The pauses double from half a second, or from a twentieth where another transaction was in the way. Each failure
    is told. Raises the last error, or StoppedError when the process ends meanwhile; any other error at once, since
    trying again would not help.
    """
    failures = 0
    while True:
        try:
            return action()
        except UnavailableError as error:
            failures += 1
            if failures > attempts():
                raise
            told(str(error))
            first = _FIRST_SECONDS_CONTENDED if isinstance(error, _IN_THE_WAY) else _FIRST_SECONDS
            pause = min(_LONGEST_SECONDS, first * 2 ** (failures - 1))
            if ending.wait(pause * random.uniform(0.5, 1.0)):  # noqa: S311  # jitter, not secrecy
                raise StoppedError("the process ends; the checkpoint is kept") from error
