"""An HTTP server in a thread of its own: the signals and the work of the process stay undisturbed."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from kemudi.schema.errors import UnavailableError

MOST_CONNECTIONS: Final = 512


def listen(host: str, port: int, *, who: str) -> socket.socket:
    """A listening socket of `who` ("the daemon"). Raises UnavailableError that names the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UnavailableError(f"{who} cannot listen on {host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"{who} cannot listen on {host}:{port}: {error.strerror}",
            hint="Another process has the port; choose one with --port.",
        ) from error
    return listener


class HttpServer:
    """Serves one application on one socket.

    Args:
        app: The application.
        listener: What `listen` gave; closed by `join`.
        name: Of the thread.
        grace_seconds: How long requests under way, event streams too, may go on after `stop`.
        most_connections: A request on one more is refused with a problem (RFC 9457), and that connection closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        name: str,
        grace_seconds: int = 1,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                _Bounded(app, most_connections, lambda: len(self._server.server_state.connections)),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=grace_seconds,
            )
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def url(self) -> str:
        """The base address."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop answering; requests under way get a moment to end. Returns at once."""
        self._server.should_exit = True

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end, and free the port."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        self._listener.close()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Stop, wait for the end, and free the port."""
        self.stop()
        self.join(timeout_seconds)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))


class _Bounded:
    """Refuses what is too much, as uvicorn's own limit does, but with an answer that API clients understand."""

    _BODY: Final = json.dumps(
        {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "too many connections at once",
        }
    ).encode()

    def __init__(self, app: ASGIApp, most: int, connections: Callable[[], int]) -> None:
        self._app = app
        self._most = most
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._connections() <= self._most:
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(self._BODY)).encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": self._BODY})
