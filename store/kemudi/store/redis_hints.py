"""Hints from Redis: a subscription that notices when it is deaf, and can be ended from another thread."""

import random
import select
import socket
import threading
import time
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError

from kemudi.schema.errors import KemudiError
from kemudi.store.connection import FAILURES, Connection
from kemudi.store.keys import Keys

PING_AFTER_SECONDS: Final = 3.0
DEAD_AFTER_SECONDS: Final = 3.0
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 5.0


class RedisHints:
    """A subscription on a connection of its own; see `kemudi.store.base.HintStream`.

    A server that was stopped keeps its TCP connections open and sends nothing, so silence is answered with
    a PING, and silence after that ends the connection. At most PING_AFTER_SECONDS + DEAD_AFTER_SECONDS pass
    before that.
    """

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._source = connection
        self._channel = keys.channel
        self._pool: Any = None
        self._connection: Any = None
        self._subscribed = False
        self._heard = 0.0
        self._pinged: float | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._closed = threading.Event()
        self._waiting = threading.Lock()
        self._awake, self._waker = socket.socketpair()
        self._waker.setblocking(False)

    @property
    def connected(self) -> bool:
        """Whether hints arrive at present."""
        return self._subscribed

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a hint, or for a connection that may have missed some."""
        deadline = time.monotonic() + timeout_seconds
        with self._waiting:
            while not self._closed.is_set():
                try:
                    if self._step(deadline):
                        return True
                except (*FAILURES, KemudiError):
                    self._drop()
                if time.monotonic() >= deadline:
                    return False
        return False

    def _step(self, deadline: float) -> bool:
        now = time.monotonic()
        if self._connection is None:
            if now < self._retry_at:
                self._sleep(min(deadline, self._retry_at) - now)
                return False
            self._subscribe()
        if self._drain():
            return True
        wake_at = min(deadline, self._keep_alive())
        self._sleep(wake_at - time.monotonic())
        return self._connection.can_read(0) and self._drain()

    def _subscribe(self) -> None:
        self._pool = self._source.pool_of(self._channel)
        self._connection = self._pool.get_connection()
        self._connection.send_command("SUBSCRIBE", self._channel)
        self._heard = self._pinged = time.monotonic()

    def _drain(self) -> bool:
        """Read all that has come. True when a hint or the confirmed subscription was among it."""
        news = False
        while self._connection.can_read(0):
            kind = self._connection.read_response()[0]
            self._heard, self._pinged = time.monotonic(), None
            if kind == b"subscribe":
                self._subscribed, self._failures = True, 0
            news = news or kind in {b"subscribe", b"message"}
        return news

    def _keep_alive(self) -> float:
        """Break silence. Returns when to look again; raises when there is no answer."""
        now = time.monotonic()
        if self._pinged is None and now - self._heard >= PING_AFTER_SECONDS:
            self._connection.send_command("PING")
            self._pinged = now
        if self._pinged is None:
            return self._heard + PING_AFTER_SECONDS
        if now - self._pinged >= DEAD_AFTER_SECONDS:
            raise RedisConnectionError("no answer to a PING")
        return self._pinged + DEAD_AFTER_SECONDS

    def _sleep(self, seconds: float) -> None:
        """Until there is something to read, or `close`, or the time is over."""
        poll = select.poll()
        poll.register(self._awake, select.POLLIN)
        # redis-py shows its socket nowhere else, and only the socket can be waited for beside another.
        sock = self._connection and self._connection._sock  # noqa: SLF001
        if sock is not None:
            poll.register(sock, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)

    def _drop(self) -> None:
        """Give up the connection; the next one is tried after a pause that grows and differs by process."""
        self._release()
        self._failures += 1
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 16))
        self._retry_at = time.monotonic() + longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        self._subscribed = False
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)

    def close(self) -> None:
        """End, wake up who waits, and release the connection."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._waker.send(b"\0")
        with self._waiting:
            self._release()
            self._source.close()
            self._awake.close()
            self._waker.close()
