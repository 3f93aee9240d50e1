"""Changes as an asynchronous iterator."""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Self

from kemudi.client.subscription import Callback, Change, Subscription

_BACKLOG: Final = 10_000


class ChangeStream:
    """`async for change in config.changes("SYNC_*")`: every change from the call on, in order.

    Ends when it or the client is closed. A reader that falls very far behind gets, for a setting that changed again
    meanwhile, one change from the oldest value to the newest. Belongs to the event loop in which it was made.
    """

    def __init__(self, subscribe: Callable[[Callback], Subscription]) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Change] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self._subscription = subscribe(_weak_receiver(self))
        # A stream that is dropped without being closed takes its subscription along.
        weakref.finalize(self, self._subscription.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """End. May be repeated."""
        self.end()

    def end(self) -> None:
        """End, from any thread."""
        self._subscription.close()
        self._closed = True
        self.receive(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.end()

    def receive(self, change: Change | None) -> None:
        """Take a change, from any thread; None only wakes the reader up."""
        try:
            self._loop.call_soon_threadsafe(self._put, change)
        except RuntimeError:  # the loop is closed, and so is whoever read from it
            self._subscription.close()

    def _put(self, change: Change | None) -> None:
        if change is not None:
            self._waiting.append(change)
            if len(self._waiting) > _BACKLOG:
                self._waiting = _merged(self._waiting)
        self._arrived.set()


def _weak_receiver(stream: ChangeStream) -> Callback:
    reference = weakref.ref(stream)

    def receive(change: Change) -> None:
        alive = reference()
        if alive is not None:
            alive.receive(change)

    return receive


def _merged(changes: deque[Change]) -> deque[Change]:
    """One change for each setting, from its oldest value to its newest, in the order of the newest."""
    merged: dict[str, Change] = {}
    for change in changes:
        before = merged.pop(change.key, change)
        merged[change.key] = Change(
            change.key, before.old, change.new, change.revision, change.generation, change.category
        )
    return deque(merged.values())
