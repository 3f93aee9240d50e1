"""Named places where a test may kill, stop or fail the process: crash tests of the real code paths.

`KEMUDI_FAILPOINT=name[:kill|stop|raise][@N]` arms one point; `kill` is the default, `@N` means its N-th hit.
The variable is read once, at import. Unarmed, a point costs one call of an empty function.
"""

import itertools
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "KEMUDI_FAILPOINT"

_FORM: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*)(?::(?P<action>kill|stop|raise))?(?:@(?P<hit>[1-9][0-9]*))?"
)


class FailpointHitError(RuntimeError):
    """The action `raise` of an armed failpoint."""


def _unarmed(_name: str) -> None:
    """Nothing is armed in this process."""


# A process of several threads is stopped by whichever thread takes the signal; this one must not run on until then.
_UNTIL_DELIVERED: Final = 0.25


def _kill(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(_UNTIL_DELIVERED)


def _stop(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(_UNTIL_DELIVERED)


def _raise(name: str) -> None:
    raise FailpointHitError(name)


_ACTIONS: Final[dict[str, Callable[[str], None]]] = {"kill": _kill, "stop": _stop, "raise": _raise}


def armed(text: str) -> Callable[[str], None]:
    """The function that a value of the variable stands for. Raises ValueError for a malformed one."""
    if not text:
        return _unarmed
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{VARIABLE} is written name[:kill|stop|raise][@N]")
    wanted, action = found["name"], _ACTIONS[found["action"] or "kill"]
    due, hits = int(found["hit"] or 1), itertools.count(1)

    def hit(name: str) -> None:
        if name == wanted and next(hits) == due:
            action(name)

    return hit


failpoint: Final = armed(os.environ.get(VARIABLE, ""))
"""`failpoint("store.before-swap")`: returns at once unless this very point is armed."""
