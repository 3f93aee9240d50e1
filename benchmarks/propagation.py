"""From a change in git, or a saved file, to the value in a client in another process.

Prints, for 200 commits on a local repository of 10,000 settings, the time from the return of `git commit` to the
subscription callback of a client in another process; and, in work-tree mode, the time from an atomic save to that
callback, as a ratio to a bare chain of inotify, PUBLISH and SUBSCRIBE in the same run, at 100 and at 10,000 settings.
All clocks are CLOCK_MONOTONIC of one machine. A commit may be visible before `git commit` has returned: it then counts
as a negative time.

    .venv/bin/python benchmarks/propagation.py [--commits 200] [--saves 100] [--json]
"""

import argparse
import contextlib
import ctypes
import json
import os
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from kemudi.cli.keys import make_keys
from kemudi.cli.sealing import write_recipients
from kemudi.cli.up.network import fetch, free_port
from kemudi.cli.up.redis_server import server_binary
from kemudi.cli.workspace import open_workspace

PER_FILE = 100
KEY = "C0_S0"
PAUSE_SECONDS = 0.05  # between two changes, of the floor too: nobody saves faster
IN_CLOSE_WRITE, IN_MOVED_TO = 0x8, 0x80

CLIENT = """
import sys, time
import kemudi.client
config = kemudi.client.connect()
def seen(change):
    print(time.monotonic(), change.new, flush=True)
config.subscribe(sys.argv[1], seen)
print("ready", flush=True)
sys.stdin.read()
"""

FLOOR_READER = """
import sys, time, redis
pubsub = redis.Redis(port=int(sys.argv[1])).pubsub(ignore_subscribe_messages=True)
pubsub.subscribe("floor")
pubsub.get_message(timeout=1)
print("ready", flush=True)
for message in pubsub.listen():
    print(time.monotonic(), message["data"].decode(), flush=True)
"""


def write_repo(folder: Path, settings: int, mode: str) -> None:
    """A config repo of `settings` integers, 100 to a category, all set in `base`, one environment `dev`."""
    categories = settings // PER_FILE
    manifest = {
        "format": 1,
        "id": "00000000-0000-4000-8000-000000000001",
        "environments": [{"name": "dev", "layers": ["base", "dev"], "mode": mode, "reject": "commit"}],
        "services": {"app": [f"c{index}" for index in range(categories)]},
        "policies": [],
    }
    put(folder / "kemudi.yaml", json.dumps(manifest))
    put(folder / "recipients.yaml", "recipients: {}\nenvironments: {dev: []}\n")
    for index in range(categories):
        names = [f"C{index}_S{number}" for number in range(PER_FILE)]
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                name: {"type": "integer", "minimum": 0, "default": 0, "description": f"Number {name}."}
                for name in names
            },
        }
        put(folder / "contracts" / f"c{index}.schema.json", json.dumps(schema))
        put(folder / "base" / f"c{index}.yaml", "".join(f"{name}: {index}\n" for name in names))
    put(folder / "dev" / "c0.yaml", f"{KEY}: 0\n")


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def save(path: Path, text: str) -> None:
    """Write beside, then replace: how editors save."""
    beside = path.with_name("." + path.name + ".swp")
    beside.write_text(text)
    beside.replace(path)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def running(argv: list[str], env: dict[str, str] | None = None, log: Path | None = None) -> Iterator[Any]:
    out = log.open("wb") if log else subprocess.PIPE
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=out, stderr=out if log else None, env=env, bufsize=0
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


