"""The testing kit itself."""

import asyncio
import threading

import pytest
from pydantic import BaseModel

from kemudi.client import SettingNotFoundError
from kemudi.client.aio import AsyncClient
from kemudi.client.testing import InMemoryClient, kemudi_config, override  # noqa: F401 - a fixture
from kemudi.schema.contract import setting
from kemudi.schema.errors import FindingsError, RefusedError
from kemudi.schema.secret import Secret


class SyncSettings(BaseModel):
    SYNC_BATCH_SIZE: int = setting(1000, description="Rows.", ge=1)
    SYNC_TIMEOUT: int = setting(3600, description="Seconds.", ge=1)


class Neo4jSettings(BaseModel):
    NEO4J_URI: str = setting("bolt://localhost", description="Where.", requires_restart=True)
    NEO4J_PASSWORD: Secret[str] | None = setting(None, description="Password.", sensitive=True)


CONTRACTS = [SyncSettings, Neo4jSettings]


@pytest.fixture
def kemudi_values():
    return {"SYNC_BATCH_SIZE": 7}


def test_the_fixture_takes_its_values_from_a_fixture(kemudi_config):  # noqa: F811 - the fixture
    """`kemudi_config` holds what the test's own `kemudi_values` says."""
    assert kemudi_config["SYNC_BATCH_SIZE"] == 7


def test_without_contracts_values_are_as_given():
    """Any name and value is served; nothing has a default."""
    config = InMemoryClient({"anything": [1]})
    assert config["anything"] == [1]
    assert config.get("other") is None
    assert config.health().source == "memory"


def test_with_contracts_the_client_is_as_strict_as_a_commit():
    """Defaults, unknown names, wrong values, whole floats and sensitive settings are as the contracts say."""
    config = InMemoryClient({"SYNC_BATCH_SIZE": 10.0, "NEO4J_PASSWORD": "hunter2"}, contracts=CONTRACTS)
    assert (config["SYNC_BATCH_SIZE"], config["SYNC_TIMEOUT"]) == (10, 3600)
    assert type(config["SYNC_BATCH_SIZE"]) is int
    assert config["NEO4J_PASSWORD"].reveal() == "hunter2"
    assert dict(config.category("sync")) == {"SYNC_BATCH_SIZE": 10, "SYNC_TIMEOUT": 3600}
    with pytest.raises(SettingNotFoundError, match="did you mean 'SYNC_BATCH_SIZE'"):
        InMemoryClient({"SYNC_BATCHSIZE": 1}, contracts=CONTRACTS)
    with pytest.raises(FindingsError, match="SYNC_BATCH_SIZE"):
        InMemoryClient({"SYNC_BATCH_SIZE": 0}, contracts=CONTRACTS)
    with pytest.raises(FindingsError):
        config.publish(SYNC_BATCH_SIZE="many")
    assert config["SYNC_BATCH_SIZE"] == 10


def test_publish_is_a_new_generation():
    """`publish` advances the generation, keeps what is not named, and asks checks."""
    config = InMemoryClient({"SYNC_BATCH_SIZE": 1}, contracts=CONTRACTS)
    config.prepare("sync", lambda values: values["SYNC_BATCH_SIZE"] < 100)
    config.publish(SYNC_TIMEOUT=5)
    assert (config["SYNC_BATCH_SIZE"], config["SYNC_TIMEOUT"], config.generation) == (1, 5, "0.2.0")
    with pytest.raises(RefusedError, match="sync: the check refused"):
        config.publish(SYNC_BATCH_SIZE=500)
    assert (config["SYNC_BATCH_SIZE"], config.generation) == (1, "0.2.0")
    config.publish(NEO4J_URI="bolt://other", revision="f" * 40)
    assert config["NEO4J_URI"] == "bolt://localhost"
    assert config.revision == "f" * 40
    assert config.health().restart_pending == ("NEO4J_URI",)


def test_overrides_nest_and_end_in_any_order():
    """The innermost override wins; each ends on its own; other settings are as they were."""
    config = InMemoryClient({"A": 1, "B": 1})
    outer, inner = override(config, A=2, B=2), override(config, A=3)
    outer.__enter__()
    inner.__enter__()
    assert (config["A"], config["B"]) == (3, 2)
    outer.__exit__(None, None, None)
    assert (config["A"], config["B"]) == (3, 1)
    inner.__exit__(None, None, None)
    assert (config["A"], config["B"]) == (1, 1)


def test_an_override_holds_through_a_swap_and_an_error():
    """A later generation does not lift an override; leaving by an exception does."""
    config = InMemoryClient({"A": 1})
    with override(config, A=2, NEW=3):
        config.publish(A=9)
        assert (config["A"], config["NEW"], config.get("A", default=0)) == (2, 3, 2)
    with pytest.raises(ZeroDivisionError), override(config, A=2, NEW=3):
        config["A"] / 0
    assert config["A"] == 9
    assert "NEW" not in config


def test_an_override_of_a_secret_is_masked():
    """A plain value for a sensitive setting is served as a Secret."""
    config = InMemoryClient({"NEO4J_PASSWORD": "hunter2"}, contracts=CONTRACTS)
    with override(config, NEO4J_PASSWORD="hunter3"):
        assert config["NEO4J_PASSWORD"].reveal() == "hunter3"
        assert "hunter3" not in repr(config["NEO4J_PASSWORD"])


def test_overrides_from_many_threads_leave_nothing_behind():
    """Threads that override at once each see an override of some thread, and in the end none."""
    config = InMemoryClient({"A": 0})
    failures = []

    def work(number):
        for _ in range(50):
            with override(config, A=number):
                if config["A"] not in range(1, 5):
                    failures.append(config["A"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert config["A"] == 0


def test_override_wants_a_client():
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="not a client"), override({}, A=1):
        pass


def test_the_kit_works_for_asyncio():
    """A client in memory serves an event loop, too, and can be overridden there."""

    async def main():
        client = InMemoryClient({"A": 1})
        config = AsyncClient(client)
        told = []

        async def tell(change):
            told.append(change.new)

        config.subscribe("A", tell)
        with override(config, A=2):
            assert config["A"] == 2
        async with asyncio.timeout(5):
            while told != [2, 1]:  # noqa: ASYNC110 - it waits for another task
                await asyncio.sleep(0)
        await config.close()

    asyncio.run(main())
