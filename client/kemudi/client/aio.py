"""The client for asyncio: the same names; what waits is awaited, callbacks and checks may be coroutines.

    async with connect("prod") as config:
        limit = config["GRAPH_CLASSMATES_LIMIT"]  # a read is a dict look-up here, too
        async for change in config.changes("GRAPH_*"): ...

The network stays in the threads of the client, so nothing here blocks the event loop.
"""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Any, Final, Self, TypeAlias, TypeVar, Unpack

from pydantic import BaseModel

from kemudi.client import connection
from kemudi.client.client import Client
from kemudi.client.connection import ConnectOptions
from kemudi.client.health import Health
from kemudi.client.pin import View
from kemudi.client.prepare import TIMEOUT_SECONDS, Preparation
from kemudi.client.stream import ChangeStream
from kemudi.client.subscription import Change
from kemudi.client.view import Readable, plaintexts
from kemudi.schema.masking import masked

__all__ = ["AsyncClient", "AsyncSubscription", "connect"]

_log: Final = logging.getLogger("kemudi.client")

ModelT = TypeVar("ModelT", bound=BaseModel)
AsyncCallback: TypeAlias = Callable[[Change], Awaitable[object] | object]
AsyncCheck: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[object] | object]


class AsyncSubscription:
    """A callback in the event loop, told of changes until `.close()`. One call at a time, in order."""

    def __init__(self, stream: ChangeStream, callback: AsyncCallback, config: Client, pattern: str) -> None:
        self._stream = stream
        self._callback = callback
        self._config = config
        self.pattern = pattern
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"kemudi changes of {pattern}")

    async def _run(self) -> None:
        async for change in self._stream:
            try:
                result = self._callback(change)
                if inspect.isawaitable(result):
                    await result
            except Exception:  # noqa: BLE001 - a callback may raise anything and must not end the subscription
                trace = masked(traceback.format_exc(), plaintexts(self._config.serving.served), limit=4_000)
                _log.error("the subscription to %r failed at %s: %s", self.pattern, change.key, trace)

    @property
    def ended(self) -> bool:
        """Whether nothing is told any more."""
        return self._task.done()

    def close(self) -> None:
        """No call starts after this. May be repeated."""
        self._stream.end()

    async def aclose(self) -> None:
        """Close, and wait for a call that runs."""
        self.close()
        await asyncio.gather(self._task, return_exceptions=True)


class AsyncClient(Readable):
    """The settings of one environment for code in an event loop. Made by `connect`."""

    __slots__ = ("_client", "_subscriptions")

    def __init__(self, client: Client) -> None:
        super().__init__(client.serving.cache)
        client.serving.attach(self)
        self._client = client
        self._subscriptions: list[AsyncSubscription] = []

    @property
    def sync(self) -> Client:
        """The client underneath, which belongs to no event loop: for code in threads and for the testing kit."""
        return self._client

    def pin(self) -> View:
        """As `Client.pin`."""
        return self._client.pin()

    def bind(self, model: type[ModelT]) -> ModelT:
        """As `Client.bind`."""
        return self._client.bind(model)

    def health(self) -> Health:
        """As `Client.health`."""
        return self._client.health()

    def changes(self, pattern: str) -> ChangeStream:
        """As `Client.changes`."""
        return self._client.changes(pattern)

    def subscribe(self, pattern: str, callback: AsyncCallback) -> AsyncSubscription:
        """As `Client.subscribe`, in this event loop; `callback` may be a coroutine function, and is awaited."""
        subscription = AsyncSubscription(self._client.changes(pattern), callback, self._client, pattern)
        self._subscriptions = [*(one for one in self._subscriptions if not one.ended), subscription]
        return subscription

    def prepare(self, selector: str, check: AsyncCheck, *, timeout: float = TIMEOUT_SECONDS) -> Preparation:
        """As `Client.prepare`, in this event loop; `check` may be a coroutine function, cancelled when it hangs."""
        loop = asyncio.get_running_loop()

        async def ask(values: Mapping[str, Any]) -> object:
            result = check(values)
            return await result if inspect.isawaitable(result) else result

        def in_thread(values: Mapping[str, Any]) -> object:
            future = asyncio.run_coroutine_threadsafe(ask(values), loop)
            try:
                return future.result(timeout)
            except TimeoutError:
                future.cancel()
                raise

        return self._client.prepare(selector, in_thread, timeout=timeout)

    async def close(self) -> None:
        """As `Client.close`; waits for callbacks that run."""
        for subscription in self._subscriptions:
            subscription.close()
        await asyncio.to_thread(self._client.close)
        for subscription in self._subscriptions:
            await subscription.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<asynchronous {self._client!r}>"


class _Connecting:
    """`await` it for a client, or enter it with `async with`."""

    def __init__(self, start: Callable[[], Client]) -> None:
        self._start = start
        self._client: AsyncClient | None = None

    async def _connected(self) -> AsyncClient:
        return AsyncClient(await asyncio.to_thread(self._start))

    def __await__(self) -> Generator[Any, None, AsyncClient]:
        return self._connected().__await__()

    async def __aenter__(self) -> AsyncClient:
        self._client = await self._connected()
        return self._client

    async def __aexit__(self, *_exc: object) -> None:
        if self._client is not None:
            await self._client.close()


def connect(env: str | None = None, **options: Unpack[ConnectOptions]) -> _Connecting:
    """Take the arguments of `kemudi.client.connect`; `await` the result, or enter it with `async with`."""
    return _Connecting(partial(connection.connect, env, **options))
