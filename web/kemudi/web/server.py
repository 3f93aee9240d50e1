"""An HTTP server in a thread of its own: the signals and the work of the process stay undisturbed."""

import asyncio
import socket
import threading

import uvicorn
from starlette.types import ASGIApp

from kemudi.schema.errors import UnavailableError


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
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, *, name: str, grace_seconds: int = 1) -> None:
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=grace_seconds,
                limit_concurrency=512,
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
