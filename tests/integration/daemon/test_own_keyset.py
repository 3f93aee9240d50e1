"""A service opens the secrets of its own categories, and logs in with them; no other service can."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import kemudi.client
from kemudi.cli.keys import make_keys
from kemudi.cli.sealing import reseal, write_recipients
from kemudi.cli.workspace import open_workspace
from kemudi.client import SecretUnreadableError
from kemudi.graph.opening import open_store
from kemudi.store.sealing import KeysetBundle

EXAMPLE = Path(__file__).parents[3] / "config-repo"


@pytest.mark.neo4j
def test_the_graph_service_logs_in_with_its_own_keyset(
    neo4j_server: Any, repo: Any, settings: Any, locals_: Any, redis_url: str, kit: Any, tmp_path: Path
) -> None:
    """A generated password, sealed in git and again in Redis, opens a real Neo4j for the graph service alone."""
    shutil.copytree(EXAMPLE, repo.path, dirs_exist_ok=True)
    keys = make_keys(tmp_path / "secret-keys", open_workspace(repo.path).state)
    write_recipients(repo.path, keys.recipient)
    reseal(repo.path, "NEO4J_PASSWORD", neo4j_server.password)
    file = repo.path / "dev" / "neo4j.yaml"
    lines = [
        line for line in file.read_text().splitlines() if not line.startswith(("NEO4J_URI:", "NEO4J_USER:"))
    ]
    repo.write(
        "dev/neo4j.yaml", "\n".join([*lines, f"NEO4J_URI: {neo4j_server.uri}", "NEO4J_USER: neo4j", ""])
    )
    repo.commit()
    daemon = locals_(
        replace(
            settings,
            identity=keys.identity,
            signing_key=keys.signing_key,
            keyset=keys.keyset,
            environments=("dev",),
            mode="commit",
        )
    ).start()
    assert daemon.reason() == "Applied", daemon.status()

    def client(service: str, keyset: Path) -> Any:
        return kemudi.client.connect(
            "dev",
            redis_url=redis_url,
            service=service,
            keyset=keyset,
            verify_key=keys.verify_key,
            state_dir=tmp_path / service,
        )

    own = keys.service_keyset(["graph"])
    assert "sync" not in KeysetBundle.load(own).categories
    with client("graph", own) as config:
        store = open_store(config, None)
        store.prepare()
        store.close()
    other = tmp_path / "other.json"
    KeysetBundle.load(keys.keyset).subset(["performance"]).save(other)
    with client("other", other) as config:
        assert config["CACHE_TTL"] >= 1
        with pytest.raises(SecretUnreadableError, match="performance") as caught:
            config["NEO4J_PASSWORD"].reveal()
        assert neo4j_server.password not in str(caught.value)
