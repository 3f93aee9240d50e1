"""Bring the parts up in order, and take them down in the reverse one."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from kemudi.cli.console_login import owner_link
from kemudi.cli.keys import KeyFiles
from kemudi.cli.up import redis_server
from kemudi.cli.up.layout import Layout, claim, write_private
from kemudi.cli.up.network import LOOPBACK, fetch, free_port
from kemudi.cli.up.processes import Child, Supervisor, base_environment
from kemudi.cli.up.seed import SERVICES, seed, store_keys
from kemudi.schema.errors import UnavailableError, UsageError

ENVIRONMENT: Final = "dev"
DRIFT_SECONDS: Final = "5"
START_SECONDS: Final = 30.0
SYNC_SECONDS: Final = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the caller decided; None means the embedded default."""

    folder: Path
    port: int
    fresh: bool = False
    redis_url: str | None = None
    neo4j_uri: str | None = None
    neo4j_password_file: Path | None = None
    registry: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Everything is up. `endpoints` is what `endpoints.json` holds."""

    layout: Layout
    endpoints: dict[str, Any]
    supervisor: Supervisor

    def watch(self) -> None:
        """Restart what died; raises UnavailableError when that does not help."""
        self.supervisor.watch()

    def instructions(self) -> list[str]:
        """What to try next, with the exact commands."""
        shown = _shown(self.layout.root)
        graph, nim = self.endpoints["graph"], self.endpoints["sample_nim"]
        program = _shown(Path(sys.executable).parent / "kemudi")
        lines = [
            "",
            f"Kemudi is running in {shown}. Ctrl-C stops everything.",
            "",
            f"  console        {self.endpoints['console_login']}",
            f"                 a link works once; the next one: {program} console login --up {shown}",
            f"  graph service  {graph}",
            f"  daemon         {self.endpoints['daemon']}",
            f"  config repo    {shown}/config",
            f"  logs           {shown}/logs",
            "",
            "Try this in a second terminal:",
            "",
        ]
        values = f"{shown}/config/dev/graph_query.yaml"
        if nim is not None:
            lines += [
                f"  curl -s '{graph}/students/{nim}/classmates'",
                f"  sed -i 's/^GRAPH_CLASSMATES_LIMIT:.*/GRAPH_CLASSMATES_LIMIT: 3/' {values}",
                f"  curl -s '{graph}/students/{nim}/classmates'        # three of them, at once",
            ]
        return [
            *lines,
            f"  git -C {shown}/config commit -am 'Show three classmates'",
            "",
            f"  set -a; . {shown}/env; set +a                       # the other commands now know where to look",
            f"  {program} status",
            f"  {program} wait HEAD",
            f"  {program} explain GRAPH_CLASSMATES_LIMIT",
            "",
        ]


def _shown(path: Path) -> str:
    """A path as it is shortest to type from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@contextmanager
def bring_up(choices: Choices, say: Say) -> Iterator[Running]:
    """Start every part; on exit stop them all, whatever happened. Raises UnavailableError when one does not start."""
    layout, lock = claim(choices.folder, fresh=choices.fresh)
    supervisor = Supervisor(say)
    try:
        yield _start_all(choices, layout, supervisor, say)
    finally:
        layout.endpoints.unlink(missing_ok=True)
        supervisor.stop()
        os.close(lock)


def _start_all(choices: Choices, layout: Layout, supervisor: Supervisor, say: Say) -> Running:
    console_port = free_port(choices.port)
    graph_port = free_port(choices.port + 1, taken={console_port})
    daemon_port = free_port(choices.port + 2, taken={console_port, graph_port})
    console = f"http://{LOOPBACK}:{console_port}"
    daemon, graph = f"http://{LOOPBACK}:{daemon_port}", f"http://{LOOPBACK}:{graph_port}"
    keys = store_keys(layout)
    say(f"config repo: {seed(layout, keys, _neo4j_settings(choices))}")
    redis_url = choices.redis_url or _start_redis(
        layout, supervisor, choices.port + 3, {console_port, graph_port, daemon_port}, say
    )
    client_env = {
        "KEMUDI_ENV": ENVIRONMENT,
        "KEMUDI_REDIS_URL": redis_url,
        "KEMUDI_VERIFY_KEY": str(keys.verify_key),
        "KEMUDI_KEYSET": str(keys.service_keyset(SERVICES)),
        "KEMUDI_STATE_DIR": str(layout.state / "clients"),
        "KEMUDI_DAEMON_URL": daemon,
        "KEMUDI_GRAPH_URL": graph,
        "KEMUDI_REPO": str(layout.repo),
    }
    write_private(layout.env_file, "".join(f"{name}='{value}'\n" for name, value in client_env.items()))
    say("daemon: starting")
    supervisor.start(_daemon(layout, keys, redis_url, daemon_port), lambda: _ready(daemon), START_SECONDS)
    say("graph and sync service: starting")
    registry = choices.registry or f"sqlite:///{layout.registry}"
    if choices.registry is None:
        _make_registry(registry, say)
    child = _graph(layout, client_env, graph_port, registry, embedded=choices.neo4j_uri is None)
    supervisor.start(child, lambda: _ready(graph), START_SECONDS)
    say("console: starting")
    supervisor.start(_console(layout, daemon, console_port), lambda: _ready(console), START_SECONDS)
    say("first sync: running")
    _wait_for_sync(graph, supervisor)
    endpoints = {
        "env": ENVIRONMENT,
        "redis": redis_url,
        "repo": str(layout.repo),
        "daemon": daemon,
        "graph": graph,
        "console": console,
        "console_login": owner_link(layout.repo, layout.console, console),
        "sample_nim": _sample(registry),
        "client_env": client_env,
    }
    write_private(layout.endpoints, orjson.dumps(endpoints, option=orjson.OPT_INDENT_2).decode() + "\n")
    return Running(layout, endpoints, supervisor)


