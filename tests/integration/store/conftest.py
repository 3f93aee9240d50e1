"""What the store's integration tests share."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

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
    """Start the publishing program, with a failpoint or without; killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str, rounds: int, failpoint: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, str(tmp_path / "signing-key"), str(rounds)],
            env={**os.environ, "KEMUDI_FAILPOINT": failpoint},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for a condition, or fail at the deadline."""

    def wait(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.005)

    return wait
