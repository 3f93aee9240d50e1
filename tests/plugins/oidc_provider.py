"""A real OpenID Connect provider for tests marked `oidc`: a program for Node, one process for each module of tests.

Its library is kept in `$KEMUDI_TEST_CACHE`, else in `~/.cache/kemudi`.
"""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

VERSION = "8.8.1"
SCRIPT = Path(__file__).with_suffix(".mjs")
CLIENT_SECRET = "kemudi-canary-oidc-5b1d0e/+ &"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "editor-7": {
        "name": "Editor Seven",
        "email": "editor-7@example.org",
        "email_verified": True,
        "groups": ["operators", "staff"],
    },
    "unverified": {"name": "Somebody <else>", "email": "editor-7@example.org", "email_verified": False},
    "group:operators": {"email": "group:operators", "email_verified": True},
}


def library() -> Path:
    """The entry of the provider's library, fetched on first use. Its folder is whole or absent."""
    base = os.environ.get("KEMUDI_TEST_CACHE")
    cache = Path(base) if base else Path.home() / ".cache" / "kemudi"
    folder = cache / f"oidc-provider-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "oidc-provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes must not fetch at once
        if not folder.is_dir():
            beside = cache / f"oidc-provider-{VERSION}.{os.getpid()}"
            beside.mkdir()
            flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(beside)]
            argv = ["npm", "install", *flags, f"oidc-provider@{VERSION}"]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
            assert done.returncode == 0, f"npm could not fetch the provider: {done.stderr[-2000:]}"
            beside.rename(folder)
    return folder / "node_modules" / "oidc-provider" / "lib" / "index.js"


@dataclass
class OidcProvider:
    """The running provider."""

    folder: Path
    issuer: str = ""
    process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    def start(self) -> None:
        """Begin to answer; the second time on the same port. Who had signed in there is forgotten."""
        port = self.issuer.rpartition(":")[2]
        with (self.folder / "provider.log").open("a") as log:
            self.process = subprocess.Popen(
                ["node", str(SCRIPT), str(library()), *([port] if port else [])],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"CLIENT_SECRET": CLIENT_SECRET, "ACCOUNTS": json.dumps(ACCOUNTS)},
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("port "):
                self.issuer = f"http://127.0.0.1:{line.split()[1]}"
                return
        raise AssertionError((self.folder / "provider.log").read_text())

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.stdout is not None:
            self.process.kill()
            self.process.wait(20)
            self.process.stdout.close()
            self.process = None


@pytest.fixture(scope="module")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """The provider, running."""
    provider = OidcProvider(tmp_path_factory.mktemp("oidc"))
    provider.start()
    yield provider
    provider.stop()