def _neo4j_settings(choices: Choices) -> tuple[str, str] | None:
    """URI and password of the given Neo4j; None for the embedded store."""
    if choices.neo4j_uri is None:
        return None
    if choices.neo4j_password_file is None:
        raise UsageError("--neo4j needs --neo4j-password-file")
    lines = choices.neo4j_password_file.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0]:
        raise UsageError(f"{choices.neo4j_password_file} is empty")
    return choices.neo4j_uri, lines[0]


def _start_redis(layout: Layout, supervisor: Supervisor, wanted: int, taken: set[int], say: Say) -> str:
    binary = redis_server.server_binary()
    say(f"Redis: {binary}")
    configuration, url = redis_server.write_configuration(layout.redis, free_port(wanted, taken))
    child = Child("Redis", [binary, str(configuration)], base_environment(), layout.logs / "redis.log")
    supervisor.start(child, lambda: redis_server.answers(url), START_SECONDS)
    return url


def _daemon(layout: Layout, keys: KeyFiles, redis_url: str, port: int) -> Child:
    env = base_environment() | {
        "KEMUDI_REPO": str(layout.repo),
        "KEMUDI_ENV": ENVIRONMENT,
        "KEMUDI_REDIS_URL": redis_url,
        "KEMUDI_IDENTITY": str(keys.identity),
        "KEMUDI_SIGNING_KEY": str(keys.signing_key),
        "KEMUDI_KEYSET": str(keys.keyset),
        "KEMUDI_STATE_DIR": str(layout.state / "daemon"),
    }
    argv = [
        sys.executable,
        "-m",
        "kemudi.cli",
        "daemon",
        "--port",
        str(port),
        "--drift-seconds",
        DRIFT_SECONDS,
    ]
    return Child("the daemon", argv, env, layout.logs / "daemon.log")


def _graph(layout: Layout, client_env: dict[str, str], port: int, registry: str, *, embedded: bool) -> Child:
    # The DSN may hold a password, so it travels in the environment and not in the arguments.
    env = base_environment() | client_env | {"KEMUDI_SERVICE": "graph", "KEMUDI_REGISTRY": registry}
    argv = [sys.executable, "-m", "kemudi.cli", "graph", "serve", "--port", str(port)]
    if embedded:
        argv += ["--ladybug", str(layout.graph)]
    return Child("the graph service", argv, env, layout.logs / "graph.log")


def _console(layout: Layout, daemon: str, port: int) -> Child:
    argv = [sys.executable, "-m", "kemudi.cli", "console", "serve", "--port", str(port)]
    argv += ["--repo", str(layout.repo), "--daemon", daemon, "--state", str(layout.console)]
    return Child("the console", argv, base_environment(), layout.logs / "console.log")


def _ready(base: str) -> bool:
    return fetch(f"{base}/readyz", timeout=2)[0] == 200  # HTTP


def _make_registry(dsn: str, say: Say) -> None:
    from kemudi.graph.generator import ensure_example

    made = ensure_example(dsn)
    say(f"registry: {made}")


def _wait_for_sync(graph: str, supervisor: Supervisor) -> None:
    import time

    deadline = time.monotonic() + SYNC_SECONDS
    while time.monotonic() < deadline:
        _, status = fetch(f"{graph}/sync/status")
        if status and status.get("last_success"):
            return
        supervisor.watch()
        time.sleep(0.1)
    raise UnavailableError("the first sync did not end; see logs/graph.log")


def _sample(dsn: str) -> str | None:
    from kemudi.graph.generator import sample_nim

    return sample_nim(dsn)
