"""A planted secret is searched for wherever a system leaves traces, and found in none; planted leaks are found in each.

Redis with RDB and AOF, the daemon and the graph service as processes, real git. Both halves use the same detectors, so
a detector that looks in the wrong place fails the second half.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import redis

from kemudi.cli.keys import make_keys
from kemudi.cli.sealing import reseal, write_recipients
from kemudi.cli.workspace import open_workspace
from kemudi.store.keys import Keys

CANARY = 'cänary "7f1e"/\\93bd+plain'
EXAMPLE = Path(__file__).parents[3] / "config-repo"
KEYS = Keys("dev")
pytestmark = pytest.mark.redis
TRACEBACKS = """
import logging, sys, traceback
import kemudi.client
from pydantic import BaseModel
from kemudi.schema.secret import Secret
logging.basicConfig(level=logging.DEBUG)
config = kemudi.client.connect("dev", service="traces")
secret = config["NEO4J_PASSWORD"]
class Wrong(BaseModel):
    NEO4J_PASSWORD: Secret[int]
class Bare(BaseModel):
    NEO4J_PASSWORD: str
attempts = [
    lambda: config.bind(Wrong), lambda: config.bind(Bare), lambda: int(secret), lambda: secret + "",
    lambda: secret["x"],
    lambda: (_ for _ in ()).throw(ValueError(f"no {secret} {secret!r} {secret:>40}")), lambda: iter(secret),
    lambda: Wrong(NEO4J_PASSWORD=secret), lambda: {}[secret], lambda: open(f"/nowhere/{secret}"),
]
for attempt in attempts:
    try:
        attempt()
    except Exception:
        traceback.print_exc()
        logging.getLogger("kemudi.client").exception("with %s", secret)
