"""Defaults that a process declares."""

import json

import pytest
from pydantic import BaseModel

from kemudi.client.defaults import category_of, declared_contracts, declared_defaults
from kemudi.schema.contract import setting
from kemudi.schema.errors import UsageError


class GraphQuerySettings(BaseModel):
    LIMIT: int = setting(50, description="Most.")
    MODE: str = setting("calm", description="How.", requires_restart=True)
    TOKEN: str | None = setting(None, description="Secret.", sensitive=True)


def test_models_and_folders_declare_the_same(tmp_path):
    """A model, a model by category and its exported contract give equal defaults; a secret has none."""
    from kemudi.schema.contract import write_contracts

    write_contracts({"graph_query": GraphQuerySettings}, tmp_path)
    forms = [[GraphQuerySettings], {"graph_query": GraphQuerySettings}, tmp_path, str(tmp_path)]
    for form in forms:
        declared = declared_defaults(declared_contracts(form))
        assert set(declared) == {"graph_query"}
        assert dict(declared["graph_query"].defaults) == {"LIMIT": 50, "MODE": "calm"}
        assert declared["graph_query"].restart == {"MODE"}
    assert declared_contracts(None) == {}


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("SyncSettings", "sync"),
        ("GraphQuerySettings", "graph_query"),
        ("HTTPConfig", "http"),
        ("Settings", "settings"),
    ],
)
def test_a_model_is_named_after_its_category(name, category):
    """The class name in lower case, without Settings, Contract or Config."""
    assert category_of(type(name, (BaseModel,), {})) == category


def test_what_declares_nothing_usable_is_an_error(tmp_path):
    """Two models of one name, other objects, and broken or unreadable files are named."""
    twin = type("GraphQueryContract", (BaseModel,), {})
    with pytest.raises(UsageError, match="two models are named for the category 'graph_query'"):
        declared_contracts([GraphQuerySettings, twin])
    with pytest.raises(UsageError, match="takes a folder"):
        declared_contracts([object])
    (tmp_path / "sync.schema.json").write_text(json.dumps({"type": "array"}))
    with pytest.raises(UsageError, match=r"sync\.schema\.json:1:"):
        declared_contracts(tmp_path)
    (tmp_path / "sync.schema.json").unlink()
    (tmp_path / "sync.schema.json").mkdir()
    with pytest.raises(UsageError, match="cannot read the contract"):
        declared_contracts(tmp_path)