class Lines:
    """Lines of a child's stdout, each with a time limit."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self.stream, self.rest = process.stdout, b""

    def next(self, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.stream], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("the other process said nothing in time")
            chunk = os.read(self.stream.fileno(), 65536)
            if not chunk:
                raise RuntimeError("the other process ended")
            self.rest += chunk
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def until(self, value: str, timeout: float = 10.0) -> float:
        """The moment at which the other process saw `value`."""
        while True:
            moment, seen = self.next(timeout).split()
            if seen == value:
                return float(moment)


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    port = free_port(20000 + os.getpid() % 10000)
    argv = [server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with running(argv, log=folder / "redis.log"):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError), redis.Redis(port=port) as client:
                client.ping()
                break
            time.sleep(0.02)
        yield port


@contextlib.contextmanager
def chain(folder: Path, port: int, settings: int, mode: str) -> Iterator[tuple[Path, Lines]]:
    """A repo, a daemon and a client in processes of their own; yields the repo and what the client prints."""
    repo = folder / "repo"
    write_repo(repo, settings, mode)
    git(folder, "init", "-q", "-b", "main", str(repo))
    keys = make_keys(folder / "keys", open_workspace(repo).state)
    write_recipients(repo, keys.recipient)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "Start")
    http = free_port(port + 1)
    common = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")} | {
        "KEMUDI_ENV": "dev",
        "KEMUDI_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "KEMUDI_KEYSET": str(keys.keyset),
    }
    daemon = common | {
        "KEMUDI_REPO": str(repo),
        "KEMUDI_IDENTITY": str(keys.identity),
        "KEMUDI_SIGNING_KEY": str(keys.signing_key),
        "KEMUDI_STATE_DIR": str(folder / "state"),
    }
    client = common | {"KEMUDI_VERIFY_KEY": str(keys.verify_key)}
    argv = [sys.executable, "-m", "kemudi.cli", "daemon", "--port", str(http)]
    with running(argv, env=daemon, log=folder / "daemon.log"):
        deadline = time.monotonic() + 60
        while fetch(f"http://127.0.0.1:{http}/readyz")[0] != 200:
            if time.monotonic() > deadline:
                raise TimeoutError((folder / "daemon.log").read_text()[-2000:])
            time.sleep(0.05)
        with running([sys.executable, "-c", CLIENT, KEY], env=client) as reader:
            lines = Lines(reader)
            assert lines.next(30) == "ready"
            yield repo, lines


def commits(folder: Path, port: int, count: int, settings: int) -> list[float]:
    """Milliseconds from the return of `git commit` to the client's callback."""
    taken = []
    with chain(folder, port, settings, "commit") as (repo, lines):
        for number in range(1, count + 1):
            (repo / "dev" / "c0.yaml").write_text(f"{KEY}: {number}\n")
            git(repo, "commit", "-qam", f"Set {number}")
            start = time.monotonic()
            taken.append((lines.until(str(number)) - start) * 1000)
            time.sleep(PAUSE_SECONDS)
    return taken


def saves(folder: Path, port: int, count: int, settings: int) -> list[float]:
    """Milliseconds from an atomic save to the client's callback, in work-tree mode."""
    taken = []
    with chain(folder, port, settings, "worktree") as (repo, lines):
        for number in range(1, count + 1):
            start = time.monotonic()
            save(repo / "dev" / "c0.yaml", f"{KEY}: {number}\n")
            taken.append((lines.until(str(number)) - start) * 1000)
            time.sleep(PAUSE_SECONDS)
    return taken


def names_in(events: bytes) -> Iterator[str]:
    """The file names in a buffer of inotify(7) events."""
    offset = 0
    while offset < len(events):
        length = struct.unpack_from("iIII", events, offset)[3]
        yield events[offset + 16 : offset + 16 + length].rstrip(b"\0").decode()
        offset += 16 + length


def floor(folder: Path, port: int, count: int) -> list[float]:
    """Milliseconds of a bare chain: inotify event, PUBLISH of the file's content, SUBSCRIBE in another process."""
    watched = folder / "watched"
    watched.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(0)
    libc.inotify_add_watch(descriptor, str(watched).encode(), IN_CLOSE_WRITE | IN_MOVED_TO)
    child = os.fork()
    if child == 0:
        publisher = redis.Redis(port=port)
        while True:
            for name in names_in(os.read(descriptor, 65536)):
                if not name.startswith("."):
                    publisher.publish("floor", (watched / name).read_text().split()[1])
    taken = []
    try:
        with running([sys.executable, "-c", FLOOR_READER, str(port)]) as reader:
            lines = Lines(reader)
            assert lines.next(10) == "ready"
            for number in range(1, count + 1):
                start = time.monotonic()
                save(watched / "c0.yaml", f"{KEY}: {number}\n")
                taken.append((lines.until(str(number)) - start) * 1000)
                time.sleep(PAUSE_SECONDS)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(descriptor)
    return taken


def summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2),
        "worst_ms": round(ordered[-1], 2),
        "n": len(ordered),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--saves", type=int, default=100)
    parser.add_argument("--settings", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as port:
        folder = Path(name)

        def room(part: str) -> Path:
            (folder / part).mkdir()
            with redis.Redis(port=port) as client:
                client.flushall()
            return folder / part

        results = {
            "commit_to_client": summary(commits(room("commits"), port, chosen.commits, chosen.settings)),
            "save_floor": summary(floor(room("floor"), port, chosen.saves)),
            "save_100": summary(saves(room("small"), port, chosen.saves, 100)),
            "save_many": summary(saves(room("large"), port, chosen.saves, chosen.settings)),
        }
    base, small, large = (results[part]["median_ms"] for part in ("save_floor", "save_100", "save_many"))
    ratios = {"save_to_floor": round(large / base, 2), "many_to_100": round(large / small, 2)}
    if chosen.json:
        print(json.dumps(results | {"ratios": ratios}))
        return
    for part, values in results.items():
        print(
            f"{part:18} median {values['median_ms']:8.2f} ms   p99 {values['p99_ms']:8.2f} ms   n {values['n']}"
        )
    print(f"save to visible, over the bare chain:    {ratios['save_to_floor']:.2f}x  (goal <= 5)")
    print(f"{chosen.settings} settings, over 100:             {ratios['many_to_100']:.2f}x  (goal <= 2)")


if __name__ == "__main__":
    main()