print(config.health(), config, config.all())
print(open("/proc/self/environ").read())
config.close()
"""


def spellings(text: str) -> dict[str, bytes]:
    """What a leak may look like."""
    data = text.encode()
    found = {
        "raw": data,
        "hex": data.hex().encode(),
        "HEX": data.hex().upper().encode(),
        "url": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "json": json.dumps(text)[1:-1].encode(),
        "json in UTF-8": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "python": repr(text)[1:-1].encode(),
        "bytes": repr(data)[2:-1].encode(),
    }
    for before in range(3):
        coded = b64encode(b"\0" * before + data).rstrip(b"=")
        found[f"base64 after {before}"] = coded[(0, 2, 3)[before] : len(coded) - 1]
    return found


def found_in(text: bytes) -> set[str]:
    return {name for name, spelling in spellings(CANARY).items() if spelling in text}


def leaves(answer: Any) -> Iterator[bytes]:
    """Every text in an answer of Redis."""
    if isinstance(answer, bytes):
        yield answer
    elif isinstance(answer, list):
        for part in answer:
            yield from leaves(part)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Listener:
    """Everything that Redis tells to one connection, byte by byte, after a command."""

    def __init__(self, port: int, command: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.settimeout(None)  # silence is no reason to stop listening
        self._socket.sendall(command + b"\r\n")
        self.heard = bytearray()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while part := self._socket.recv(65_536):
                self.heard += part

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()


@dataclass
class Estate:
    """All that runs, and where it leaves traces."""

    server: Any
    repo: Path
    folder: Path
    daemon: Any
    graph: str
    processes: list[int]
    monitor: Listener
    channels: Listener
    traces: list[str] = field(default_factory=list)

    def detectors(self) -> dict[str, Callable[[], bytes]]:
        """Place to what can be read there."""
        folder = self.server.folder
        return {
            "git": lambda: b"".join(
                self._objects(path) for path in self.folder.rglob("HEAD") if path.is_file()
            ),
            "keys": self._keys,
            "rdb": lambda: self._saved() + (folder / "dump.rdb").read_bytes(),
            "aof": lambda: b"".join(path.read_bytes() for path in (folder / "appendonlydir").iterdir()),
            "slowlog": lambda: self._asked("SLOWLOG", "GET", "10000"),
            "monitor": lambda: bytes(self.monitor.heard),
            "channels": lambda: bytes(self.channels.heard),
            "stream": lambda: self._asked("XRANGE", KEYS.log, "-", "+"),
            "logs": lambda: b"".join(path.read_bytes() for path in self.folder.rglob("*.log")),
            "daemon's routes": lambda: self._answers(self.daemon.url, DAEMON_ROUTES),
            "graph's routes": lambda: self._answers(self.graph, GRAPH_ROUTES),
            "disk": lambda: b"".join(path.read_bytes() for path in self._files()),
            "processes": lambda: b"".join(self._process(pid) for pid in self.processes),
            "tracebacks": lambda: "".join(self.traces).encode(),
        }

    @staticmethod
    def _objects(head: Path) -> bytes:
        done = subprocess.run(
            ["git", f"--git-dir={head.parent}", "cat-file", "--batch-all-objects", "--batch"],
            capture_output=True,
            check=False,
        )
        return done.stdout

    def _asked(self, *command: str) -> bytes:
        with self.server.admin() as admin:
            admin.response_callbacks.clear()
            return b"\n".join(leaves(admin.execute_command(*command)))

    def _keys(self) -> bytes:
        with redis.Redis.from_url(self.server.url()) as admin:
            return b"\n".join(
                key + b" " + (admin.get(key) or b"" if admin.type(key) == b"string" else b"")
                for key in admin.scan_iter("*")
            )

    def _saved(self) -> bytes:
        with self.server.admin() as admin:
            admin.save()
        return b""

    def _files(self) -> list[Path]:
        """State folders of daemon and services: copies, records, sockets aside; never the keys or the repository."""
        return [path for path in (self.folder / "state").rglob("*") if path.is_file()]

    @staticmethod
    def _process(pid: int) -> bytes:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()

    @staticmethod
    def _answers(base: str, routes: tuple[tuple[str, str, bytes | None], ...]) -> bytes:
        return b"\n".join(Estate._answer(base, *route) for route in routes)

    @staticmethod
    def _answer(base: str, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(base + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return repr(answer.headers.items()).encode() + bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return repr(error.headers.items()).encode() + error.read()

    def leaking(self) -> dict[str, set[str]]:
        """Place to the spellings that were found there."""
        found = {place: found_in(collect()) for place, collect in self.detectors().items()}
        return {place: names for place, names in found.items() if names}


DAEMON_ROUTES = (
    *(
        ("GET", path, None)
        for path in (
            "/healthz",
            "/readyz",
            "/metrics",
            "/status",
            "/drift",
            "/drift?env=dev",
            "/drift?env=none",
            "/wait?env=dev&revision=HEAD&timeout=x",
            "/log?env=dev&limit=100",
            "/none",
            "/pause",
        )
    ),
    ("POST", "/reconcile", b"{}"),
    ("POST", "/reconcile", b"no json"),
    ("POST", "/accept-rewrite", b'{"env": "dev", "reason": "x"}'),
    ("PUT", "/pause", b'{"env": "none"}'),
    ("POST", "/hooks/git", b"{}"),
    ("DELETE", "/status", None),
)
GRAPH_ROUTES = tuple(
    ("GET", path, None)
    for path in (
        "/healthz",
        "/readyz",
        "/metrics",
        "/students",
        "/students?limit=x",
        "/students/none",
        "/students/none/classmates?limit=0",
        "/students/none/recommendations?algorithm=none",
        "/sync/status",
        "/openapi.json",
        "/docs",
        "/none",
    )
)


def _client_environment(redis_url: str, keys: Any, state: Path) -> dict[str, str]:
    """What the graph service is started with."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")} | {
        "KEMUDI_ENV": "dev",
        "KEMUDI_REDIS_URL": redis_url,
        "KEMUDI_VERIFY_KEY": str(keys.verify_key),
        "KEMUDI_KEYSET": str(keys.service_keyset(["graph"])),
        "KEMUDI_STATE_DIR": str(state),
    }


def _tracebacks(client: dict[str, str]) -> str:
    """What a client of the settings writes that fails in many ways."""
    argv = [sys.executable, "-c", TRACEBACKS]
    traced = subprocess.run(argv, env=client, capture_output=True, text=True, check=False, timeout=60)
    assert traced.returncode == 0, traced.stderr
    assert traced.stderr.count("Traceback") >= 10
    return traced.stdout + traced.stderr


