"""Leaves out the tests of a program that this machine lacks, and says so; with CI set they stay in and fail.

A test says with a marker of NEEDS what it cannot do without.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LEFT_OUT = pytest.StashKey[dict[str, int]]()


def _neo4j() -> str | None:
    missing: Callable[[], str | None] = sys.modules["kemudi_test_neo4j_server"].missing
    return missing()


def _postgresql() -> str | None:
    if shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return None
    return "needs PostgreSQL (Debian: postgresql)"


def _browser() -> str | None:
    return None if shutil.which("chromium") else "needs Chromium (Debian: chromium)"


def _age() -> str | None:
    return None if shutil.which("age") else "needs age (Debian: age)"


def _redis() -> str | None:
    missing: Callable[[], str | None] = sys.modules["kemudi_test_redis_servers"].missing
    return missing()


def _signing() -> str | None:
    if shutil.which("ssh-keygen") and shutil.which("gpg"):
        return None
    return "needs ssh-keygen and gpg (Debian: openssh-client gnupg)"


def _oidc() -> str | None:
    return None if shutil.which("node") and shutil.which("npm") else "needs Node (Debian: nodejs npm)"


NEEDS = {
    "neo4j": _neo4j,
    "postgresql": _postgresql,
    "browser": _browser,
    "age": _age,
    "redis": _redis,
    "signing": _signing,
    "oidc": _oidc,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what cannot run here, but never in CI."""
    if os.environ.get("CI"):
        return
    found = config.stash.setdefault(LEFT_OUT, {})
    for name, missing in NEEDS.items():
        marked = [item for item in items if item.get_closest_marker(name) is not None]
        if marked and missing() is not None:
            items[:] = [item for item in items if item not in marked]
            config.hook.pytest_deselected(items=marked)
            found[name] = len(marked)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the process that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash.get(LEFT_OUT, {})


class FromWorkers:
    """Hears what the workers left out; pytest knows the hook only with pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_testnodedown(self, node: Any) -> None:  # a worker's controller
        self._config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "signing: signs commits with real ssh-keygen and GnuPG")
    config.addinivalue_line("markers", "oidc: needs Node, for a real identity provider (fetched and cached)")
    if config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(FromWorkers(config), "left-out-from-workers")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The lines that say what did not run, and why."""
    for name, count in config.stash.get(LEFT_OUT, {}).items():
        terminalreporter.write_line(f"NOT RUN: {count} {name} tests: {NEEDS[name]()}", yellow=True)
