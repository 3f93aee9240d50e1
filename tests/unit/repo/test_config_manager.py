"""The interface of a settings table, over git and a client that is handed in."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.repo.config_manager import ConfigManager
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.secret import Secret

ROOT = Path(__file__).parents[3]


@pytest.fixture
def example(new_sandbox: Any) -> Any:
    made = new_sandbox("config")
    shutil.copytree(ROOT / "config-repo", made.root, dirs_exist_ok=True)
    made.git("add", "--all")
    made.git("commit", "--quiet", "-m", "first")
    return made


@pytest.fixture
def manager(example: Any) -> ConfigManager:
    client = InMemoryClient(
        {"SYNC_BATCH_SIZE": 500, "NEO4J_PASSWORD": "open-sesame-1"}, contracts=example.root / "contracts"
    )
    return ConfigManager(client, example.root, "dev")


def test_reads_come_from_the_client(manager: ConfigManager) -> None:
    """Typed, by plain or dotted key, with the contract's default where nothing sets it."""
    assert manager.get("SYNC_BATCH_SIZE") == 500
    assert manager.get("sync.SYNC_BATCH_SIZE", 7, use_cache=False) == 500
    assert manager.get("SYNC_RETRY_ATTEMPTS", 9) == 3


@pytest.mark.parametrize("key", ["NOWHERE", "sync.NOWHERE", "neo4j.SYNC_BATCH_SIZE"])
def test_an_unknown_key_is_a_warning_and_the_default(manager: ConfigManager, key: str) -> None:
    """So that old code runs on while it is moved."""
    with pytest.warns(UserWarning, match=f"there is no setting '{key}'"):
        assert manager.get(key, 42) == 42


def test_a_category_and_everything(manager: ConfigManager) -> None:
    """With what the contracts say; a secret stays one."""
    assert manager.get_category("sync")["SYNC_BATCH_SIZE"] == 500
    with pytest.raises(UsageError, match="no category"):
        manager.get_category("sink")
    everything = manager.get_all()
    assert everything["SYNC_BATCH_SIZE"] == {
        "value": 500,
        "category": "sync",
        "data_type": "integer",
        "description": everything["SYNC_BATCH_SIZE"]["description"],
        "requires_restart": False,
    }
    assert isinstance(everything["NEO4J_PASSWORD"]["value"], Secret)
    assert len(everything) == 20


def test_a_write_is_one_commit_by_the_user(manager: ConfigManager, example: Any) -> None:
    """Also of several settings; the reason is the body of the message."""
    user = SimpleNamespace(username="operator", email="operator@example.org")
    done = manager.bulk_set({"SYNC_BATCH_SIZE": 9, "sync.SYNC_TIMEOUT": 60}, user, "smaller machine")
    assert example.git("log", "-1", "--format=%an|%ae|%H") == f"operator|operator@example.org|{done.revision}"
    assert "smaller machine" in example.git("log", "-1", "--format=%b")
    assert example.git("rev-list", "--count", "HEAD") == "2"
    assert "SYNC_TIMEOUT: 60" in example.git("show", "HEAD:dev/sync.yaml")
    assert manager.set("SYNC_TIMEOUT", 61, "operator").changed
    assert example.git("log", "-1", "--format=%an") == "operator"


def test_a_write_of_what_is_unknown_or_wrong_raises(manager: ConfigManager, example: Any) -> None:
    """And of several settings none is written."""
    with pytest.raises(UsageError, match="no contract has a setting 'NOWHERE'"):
        manager.set("NOWHERE", 1)
    with pytest.raises(FindingsError):
        manager.bulk_set({"SYNC_BATCH_SIZE": 9, "SYNC_TIMEOUT": -1})
    assert example.git("rev-list", "--count", "HEAD") == "1"


def test_a_new_contract_is_known_after_reload(manager: ConfigManager, example: Any) -> None:
    """Reading and writing agree on what there is."""
    assert "SYNC_BATCH_SIZE" in manager.get_all()
    path = example.root / "contracts" / "sync.schema.json"
    path.write_text(path.read_text().replace("SYNC_PARALLELISM", "SYNC_LANES"))
    for layer in ("base", "dev", "staging", "prod"):
        file = example.root / layer / "sync.yaml"
        file.write_text(file.read_text().replace("SYNC_PARALLELISM", "SYNC_LANES"))
    example.git("commit", "--quiet", "-am", "renamed")
    manager.reload()
    assert "SYNC_LANES" in manager.get_all()
