"""A whole Kemudi on this machine, started by the command that a user types."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

KEMUDI = str(Path(sys.executable).parent / "kemudi")
START_SECONDS = 60


def clean_environment() -> dict[str, str]:
    """Our environment without KEMUDI_*."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}


@dataclass
class Up:
    """A running `kemudi up`: what it printed, and the things its users do."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    endpoints: dict[str, Any]

    @property
    def repo(self) -> Path:
        return Path(self.endpoints["repo"])

    def get(self, path: str, base: str = "graph") -> tuple[int, Any]:
        """Status and JSON body."""
        try:
            with urllib.request.urlopen(self.endpoints[base] + path, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def post(self, path: str, base: str = "graph") -> tuple[int, Any]:
        request = urllib.request.Request(
            self.endpoints[base] + path,
            data=b"{}",
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")

    def kemudi(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """One command, with the variables that `up` hands to clients."""
        return subprocess.run(
            [KEMUDI, *arguments],
            env=clean_environment() | self.endpoints["client_env"] | env,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
            check=False,
        )

    def write(self, layer: str, category: str, **settings: object) -> None:
        """Set keys in a values file, as an author would: other lines stay."""
        path = self.repo / layer / f"{category}.yaml"
        kept = [line for line in path.read_text().splitlines() if line.split(":")[0] not in settings]
        text = "\n".join([*kept, *(f"{key}: {json.dumps(value)}" for key, value in settings.items())]) + "\n"
        beside = path.with_suffix(".tmp")
        beside.write_text(text)
        beside.replace(path)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Author", "-c", "user.email=author@example.org"]
        return subprocess.run(
            ["git", "-C", str(self.repo), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, message: str = "Change a setting") -> str:
        """Commit everything; returns the revision."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def change(self, layer: str, category: str, **settings: object) -> str:
        """Set keys and commit."""
        self.write(layer, category, **settings)
        return self.commit()


@contextlib.contextmanager
def running_up(folder: Path, *arguments: str) -> Iterator[Up]:
    """`kemudi up --json` in a folder of its own, stopped by SIGINT as Ctrl-C does."""
    folder.mkdir(parents=True, exist_ok=True)
    port = 20000 + (os.getpid() * 7) % 12000  # below the ports of outgoing connections
    log = folder / "up.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [KEMUDI, "up", "--json", "--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=clean_environment(),
            cwd=folder,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"kemudi up ended: {log.read_text()}"
        yield Up(process, folder, json.loads(line))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            for child in psutil.Process().children(recursive=True):
                if child.pid == process.pid:
                    child.kill()
        process.stdout.close()


@pytest.fixture(scope="session")
def up_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One Kemudi for all tests of a worker."""
    with running_up(tmp_path_factory.mktemp("up")) as up:
        yield up


@pytest.fixture
def up(up_session: Up) -> Iterator[Up]:
    """The running Kemudi, with the settings and the history it started with when the test began."""
    start = up_session.git("rev-parse", "HEAD")
    yield up_session
    # A correcting commit, as an author would make it: history is never rewound.
    up_session.git("checkout", "-q", start, "--", ".")
    if up_session.git("status", "--porcelain"):
        up_session.commit("Put the settings back")
    answer = up_session.kemudi("wait", "HEAD", "--timeout", "30")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.fixture
def start_up() -> Callable[..., Any]:
    """Start a Kemudi of the test's own."""
    return running_up
