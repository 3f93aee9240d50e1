"""Small config repos in memory."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kemudi.schema.state import ConfigState, File

REPO_ID = "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21"
MANIFEST = f"""\
format: 1
id: {REPO_ID}
environments:
  - {{name: dev, mode: worktree}}
  - {{name: prod, layers: [base, prod]}}
services:
  worker: [sync]
"""


def contract(properties: dict[str, Any], **rest: Any) -> str:
    """The text of a contract; a description is added where none is given."""
    described = {key: {"description": f"About {key}.", **value} for key, value in properties.items()}
    return json.dumps({"type": "object", "properties": described, **rest}, indent=1)


SYNC = contract(
    {
        "SYNC_BATCH_SIZE": {"type": "integer", "minimum": 1, "default": 1000, "x-kemudi-unit": "rows"},
        "SYNC_PAUSED": {"type": "boolean", "default": False},
        "SYNC_MODE": {"type": "string", "default": "full", "enum": ["full", "delta"]},
        "SYNC_WEIGHTS": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0},
            "default": {"a": 1},
        },
    }
)
STORE = contract(
    {
        "STORE_URI": {"type": "string", "pattern": "^[a-z]+://", "default": "x://y"},
        "STORE_PASSWORD": {"type": "string", "minLength": 8, "x-kemudi-sensitive": True},
    }
)
BASE = {
    "kemudi.yaml": MANIFEST,
    "contracts/sync.schema.json": SYNC,
    "contracts/store.schema.json": STORE,
    "base/sync.yaml": "SYNC_BATCH_SIZE: 500\n",
    "prod/sync.yaml": "# more in prod\nSYNC_BATCH_SIZE: 5000\n",
}

Repo = Callable[..., ConfigState]


@pytest.fixture
def make_contract() -> Callable[..., str]:
    """`contract(properties, **rest)`: the text of a contract."""
    return contract


@pytest.fixture
def repo() -> Repo:
    """`repo({path: text})`: the state of a small valid repo with these files changed; None deletes one."""

    def make(changes: dict[str, str | bytes | None] | None = None) -> ConfigState:
        contents = {**BASE, **(changes or {})}
        return ConfigState.load(
            File(path, text.encode() if isinstance(text, str) else text)
            for path, text in contents.items()
            if text is not None
        )

    return make
