"""What the store's integration tests share."""

import asyncio
import importlib.util
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey

PROGRAM = Path(__file__).with_name("world.py")


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """The module beside this file: snapshots, a reader that checks, and the program that publishes."""
    spec = importlib.util.spec_from_file_location("kemudi_store_world", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def signing(tmp_path: Path) -> SigningKey:
    """A key, saved as `signing-key` in the test's folder."""
    key = SigningKey.generate()
    key.save(tmp_path / "signing-key")
    return key


@pytest.fixture
def make_store() -> Iterator[Callable[..., RedisStore]]:
    """Stores that are closed after the test."""
    made: list[RedisStore] = []

    def make(url: str, env: str = "prod", **options: float) -> RedisStore:
        made.append(RedisStore(url, env, **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def spawn(tmp_path: Path, signing: SigningKey) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the publishing program, with a failpoint or without; ended after the test. One that hangs says where."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str, rounds: int, failpoint: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, str(tmp_path / "signing-key"), str(rounds)],
            env={**os.environ, "KEMUDI_FAILPOINT": failpoint, "PYTHONFAULTHANDLER": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                print(process.communicate(timeout=5)[1])
        process.kill()
        process.communicate()


class Front:
    """Passes everything on between clients and a server; speaks TLS to clients if told to.

    Attributes:
        deaf_after: Once a client sends these bytes, its connection ends before the answer comes; then never again.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.deaf_after = b""
        self.loop = asyncio.new_event_loop()
        self.servers: list[asyncio.Server] = []
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def start(self, chain: Path | None = None) -> int:
        """Listen on a free port, with a certificate and its key or without."""
        context = None
        if chain is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
        listening = asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=context)
        self.servers.append(asyncio.run_coroutine_threadsafe(listening, self.loop).result(10))
        return int(self.servers[-1].sockets[0].getsockname()[1])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.port)
        deaf = asyncio.Event()
        await asyncio.gather(self.pump(reader, back_writer, deaf), self.pump(back_reader, writer, deaf))

    async def pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        try:
            with suppress(OSError):
                while data := await source.read(65_536):
                    if self.deaf_after and self.deaf_after in data:
                        self.deaf_after = b""
                        deaf.set()
                    elif deaf.is_set():
                        break
                    target.write(data)
                    await target.drain()
        finally:
            target.close()
        with suppress(OSError):
            await target.wait_closed()

    async def end(self) -> None:
        for server in self.servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def front(own_redis: Any) -> Iterator[Front]:
    """A front of the test's own server."""
    made = Front(own_redis.port)
    yield made
    made.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for a condition, or fail at the deadline."""

    def wait(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.005)

    return wait
