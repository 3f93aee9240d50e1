"""A config repo in real git, keys, and daemons as processes or in this one."""

import io
import json
import os
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from kemudi.daemon.logs import make_log
from kemudi.daemon.service import Daemon, Keys, holder_name, served
from kemudi.daemon.settings import DaemonSettings
from kemudi.daemon.statefiles import FolderLock
from kemudi.schema.generation import Generation
from kemudi.store.manifest import Manifest
from kemudi.store.redis import RedisStore
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import load_category

REPO_ID = "0b5e4f5e-9a3c-4f27-9a63-0d9a0f6f7c11"


def eventually(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Ask until the answer is true; fails with the last answer or error."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = check()
            if last:
                return last
        except (AssertionError, KeyError, IndexError, TypeError, OSError) as error:
            last = error
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s; last: {last!r}")


@dataclass
class Repo:
    """A config repo whose root is the repository's root."""

    path: Path
    keys: int = 3

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
            env=git_environment(),
        )
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(text)
        beside.replace(target)

    def commit(self, files: Mapping[str, str] | None = None, message: str = "change") -> str:
        for path, text in (files or {}).items():
            self.write(path, text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


def stacks() -> str:
    """Where every thread is: for a failure that is a wait without an end."""
    return "\n".join("".join(traceback.format_stack(frame)) for frame in sys._current_frames().values())


def git_environment() -> dict[str, str]:
    names = ("AUTHOR", "COMMITTER")
    who = {f"GIT_{name}_NAME": "Test" for name in names} | {
        f"GIT_{name}_EMAIL": "test@example.org" for name in names
    }
    return dict(os.environ) | who | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def contract(category: str, properties: Mapping[str, Mapping[str, Any]]) -> str:
    """A contract in which every setting has what the rules ask for."""
    described = {
        key: {"description": f"{key} of {category}."} | dict(schema) for key, schema in properties.items()
    }
    return json.dumps(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": category,
            "description": f"Settings of {category}.",
            "type": "object",
            "properties": described,
            "additionalProperties": False,
        },
        indent=2,
    )


def manifest(
    environments: Mapping[str, str] | None = None, *, reject: str = "commit", services: str = "{}"
) -> str:
    """`kemudi.yaml` of these environments and modes."""
    lines = ["format: 1", f"id: {REPO_ID}", "environments:"]
    for name, mode in (environments or {"dev": "commit"}).items():
        lines.append(f"  - {{name: {name}, layers: [base, {name}], mode: {mode}, reject: {reject}}}")
    return "\n".join([*lines, f"services: {services}", "policies: []", ""])


SYNC = {
    "SYNC_BATCH_SIZE": {"type": "integer", "minimum": 1, "default": 1000},
    "SYNC_TIMEOUT": {"type": "integer", "minimum": 1, "default": 3600},
}
GRAPH = {"GRAPH_LIMIT": {"type": "integer", "minimum": 1, "default": 50, "x-kemudi-requires-restart": True}}


