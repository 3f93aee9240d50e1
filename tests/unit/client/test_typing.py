"""What a type checker says to code that uses the client."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from collections.abc import Mapping
from typing import Any, assert_type

from pydantic import BaseModel

from kemudi.client import Change, Client, Subscription, View, connect
from kemudi.client.aio import AsyncClient, connect as aconnect
from kemudi.client.testing import InMemoryClient, override


class Sync(BaseModel):
    SYNC_BATCH_SIZE: int = 1


def use(config: Client) -> None:
    sync = config.bind(Sync)
    assert_type(sync, Sync)
    assert_type(sync.SYNC_BATCH_SIZE, int)
    with config.pin() as view:
        assert_type(view, View)
        assert_type(view.bind(Sync), Sync)
    assert_type(config.category("sync"), Mapping[str, Any])
    assert_type(config.revision, str | None)
    with config.subscribe("*", lambda change: assert_type(change, Change)) as subscription:
        assert_type(subscription, Subscription)
    config.prepare("sync", lambda values: values["SYNC_BATCH_SIZE"] > 0)
    with override(config, SYNC_BATCH_SIZE=1):
        pass


async def use_async() -> None:
    async with aconnect("dev", timeout=1.0) as config:
        assert_type(config, AsyncClient)
        assert_type(config.bind(Sync), Sync)

        async def tell(change: Change) -> None: ...

        config.subscribe("*", tell)
        async for change in config.changes("*"):
            assert_type(change, Change)
    assert_type(await aconnect("dev"), AsyncClient)


use(InMemoryClient({"SYNC_BATCH_SIZE": 1}, contracts=[Sync]))
use(connect("dev", contracts={"sync": Sync}, categories=["sync"]))
connect("dev", timeout="soon")  # type: ignore[arg-type]
aconnect("dev", timeout="soon")  # type: ignore[arg-type]
"""


def test_mypy_sees_the_types(tmp_path):
    """Under strict mypy a bound model is the model, and a wrong argument is an error."""
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(__file__).parents[3]
    config = tmp_path / "mypy.ini"
    roots = ":".join(str(root / name) for name in ("schema", "store", "client"))
    config.write_text(
        f"[mypy]\nstrict = True\nfollow_imports = silent\nexplicit_package_bases = True\nmypy_path = {roots}\n"
        "[mypy-tink.*]\nignore_missing_imports = True\n"
    )
    argv = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(config),
        "--cache-dir",
        str(tmp_path),
        "program.py",
    ]
    run = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
