"""The worked example `config-repo/`: valid, complete, in step with the models, and sealed to nobody we know."""

import json
from pathlib import Path

import pytest

from kemudi.graph.settings import CONTRACTS
from kemudi.schema.contract import write_contracts
from kemudi.schema.envelope import Envelope
from kemudi.schema.state import ConfigState, File

ROOT = Path(__file__).parents[3] / "config-repo"
KEYS = {
    "neo4j": {"NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD", "NEO4J_ENABLE_SYNC"},
    "graph_query": {
        "GRAPH_CLASSMATES_LIMIT",
        "GRAPH_RECOMMENDATIONS_LIMIT",
        "GRAPH_FRIENDS_OF_FRIENDS_LIMIT",
        "GRAPH_QUERY_TIMEOUT",
        "GRAPH_RECOMMENDATION_ALGORITHM",
        "GRAPH_HYBRID_WEIGHTS",
    },
    "sync": {"SYNC_BATCH_SIZE", "SYNC_TIMEOUT", "SYNC_RETRY_ATTEMPTS", "SYNC_PARALLELISM"},
    "performance": {"CACHE_TTL", "API_RATE_LIMIT"},
    "feature_flag": {
        "GRAPH_FEATURE_ENABLED",
        "GRAPH_RECOMMENDATIONS_ENABLED",
        "GRAPH_CACHE_ENABLED",
        "SYNC_PAUSED",
    },
}


@pytest.fixture(scope="module")
def example() -> ConfigState:
    """The state of the shipped files."""
    return ConfigState.load(
        File(path.relative_to(ROOT).as_posix(), path.read_bytes())
        for path in ROOT.rglob("*")
        if path.is_file()
    )


def test_the_example_has_no_finding(example: ConfigState) -> None:
    """A newcomer starts from a repo that validates."""
    assert example.findings == ()


def test_the_example_holds_all_settings(example: ConfigState) -> None:
    """Twenty settings in five categories, each with a value in every environment."""
    assert {name: set(contract.settings) for name, contract in example.contracts.items()} == KEYS
    for env in ("dev", "staging", "prod"):
        resolved = example.resolve(env)
        assert {name: set(each.settings) for name, each in resolved.items()} == KEYS
        for category, each in resolved.items():
            for key, found in each.settings.items():
                assert found.layer != "default", (env, category, key)


def test_the_environments_are_as_described(example: ConfigState) -> None:
    """dev serves saves, prod commits only; each has the files that others edit; they differ."""
    assert example.manifest is not None
    modes = [(each.name, each.mode, each.reject) for each in example.manifest.environments]
    assert modes == [
        ("dev", "worktree", "commit"),
        ("staging", "commit", "commit"),
        ("prod", "commit", "commit"),
    ]
    assert [policy["rule"] for policy in example.manifest.policies] == ["change-size", "break-glass"]
    assert example.manifest.services.keys() == {"graph", "sync"}
    for env in ("dev", "staging", "prod"):
        for name in ("graph_query", "sync", "neo4j"):
            assert (ROOT / env / f"{name}.yaml").is_file()
    sizes = {
        example.resolve(env)["sync"].settings["SYNC_BATCH_SIZE"].value for env in ("dev", "staging", "prod")
    }
    assert len(sizes) == 3


def test_every_values_file_names_its_schema_for_editors() -> None:
    """The first line points at the rendering that lies beside the contract."""
    files = [path for layer in ("base", "dev", "staging", "prod") for path in (ROOT / layer).glob("*.yaml")]
    assert len(files) > 15
    for path in files:
        first = path.read_text(encoding="utf-8").split("\n")[0]
        target = first.removeprefix("# yaml-language-server: $schema=")
        assert target != first
        rendering = json.loads((path.parent / target).resolve().read_text(encoding="utf-8"))
        assert rendering["title"] == path.stem


def test_the_checked_in_contracts_are_those_of_the_models(tmp_path: Path) -> None:
    """A changed model needs its contracts written again, in the same pull request."""
    written = write_contracts(CONTRACTS, tmp_path)
    shipped = {
        path.relative_to(ROOT / "contracts").as_posix() for path in (ROOT / "contracts").rglob("*.json")
    }
    assert {path.relative_to(tmp_path).as_posix() for path in written} == shipped
    for path in written:
        same = ROOT / "contracts" / path.relative_to(tmp_path)
        assert same.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), same


def test_the_password_is_sealed_for_each_environment(example: ConfigState) -> None:
    """Place and recipients are right, no two ciphertexts are equal, and no private key is shipped."""
    found = [
        example.resolve(env)["neo4j"].settings["NEO4J_PASSWORD"].value for env in ("dev", "staging", "prod")
    ]
    assert all(isinstance(each, Envelope) for each in found)
    assert len({str(each) for each in found}) == 3
    for path in ROOT.rglob("*"):
        if path.is_file():
            assert b"AGE-SECRET-KEY" not in path.read_bytes()