def files(environments: Mapping[str, str] | None = None, *, reject: str = "commit") -> dict[str, str]:
    """A small valid config repo: two categories."""
    return {
        "kemudi.yaml": manifest(environments, reject=reject),
        "contracts/sync.schema.json": contract("sync", SYNC),
        "contracts/graph.schema.json": contract("graph", GRAPH),
        "base/sync.yaml": "SYNC_BATCH_SIZE: 100\n",
        "base/graph.yaml": "GRAPH_LIMIT: 10\n",
    }


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A git repository on the branch `main`, still without a commit."""
    path = tmp_path / "config"
    path.mkdir()
    made = Repo(path)
    made.git("init", "-q", "-b", "main")
    return made


@dataclass(frozen=True)
class KeyFolder:
    """The key files of one daemon."""

    folder: Path

    @property
    def signing(self) -> Path:
        return self.folder / "signing.key"

    @property
    def keyset(self) -> Path:
        return self.folder / "keyset.json"

    @property
    def identity(self) -> Path:
        return self.folder / "identity.txt"


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    """A signing key and keysets."""
    folder = tmp_path / "keys"
    folder.mkdir()
    made = KeyFolder(folder)
    SigningKey.generate().save(made.signing)
    KeysetBundle.generate(["sync", "graph", "vault"]).save(made.keyset)
    return made


@pytest.fixture
def settings(repo: Repo, keys: KeyFolder, redis_url: str, tmp_path: Path) -> DaemonSettings:
    """A daemon on the repository and the private Redis, on a free port."""
    return DaemonSettings(
        repo=repo.path,
        redis_url=redis_url,
        signing_key=keys.signing,
        keyset=keys.keyset,
        state_dir=tmp_path / "state",
        port=0,
        poll_seconds=0.5,
        drift_seconds=0.5,
        lease_ttl=3.0,
    )


@dataclass
class Reader:
    """What a client may see: only what is signed and whole."""

    url: str
    env: str
    verify: Any
    seen: list[Generation] = field(default_factory=list)

    def manifest(self) -> Manifest | None:
        store = RedisStore(self.url, self.env)
        try:
            data = store.current()
        finally:
            store.close()
        return None if data is None else Manifest.verify(data, self.verify, env=self.env)

    def values(self) -> dict[str, Any]:
        """Every served value that is not sealed."""
        found = self.manifest()
        assert found is not None
        store = RedisStore(self.url, self.env)
        try:
            blobs = store.blobs(found.digests)
        finally:
            store.close()
        values: dict[str, Any] = {}
        for name, digests in found.categories.items():
            category = load_category(name, digests, blobs)
            values |= {**category.defaults, **category.values}
        return values


@pytest.fixture
def reader(redis_url: str, keys: KeyFolder) -> Reader:
    """Reads `dev` as a client does."""
    return Reader(redis_url, "dev", SigningKey.load(keys.signing).verify_keys())


@dataclass
class Caller:
    """Asks a daemon over HTTP."""

    url: str = ""

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        told = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(self.url + path, data, told | dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def get(self, path: str) -> Any:
        return self.call("GET", path)[1]

    def status(self, env: str = "dev") -> dict[str, Any]:
        shown = {one["env"]: one for one in self.get("/status")["environments"]}
        found: dict[str, Any] = shown[env]
        return found

    def reason(self, env: str = "dev") -> str:
        return str(self.status(env)["conditions"][0]["reason"])

    def conditions(self, env: str = "dev") -> set[tuple[str, str]]:
        return {(one["type"], one["reason"]) for one in self.status(env)["conditions"]}

    def applied(self, env: str = "dev") -> str | None:
        applied = self.status(env)["applied"]
        return None if applied is None else str(applied["revision"])

    def generation(self, env: str = "dev") -> Generation:
        return Generation.parse(self.status(env)["applied"]["generation"])

    def metric(self, start: str) -> float:
        """The first sample whose line starts so."""
        lines = self.get("/metrics").splitlines()
        return float(next((line.rpartition(" ")[2] for line in lines if line.startswith(start)), "0"))


@dataclass
class Local(Caller):
    """A daemon in this process, with real threads, real git, real Redis and a real port."""

    settings: DaemonSettings | None = None
    watch: bool = True
    output: io.StringIO = field(default_factory=io.StringIO)
    daemon: Daemon | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> "Local":
        assert self.settings is not None
        keys = Keys.load(self.settings)
        self._stack.enter_context(FolderLock(self.settings.state_dir))
        self.daemon = Daemon(self.settings, keys, make_log(self.output), holder_name(), watch=self.watch)
        self.url = self._stack.enter_context(served(self.daemon)).url
        assert self.daemon.reconciler.wait_first(20), stacks()
        return self

    def reconciled_reason(self) -> str:
        """The reason of the last reconcile, without asking Redis for the clients."""
        assert self.daemon is not None
        return str(self.daemon.reconciler.environments[0].status.ready.reason)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    def stop(self) -> None:
        self._stack.close()


@dataclass
class Process(Caller):
    """A daemon in a process of its own."""

    settings: DaemonSettings | None = None
    log: Path = Path()
    environ: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    _started_at: int = 0

    def start(self, **environ: str) -> "Process":
        told = self.settings
        assert told is not None
        variables = {
            "KEMUDI_REPO": str(told.repo),
            "KEMUDI_BRANCH": told.branch or "",
            "KEMUDI_ENV": ",".join(told.environments),
            "KEMUDI_REDIS_URL": told.redis_url,
            "KEMUDI_SIGNING_KEY": str(told.signing_key),
            "KEMUDI_KEYSET": str(told.keyset),
            "KEMUDI_IDENTITY": str(told.identity or ""),
            "KEMUDI_STATE_DIR": str(told.state_dir),
            "KEMUDI_DAEMON_PORT": str(told.port),
            "KEMUDI_POLL_SECONDS": str(told.poll_seconds),
            "KEMUDI_DRIFT_SECONDS": str(told.drift_seconds),
            "KEMUDI_LEASE_TTL": str(told.lease_ttl),
        }
        with self.log.open("ab") as log:
            self._started_at = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kemudi.daemon"],
                env=git_environment()
                | {k: v for k, v in variables.items() if v}
                | dict(self.environ)
                | environ,
                stdout=log,
                stderr=log,
            )
        return self

    def ready(self, seconds: float = 20.0) -> "Process":
        """Wait until it says where it listens and has ended its first pass."""

        def listening() -> str:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {self.process.returncode}: {self.log.read_text()}")
            return next((line["url"] for line in self.lines() if line["event"] == "started"), "")

        self.url = eventually(listening, seconds)
        eventually(lambda: self.get("/status")["environments"], seconds)
        return self

    def lines(self) -> list[dict[str, Any]]:
        """What was logged since the last start."""
        data = self.log.read_bytes()[self._started_at :]
        return [
            json.loads(line) for line in data.splitlines() if line.startswith(b"{") and line.endswith(b"}")
        ]

    def wait(self, seconds: float = 20.0) -> int:
        """Wait until it has ended, as by a failpoint."""
        assert self.process is not None
        code = self.process.wait(seconds)
        self.process = None
        return code

    def is_stopped(self) -> bool:
        """Whether a SIGSTOP holds it."""
        assert self.process is not None
        return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.wait(10)


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode()


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Makes daemons in processes; they end with the test."""
    made: list[Process] = []

    def make(settings: DaemonSettings, **environ: str) -> Process:
        made.append(Process(settings=settings, log=tmp_path / f"daemon-{len(made)}.log", environ=environ))
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.fixture
def locals_(tmp_path: Path) -> Iterator[Callable[..., Local]]:
    """Makes daemons in this process; they end with the test."""
    made: list[Local] = []

    def make(settings: DaemonSettings, *, watch: bool = True) -> Local:
        made.append(Local(settings=settings, watch=watch))
        return made[-1]

    yield make
    for local in made:
        local.stop()


@pytest.fixture
def daemon(settings: DaemonSettings, locals_: Callable[..., Local]) -> Local:
    """One daemon in this process, not yet started."""
    return locals_(settings)


@pytest.fixture
def kit() -> SimpleNamespace:
    """What test modules of this folder share."""
    return SimpleNamespace(
        eventually=eventually,
        git_environment=git_environment,
        files=files,
        contract=contract,
        manifest=manifest,
        repo_id=REPO_ID,
        store=lambda url, env="dev": RedisStore(url, env),
    )
