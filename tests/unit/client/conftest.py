"""Snapshots by hand, for the parts of the client that need no store."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kemudi.client.client import Client
from kemudi.client.secrets import SecretReader
from kemudi.client.serving import Serving
from kemudi.client.snapshot import CategoryData, Snapshot
from kemudi.schema.generation import Generation
from kemudi.schema.secret import Secret
from kemudi.store.keyfiles import KeyFile
from kemudi.store.sealing import KeysetBundle, Sealer

KEYSETS = KeysetBundle.generate(["sync", "neo4j"])


class Bench:
    """A client's state, and the snapshots that a store would have sent."""

    def __init__(self, keysets: KeysetBundle | None = KEYSETS, *, threaded: bool = False) -> None:
        self.depth = 0
        self.sealer = Sealer(KEYSETS, repo_id="repo", env="dev")
        self.secrets = SecretReader(KeyFile.fixed(keysets))
        self.threaded = threaded
        self.serving = Serving(Snapshot.of_defaults("dev", {}), self.secrets, threaded=threaded)

    def snapshot(
        self,
        values: Mapping[str, Mapping[str, Any]],
        *,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        restart: Mapping[str, set[str]] | None = None,
    ) -> Snapshot:
        """The next generation; a Secret among the values is sealed anew each time."""
        self.depth += 1
        names = {*values, *(defaults or {})}
        categories = {
            name: self._category(
                name, values.get(name, {}), (defaults or {}).get(name, {}), (restart or {}).get(name, ())
            )
            for name in names
        }
        return Snapshot(
            "repo", "dev", f"{self.depth:040x}", Generation(0, self.depth, 0), "redis", categories
        )

    def _category(
        self, name: str, values: Mapping[str, Any], defaults: Mapping[str, Any], restart: Any
    ) -> CategoryData:
        sealed = {
            key: ("string", self.sealer.seal(name, key, "string", value.reveal()))
            for key, value in values.items()
            if isinstance(value, Secret)
        }
        plain = {key: value for key, value in values.items() if key not in sealed}
        rest = {key: value for key, value in defaults.items() if key not in values}
        return CategoryData(name, plain, rest, sealed, frozenset(restart))

    def start(self, values: Mapping[str, Mapping[str, Any]], **more: Any) -> Client:
        """A client that started with these settings."""
        self.serving.offer(self.snapshot(values, **more))
        self.serving.start()
        return Client(self.serving, None)

    def offer(self, values: Mapping[str, Mapping[str, Any]], **more: Any) -> Any:
        """Offer the next snapshot; the refusal, or None."""
        return self.serving.offer(self.snapshot(values, **more))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def bench_with() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait for a condition, with a deadline."""

    def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.002)

    return wait
