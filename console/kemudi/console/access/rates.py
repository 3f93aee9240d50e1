"""How often somebody may try to sign in."""

from typing import Final

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from kemudi.console.problems import ProblemError
from kemudi.schema.sentences import sentence

_PER_ADDRESS: Final = parse("20/minute")
_PER_LOGIN: Final = parse("5/minute")


class SignInRates:
    """Counts attempts by address and by login, in memory."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def succeeded(self, login: str) -> None:
        """Who got in has not been guessing: forget the attempts of that login."""
        self._limiter.clear(_PER_LOGIN, "login", login.casefold()[:200])

    def check(self, address: str, login: str = "") -> None:
        """Count one attempt. Raises ProblemError (429) when there were too many."""
        by_address = self._limiter.hit(_PER_ADDRESS, "address", address)
        by_login = not login or self._limiter.hit(_PER_LOGIN, "login", login.casefold()[:200])
        if not (by_address and by_login):
            raise ProblemError(
                429,
                "rate-limited",
                sentence("too many attempts; wait a minute"),
                headers={"Retry-After": "60"},
            )