@pytest.fixture
def estate(
    start_server: Any, repo: Any, settings: Any, daemons: Any, kit: Any, tmp_path: Path
) -> Iterator[Estate]:
    """The shipped example with the canary as its password, and every part that handles it."""
    server = start_server(
        "redis",
        *("--save", "3600 1000000", "--appendonly", "yes", "--rdbcompression", "no"),
        *("--slowlog-log-slower-than", "0", "--slowlog-max-len", "10000"),
    )
    monitor, channels = Listener(server.port, b"MONITOR"), Listener(server.port, b"PSUBSCRIBE *")
    shutil.copytree(EXAMPLE, repo.path, dirs_exist_ok=True)
    keys = make_keys(tmp_path / "secret-keys", open_workspace(repo.path).state)
    write_recipients(repo.path, keys.recipient)
    reseal(repo.path, "NEO4J_PASSWORD", CANARY)
    repo.commit()
    own = {name: getattr(keys, name) for name in ("identity", "signing_key", "keyset")}
    told = replace(settings, redis_url=server.url(), environments=("dev",), mode="commit", **own)
    daemon = daemons(told).start().ready()
    kit.eventually(lambda: daemon.reason() == "Applied")
    client = _client_environment(server.url(), keys, tmp_path / "state" / "client")
    port = free_port()
    argv = [sys.executable, "-m", "kemudi.cli", "graph", "serve", "--port", str(port)]
    with (tmp_path / "graph.log").open("wb") as log:
        argv += ["--ladybug", str(tmp_path / "state" / "graph.lbug")]
        graph = subprocess.Popen(argv, env=client, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    pids = [graph.pid, daemon.process.pid, server.process.pid]
    made = Estate(server, repo.path, tmp_path, daemon, base, pids, monitor, channels)
    try:
        kit.eventually(lambda: b"alive" in made._answer(base, "GET", "/healthz", None) or True, 30)
        made.traces.append(_tracebacks(client))
        # The canary is really there: the service's disk copy came from it, and its process has opened it.
        kit.eventually(lambda: any(path.suffix == ".copy" for path in made._files()))
        kit.eventually(lambda: len(daemon.status()["clients"]) >= 1)
        yield made
    finally:
        graph.kill()
        graph.wait()
        monitor.close()
        channels.close()


def test_a_secret_leaves_no_trace_and_a_leak_is_seen(estate: Estate, kit: Any) -> None:
    """Nothing is found in any place; then a leak is planted in each, in turn in every spelling, and each is found."""
    # Work that touches the secret and everything beside it: a change of another setting, a refused commit.
    (estate.repo / "dev" / "neo4j.yaml").write_text("NEO4J_PASSWORD: not-sealed-and-so-refused\n")
    for command in (("add", "-A"), ("commit", "-q", "-m", "plaintext")):
        subprocess.run(["git", *command], cwd=estate.repo, env=kit.git_environment(), check=True)
    kit.eventually(lambda: estate.daemon.status()["rejected"])
    assert estate.leaking() == {}
    names = iter(spellings(CANARY).values())
    leaks = {place: next(names, CANARY.encode()) for place in estate.detectors()}
    clean = estate.graph
    with subprocess.Popen(["sleep", "60"], env={"LEAK": CANARY}) as sleeper, leaking_service(leaks) as stub:
        estate.graph = stub
        plant(estate, leaks, sleeper.pid)
        missed = set(estate.detectors())

        def all_found() -> bool:
            collectors = estate.detectors()
            missed.difference_update({place for place in missed if found_in(collectors[place]())})
            return not missed

        with suppress(AssertionError):
            kit.eventually(all_found, 15)
        sleeper.kill()
    assert missed == set()
    assert estate.graph != clean


class Leaking(BaseHTTPRequestHandler):
    """Answers each request with an error whose text holds a leak."""

    leak = b""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b'{"detail": "' + self.leak + b'"}')

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def leaking_service(leaks: dict[str, bytes]) -> Iterator[str]:
    """A service in the graph service's place that leaks, as ours does not."""
    handler = type("Handler", (Leaking,), {"leak": leaks["graph's routes"]})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def plant(estate: Estate, leaks: dict[str, bytes], sleeper: int) -> None:
    """A leak in every place."""
    subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=estate.repo,
        input=leaks["git"],
        check=True,
        capture_output=True,
    )
    with estate.server.admin() as admin:
        admin.set("leak", leaks["keys"])
        admin.publish("leak", leaks["channels"])
        admin.xadd(KEYS.log, {"leak": leaks["stream"].decode()})
    with (estate.folder / "daemon-0.log").open("ab") as log:
        log.write(leaks["logs"])
    # What an operator writes as a reason is shown as it is: in the status, and the metrics are fetched beside it.
    body = json.dumps({"env": "dev", "reason": CANARY}).encode()
    assert b"dev" in estate._answer(estate.daemon.url, "PUT", "/pause", body)
    (estate.folder / "state" / "leak").write_bytes(leaks["disk"])
    estate.processes.append(sleeper)
    estate.traces.append(leaks["tracebacks"].decode())
