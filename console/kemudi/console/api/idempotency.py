"""`Idempotency-Key`: the same request sent again gets the same answer, and is done once."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from fastapi import Response

from kemudi.console.problems import ProblemError
from kemudi.schema.sentences import sentence

_KEPT: Final = 1000


class Idempotency:
    """Remembers answers in memory: after a restart the ETags and the expected revision still guard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[str, Response | None]] = OrderedDict()

    def once(self, key: str, body: str, work: Callable[[], Response]) -> Response:
        """Do the work, or give its answer again.

        Raises ProblemError: 422 for another body, 409 while the first request is under way; what `work` raises is
        raised, and may be tried again.
        """
        digest = sha256(body.encode()).hexdigest()
        with self._lock:
            known = self._answers.get(key)
            if known is None:
                self._answers[key] = (digest, None)
                while len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
        if known is not None:
            return _again(known, digest)
        try:
            answer = work()
        except BaseException:
            with self._lock:
                self._answers.pop(key, None)
            raise
        with self._lock:
            self._answers[key] = (digest, answer)
        return answer


def _again(known: tuple[str, Response | None], digest: str) -> Response:
    if known[0] != digest:
        raise ProblemError(422, "idempotency", sentence("this Idempotency-Key was used for another body"))
    if known[1] is None:
        raise ProblemError(
            409, "idempotency", sentence("the first request with this Idempotency-Key is still under way")
        )
    return known[1]
