"""What it costs to read a setting, and what a change among 100,000 settings does to those who read.

Every figure is a ratio to a floor measured in the same rounds: a read of a dict parsed from JSON, one thread for
eight, the gaps of a reader with nothing going on. A dict whose names are the very objects of the code that asks is
quicker than any parsed one; it is shown beside the floor. A real client of a real Redis is measured. Reads take the
CPU time of the thread, commands to Redis and the stall of a reader the wall clock.

    .venv/bin/python benchmarks/reads.py [--rounds N] [--json]
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import redis
from pydantic import create_model

from kemudi.cli.up.redis_server import server_binary
from kemudi.client import Client, connect
from kemudi.schema.generation import Generation
from kemudi.store.manifest import Manifest
from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey
from kemudi.store.snapshot import Category, digest_of, encode_category
from kemudi.store.values import LogEntry, utc_text

CATEGORIES, EACH = 20, 5_000
KEYS = tuple(f"C{number % CATEGORIES:02d}_SETTING_{number * 331 % EACH:05d}" for number in range(10))
GOALS = {
    "config[key]": ("<=", 3.0),
    "config.get(key)": ("<=", 3.5),
    "bound.KEY": ("<=", 3.0),
    "redis-py GET / config[key]": (">=", 500.0),
    "8 threads / 1 thread": (">=", 0.8),
    "stall by a delta, ms": ("<=", 5.0),
}


class Publisher:
    """The daemon's half: 100,000 settings in 20 categories, published and changed."""

    def __init__(self, url: str, folder: Path) -> None:
        self.store = RedisStore(url, "bench")
        self.key = SigningKey.generate()
        self.key.verify_keys().save(folder / "verify.pem")
        self.blobs = {f"c{index:02d}": self._encoded(index, 0) for index in range(CATEGORIES)}
        self.depth = 0

    @staticmethod
    def _encoded(index: int, changed: int) -> tuple[bytes, ...]:
        values: dict[str, Any] = {f"C{index:02d}_SETTING_{number:05d}": number for number in range(EACH)}
        values[f"C{index:02d}_SETTING_00000"] = changed
        return encode_category(Category(f"c{index:02d}", values, {}, {}, frozenset()), None)

    def publish(self, changed: int) -> None:
        """The next generation; only the first category differs from the one before."""
        self.depth += 1
        self.blobs["c00"] = self._encoded(0, changed)
        manifest = Manifest(
            repo_id="bench",
            env="bench",
            generation=Generation(0, self.depth, 0),
            epoch=self.depth,
            revision=f"{self.depth:040x}",
            author="An Author <author@example.org>",
            committed_at=utc_text(),
            applied_at=utc_text(),
            categories={name: tuple(digest_of(blob) for blob in parts) for name, parts in self.blobs.items()},
            settings=CATEGORIES * EACH,
        )
        lease = self.store.acquire_lease("bench", 30)
        assert lease is not None
        entry = LogEntry("applied", manifest.revision, str(manifest.generation), utc_text())
        blobs = {digest_of(blob): blob for parts in self.blobs.values() for blob in parts}
        self.store.stage(blobs)
        self.store.publish(lease, manifest.sign(self.key), tuple(blobs), entry, self.store.current())
        self.store.release(lease)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A private Redis on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [
        str(server_binary()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as probe:
            until(lambda: answers(probe))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def answers(probe: redis.Redis) -> bool:
    try:
        return bool(probe.ping())
    except redis.ConnectionError:
        return False


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("not in 20 seconds")
        time.sleep(0.002)


def reader(statements: str, **names: Any) -> Callable[[int], float]:
    """A function that runs ten reads, unrolled, n times, and gives the nanoseconds of CPU for one."""
    body = f"def run(n, {', '.join(names)}):\n for _ in range(n):\n" + "".join(
        f"  {statements.replace('KEY', repr(key)).replace('.ATTR', '.' + key)}\n" for key in KEYS
    )
    space: dict[str, Any] = {}
    exec(body, space)  # the reads stand in the loop itself, as they do in a program
    run, values = space["run"], tuple(names.values())

    def measure(n: int) -> float:
        begun = time.thread_time_ns()
        run(n, *values)
        return (time.thread_time_ns() - begun) / n / len(KEYS)

    return measure


def reads(config: Client, url: str, rounds: int) -> dict[str, float]:
    """Nanoseconds for one read of each kind, medians of interleaved rounds."""
    # What a program would have that reads its settings from a file once.
    plain = orjson.loads(orjson.dumps({key: config[key] for key in config}))
    model = create_model("Bound", **dict.fromkeys(KEYS, (int, ...)))  # type: ignore[call-overload]  # made at run time
    bound, view = config.bind(model), config.pin()
    for key in KEYS:
        expected = plain[key]
        assert config[key] == config.get(key) == view[key] == getattr(bound, key) == expected
    kinds = {
        "dict d[key]": reader("d[KEY]", d=plain),
        "dict d[key], same objects": reader("d[KEY]", d={sys.intern(key): plain[key] for key in plain}),
        "config[key]": reader("c[KEY]", c=config),
        "config.get(key)": reader("c.get(KEY)", c=config),
        "config.get(key, default=…)": reader("c.get(KEY, default=1)", c=config),
        "view[key]": reader("v[KEY]", v=view),
        "bound.KEY": reader("b.ATTR", b=bound),
    }
    times: dict[str, list[float]] = {name: [] for name in [*kinds, "redis-py GET"]}
    for measure in kinds.values():
        measure(1_000)
    for _ in range(rounds * 20):  # many short rounds: a busy machine slows all kinds of one round alike
        for name, measure in kinds.items():
            times[name].append(measure(1_000))
    with redis.Redis.from_url(url) as server_client:
        server_client.set("bench", 1)
        for _ in range(rounds):
            begun = time.perf_counter_ns()
            for _ in range(200):
                server_client.get("bench")
            times["redis-py GET"].append((time.perf_counter_ns() - begun) / 200)
    return {name: statistics.median(each) for name, each in times.items()}


def threads(config: Client, rounds: int) -> dict[str, float]:
    """Million reads in a second in total, with one thread and with eight, the same number of reads in both."""
    measure = reader("c[KEY]", c=config)

    def total(count: int) -> float:
        turns = 160_000 // count
        workers = [threading.Thread(target=measure, args=(turns,)) for _ in range(count)]
        begun = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return turns * count * len(KEYS) / (time.perf_counter() - begun) / 1e6

    found: dict[int, list[float]] = {1: [], 8: []}
    for _ in range(rounds):
        for count, each in found.items():
            each.append(total(count))
    return {"1 thread": statistics.median(found[1]), "8 threads": statistics.median(found[8])}


def longest_gap(config: Client, cause: Callable[[], None], seen: Callable[[], object]) -> float:
    """Milliseconds between two reads of a thread that does nothing else, at the most, while something happens."""
    stop, gaps = threading.Event(), []

    def spin() -> None:
        worst, before = 0.0, time.perf_counter()
        while not stop.is_set():
            config["C00_SETTING_00000"]
            now = time.perf_counter()
            worst, before = max(worst, now - before), now
        gaps.append(worst * 1000)

    spinner = threading.Thread(target=spin)
    spinner.start()
    time.sleep(0.02)
    cause()
    until(seen)
    stop.set()
    spinner.join()
    return gaps[0]


def stalls(config: Client, change: Callable[[int], None], rounds: int) -> dict[str, float]:
    """The longest gap of a reader: with nothing going on, and while another process publishes one changed setting."""
    idle, delta = [], []
    for number in range(1, rounds + 1):
        idle.append(longest_gap(config, lambda: time.sleep(0.05), lambda: True))

        def seen(number: int = number) -> bool:
            return bool(config["C00_SETTING_00000"] == number)

        delta.append(longest_gap(config, lambda number=number: change(number), seen))  # type: ignore[misc]  # bound
    return {
        "idle": statistics.median(idle),
        "delta": statistics.median(delta),
        "idle at least": min(idle),
        "delta at least": min(delta),
    }


@contextmanager
def publishing(url: str, folder: Path) -> Iterator[Callable[[int], None]]:
    """A publisher in a process of its own; the function publishes a number and returns when it is current."""
    argv = [sys.executable, __file__, "--publish", url, str(folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def change(number: int) -> None:
            print(number, file=process.stdin, flush=True)
            if process.stdout is None or process.stdout.readline().strip() != str(number):
                raise RuntimeError("the publisher has ended")

        try:
            yield change
        finally:
            process.stdin.close()


def publish(url: str, folder: Path) -> int:
    """The publisher's process."""
    publisher = Publisher(url, folder)
    for line in sys.stdin:
        publisher.publish(int(line))
        print(line.strip(), flush=True)
    publisher.store.close()
    return 0


def measured(rounds: int) -> dict[str, Any]:
    """All figures: nanoseconds, million reads in a second, milliseconds, and the ratios that have goals."""
    with (
        tempfile.TemporaryDirectory() as name,
        server(Path(name)) as url,
        publishing(url, Path(name)) as change,
    ):
        change(0)
        options: dict[str, Any] = {
            "redis_url": url,
            "verify_key": Path(name) / "verify.pem",
            "state_dir": name,
        }
        begun = time.perf_counter()
        with connect("bench", **options) as config:
            connected = (time.perf_counter() - begun) * 1000
            assert len(config) == CATEGORIES * EACH
            nanoseconds = reads(config, url, rounds)
            rates = threads(config, rounds)
            gaps = stalls(config, change, rounds)
    floor = nanoseconds["dict d[key]"]
    ratios = {name: each / floor for name, each in nanoseconds.items() if name in GOALS}
    ratios["redis-py GET / config[key]"] = nanoseconds["redis-py GET"] / nanoseconds["config[key]"]
    ratios["8 threads / 1 thread"] = rates["8 threads"] / rates["1 thread"]
    # A busy machine stalls any thread; what the swap does itself, it does in the least disturbed round, too.
    ratios["stall by a delta, ms"] = gaps["delta at least"]
    return {"ns": nanoseconds, "mreads_s": rates, "gap_ms": gaps, "connect_ms": connected, "ratios": ratios}


def is_met(name: str, value: float) -> bool:
    sign, goal = GOALS[name]
    return value <= goal if sign == "<=" else value >= goal


def report(found: dict[str, Any]) -> None:
    floor = found["ns"]["dict d[key]"]
    print(f"{'one read':<30} {'ns':>10} {'x dict':>8}")
    for name, each in found["ns"].items():
        print(f"{name:<30} {each:>10.1f} {each / floor:>8.2f}")
    print(f"{'threads':<30} {'M reads/s':>10}")
    for name, each in found["mreads_s"].items():
        print(f"{name:<30} {each:>10.2f}")
    print(f"a client of {CATEGORIES * EACH:,} settings connects in {found['connect_ms']:.0f} ms")
    print("longest gap between two reads: ", end="")
    print(", ".join(f"{name} {each:.2f} ms" for name, each in found["gap_ms"].items()))
    print(f"{'goal':<30} {'measured':>10}")
    for name, value in found["ratios"].items():
        sign, goal = GOALS[name]
        print(f"{name:<30} {value:>10.2f}   {sign} {goal:g}: {'met' if is_met(name, value) else 'MISSED'}")


def main() -> int:
    """Print the figures. Returns 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--publish", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        return publish(options.publish[0], Path(options.publish[1]))
    found = measured(options.rounds)
    if options.json:
        print(json.dumps(found))
    else:
        report(found)
    return int(not all(is_met(name, value) for name, value in found["ratios"].items()))


if __name__ == "__main__":
    raise SystemExit(main())
