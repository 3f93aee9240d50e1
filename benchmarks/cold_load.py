"""Cold load of 100,000 settings from blobs, as a client does it: verify, decode, build one flat view.

The floor is `orjson.loads` of the same JSON, uncompressed, in the same rounds. Run: `python benchmarks/cold_load.py`.
Goal: at most 3 times the floor. Time is that of the thread's CPU, garbage collection on, results kept alive.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import orjson
import zstandard

from kemudi.store.snapshot import Category, digest_of, encode_category, load_category

SETTINGS = 100_000
GOAL = 3.0
WORDS = ("timeout", "limit", "pool", "retries", "endpoint", "enabled", "weights", "region")


def value(number: int) -> Any:
    """The mix of a usual repo: mostly integers and booleans, some text and numbers, few objects."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: number * 7919 % 100_003,
        lambda: number % 3 == 0,
        lambda: (
            f"{WORDS[number % 8]}-{number * 104_729 % 1_000_003:06x}.example.com:{1024 + number % 60_000}"
        ),
        lambda: (number * 31 % 1000) / 8,
        lambda: number % 512,
        lambda: {"collaborative": (number % 10) / 10, "similarity": 0.25, "order": [number % 5, 2, 3]},
    )
    return kinds[(number * 2_654_435_761 >> 7) % 6 if number % 4 else 0]()


def snapshot(categories: int) -> list[tuple[str, tuple[bytes, ...]]]:
    """Categories of equal size, each with its blobs."""
    each = SETTINGS // categories
    encoded = []
    for index in range(categories):
        numbers = range(index * each, (index + 1) * each)
        settings = {f"{WORDS[number % 8].upper()}_{number:06d}": value(number) for number in numbers}
        values = dict(list(settings.items())[: each * 4 // 5])
        defaults = dict(list(settings.items())[each * 4 // 5 :])
        restart = frozenset(list(settings)[:: max(1, each // 10)])
        category = Category(f"category_{index:05d}", values, defaults, {}, restart)
        encoded.append((category.name, encode_category(category, None)))
    return encoded


def texts(encoded: list[tuple[str, tuple[bytes, ...]]]) -> list[bytes]:
    """The JSON of every blob, uncompressed."""
    blobs = [blob for _, items in encoded for blob in items]
    unpack = zstandard.ZstdDecompressor().decompress
    return [unpack(blob) if blob.startswith(zstandard.FRAME_HEADER) else blob for blob in blobs]


def load(named: dict[str, tuple[str, ...]], blobs: dict[str, bytes]) -> dict[str, Any]:
    """What a client does with blobs that it has just read."""
    view: dict[str, Any] = {}
    for name, digests in named.items():
        category = load_category(name, digests, blobs)
        view.update(category.defaults)
        view.update(category.values)
    return view


def measure(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU milliseconds of this thread, and the result."""
    started = time.thread_time()
    result = run()
    return (time.thread_time() - started) * 1000, result


def main() -> int:
    """Print one line per shape. Returns 1 if one misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    missed = False
    print(f"{'shape':>16} {'stored MB':>10} {'JSON MB':>8} {'floor ms':>9} {'load ms':>8} {'ratio':>6}")
    for categories in (5, 20, 200, 2_500):
        encoded = snapshot(categories)
        named = {name: tuple(digest_of(blob) for blob in items) for name, items in encoded}
        blobs = {digest_of(blob): blob for _, items in encoded for blob in items}
        plain = texts(encoded)
        floors, loads = [], []
        for _ in range(rounds):
            floor, parsed = measure(lambda plain=plain: [orjson.loads(text) for text in plain])
            took, view = measure(lambda named=named, blobs=blobs: load(named, blobs))
            if len(view) != SETTINGS or len(parsed) != len(plain):
                raise AssertionError("the load is not whole")
            floors.append(floor)
            loads.append(took)
        floor, took = statistics.median(floors), statistics.median(loads)
        missed |= took > GOAL * floor
        stored, size = sum(map(len, blobs.values())) / 1e6, sum(map(len, plain)) / 1e6
        shape = f"{categories} x {SETTINGS // categories}"
        print(f"{shape:>16} {stored:>10.2f} {size:>8.2f} {floor:>9.1f} {took:>8.1f} {took / floor:>6.2f}")
    print(f"goal: at most {GOAL}: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
