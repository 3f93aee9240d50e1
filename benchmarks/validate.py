"""Reading, locating and validating settings against only parsing the same bytes with PyYAML's C loader.

    python benchmarks/validate.py [--settings 10000] [--per-file 100] [--rounds 9] [--json]

Every candidate sees the same files in the same round; CPU time of this thread, median over the rounds, the collector
on, results kept alive as a daemon keeps them. Goal: at most 1.5 times the floor. The load of a whole repo of 10,000
small files (2,500 categories in 4 layers) is reported beside it, and what one changed file costs there.

`kemudi validate` is measured as a command, from the start of the interpreter to its end, wall clock, best of rounds:
10,000 settings in 200 files (40 categories, a contract and 4 layers each), whole (goal: 2 s) and with `--base` after an
edit of one file (goal: 300 ms). The byte code of the modules is there, as after any first run; no cache of Kemudi is.
"""

import argparse
import gc
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from kemudi.schema.contract_reader import read_contract
from kemudi.schema.documents import Document, read_document
from kemudi.schema.state import ConfigState, File

GOAL = 1.5
WHOLE_GOAL_S = 2.0
BASE_GOAL_MS = 300.0
LAYERS = ("base", "dev", "staging", "prod")
KINDS: tuple[tuple[dict[str, object], Callable[[random.Random], str]], ...] = (
    (
        {"type": "integer", "minimum": 0, "maximum": 1_000_000, "default": 1},
        lambda r: str(r.randrange(100_000)),
    ),
    ({"type": "boolean", "default": False}, lambda r: r.choice(["true", "false"])),
    (
        {"type": "string", "maxLength": 80, "default": ""},
        lambda r: f"value {r.randrange(10_000)} of some text",
    ),
    (
        {"type": "string", "pattern": "^https?://", "default": "http://x"},
        lambda r: f"https://h{r.randrange(99)}.x/p",
    ),
    ({"type": "number", "minimum": 0, "default": 0.5}, lambda r: f"{r.random():.4f}"),
    (
        {"type": "string", "enum": ["low", "middle", "high"], "default": "low"},
        lambda r: r.choice(["low", "high"]),
    ),
)


def contract(keys: list[str]) -> bytes:
    """A contract in which the kinds of settings take turns."""
    properties = {
        key: {"description": f"Setting {key}.", **KINDS[position % len(KINDS)][0]}
        for position, key in enumerate(keys)
    }
    return json.dumps({"type": "object", "additionalProperties": False, "properties": properties}).encode()


def values(keys: list[str], rng: random.Random) -> bytes:
    """One `KEY: value` a line."""
    lines = [f"{key}: {KINDS[position % len(KINDS)][1](rng)}\n" for position, key in enumerate(keys)]
    return "".join(lines).encode()


def names(category: int, count: int) -> list[str]:
    """The keys of a category."""
    return [f"CATEGORY_{category:04d}_SETTING_{number:03d}" for number in range(count)]


def cpu(work: Callable[[], object]) -> float:
    """CPU milliseconds of this thread. What `work` made stays alive until it is timed."""
    gc.collect()
    started = time.thread_time()
    kept = work()
    taken = time.thread_time() - started
    del kept
    return taken * 1_000


def flat(settings: int, per_file: int, rounds: int, header: bytes = b"") -> dict[str, object]:
    """Parse, locate and validate; the floor only parses."""
    rng = random.Random(7)
    groups = [names(number, per_file) for number in range(settings // per_file)]
    contracts = [read_contract(contract(keys), f"c{i}", f"c{i}") for i, keys in enumerate(groups)]
    files = [header + values(keys, rng) for keys in groups]
    known = [found for found, findings in contracts if found is not None and not findings]
    assert len(known) == len(files)

    def floor() -> object:
        return [yaml.load(data, yaml.CSafeLoader) for data in files]

    def ours() -> object:
        documents: list[Document] = []
        for data, each in zip(files, known, strict=True):
            document, findings = read_document(data, "prod/x.yaml")
            assert document is not None
            assert not findings
            assert each.file_is_valid(document.values)
            documents.append(document)
        return documents

    expected = [yaml.load(data, yaml.CSafeLoader) for data in files]
    got = [read_document(data, "x")[0] for data in files]
    assert [each.values for each in got if each is not None] == expected, "the two read different values"
    times: dict[str, list[float]] = {"floor": [], "ours": []}
    for _ in range(rounds):
        times["floor"].append(cpu(floor))
        times["ours"].append(cpu(ours))
    low, high = statistics.median(times["floor"]), statistics.median(times["ours"])
    return {
        "settings": settings,
        "per_file": per_file,
        "floor_ms": round(low, 1),
        "validated_ms": round(high, 1),
        "ratio": round(high / low, 2),
        "goal": GOAL,
    }


def whole_repo(categories: int, rounds: int) -> dict[str, object]:
    """Load 4 layers of many small categories, then change one file."""
    rng = random.Random(11)
    layers = ("base", "dev", "staging", "prod")
    environments = [{"name": name, "layers": ["base", name]} for name in layers[1:]]
    manifest = {"format": 1, "id": "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21", "environments": environments}
    files = [File("kemudi.yaml", yaml.safe_dump(manifest).encode())]
    for number in range(categories):
        keys = names(number, 4)
        files.append(File(f"contracts/c{number}.schema.json", contract(keys)))
        files += [File(f"{layer}/c{number}.yaml", values(keys, rng)) for layer in layers]
    started = time.thread_time()
    state = ConfigState.load(files)
    load = time.thread_time() - started
    assert not state.findings, state.findings[:3]
    updates: list[float] = []
    for number in range(max(20, rounds)):
        path = f"prod/c{number % categories}.yaml"
        change = {path: File(path, values(names(number % categories, 4), rng))}
        started = time.thread_time()
        state = state.update(change)
        updates.append((time.thread_time() - started) * 1_000)
    return {
        "files": len(files),
        "load_s": round(load, 2),
        "update_one_file_ms": round(statistics.median(updates), 2),
    }


def repository(root: Path, categories: int, per_category: int) -> None:
    """A committed config repo, with one value edited since."""
    rng = random.Random(3)
    environments = [{"name": name, "layers": ["base", name]} for name in LAYERS[1:]]
    manifest = {"format": 1, "id": "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21", "environments": environments}
    for folder in ("contracts", *LAYERS):
        (root / folder).mkdir()
    (root / "kemudi.yaml").write_text(yaml.safe_dump(manifest))
    for number in range(categories):
        keys = names(number, per_category)
        (root / f"contracts/c{number}.schema.json").write_bytes(contract(keys))
        for layer in LAYERS:
            (root / f"{layer}/c{number}.yaml").write_bytes(values(keys, rng))
    who = ["-c", "user.name=Author", "-c", "user.email=author@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *who, *arguments], cwd=root, check=True)
    edited = root / "prod/c0.yaml"
    first, rest = edited.read_text().split("\n", 1)
    edited.write_text(f"{first.partition(':')[0]}: 7\n{rest}")


def command(settings: int, rounds: int) -> dict[str, object]:
    """`kemudi validate` as its users start it, in processes of its own."""
    categories = 40
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "repo", Path(folder) / "bytecode"
        root.mkdir()
        repository(root, categories, settings // categories)
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        for name, arguments in (("whole", ()), ("base", ("--base", "HEAD"))):
            argv = [sys.executable, "-m", "kemudi.cli", "validate", *arguments]
            times = []
            for _ in range(rounds + 1):  # the first one writes the byte code
                started = time.perf_counter()
                subprocess.run(
                    argv,
                    cwd=root,
                    env=kept | {"PYTHONPYCACHEPREFIX": str(cache)},
                    check=True,
                    capture_output=True,
                )
                times.append((time.perf_counter() - started) * 1_000)
            found[f"{name}_ms"] = round(min(times[1:]), 1)
    found["peak_mib"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1)
    return found


def main() -> int:
    """Print the figures; exit 1 when the goal is missed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--settings", type=int, default=10_000)
    arguments.add_argument("--per-file", type=int, default=100)
    arguments.add_argument("--categories", type=int, default=2_500)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    result = flat(asked.settings, asked.per_file, asked.rounds)
    marked = flat(asked.settings, asked.per_file, asked.rounds, b"# 100 % & more!\n")
    repo = whole_repo(asked.categories, asked.rounds)
    program = command(asked.settings, min(asked.rounds, 5))
    if asked.json:
        print(json.dumps({"validate": result, "marked": marked, "repo": repo, "command": program}))
    else:
        print(
            f"{result['settings']:,} settings, {result['per_file']} a file, CPU ms, median of {asked.rounds}:"
        )
        print(f"  only parsed with PyYAML's CSafeLoader   {result['floor_ms']:>8}")
        print(f"  parsed, located and validated           {result['validated_ms']:>8}")
        print(f"  ratio {result['ratio']} (goal: at most {GOAL})")
        print(f"  ratio where every file holds & * ! or %: {marked['ratio']}")
        print(f"{repo['files']:,} files: loaded and resolved in {repo['load_s']} s of CPU,", end=" ")
        print(f"one changed file in {repo['update_one_file_ms']} ms")
        print(f"kemudi validate, {asked.settings:,} settings in 200 files, a process each:")
        print(f"  everything {program['whole_ms']} ms (goal {WHOLE_GOAL_S * 1_000:g}),", end=" ")
        print(f"--base after one edit {program['base_ms']} ms (goal {BASE_GOAL_MS:g}),", end=" ")
        print(f"at most {program['peak_mib']} MiB")
    in_time = float(str(program["whole_ms"])) <= WHOLE_GOAL_S * 1_000
    in_time = in_time and float(str(program["base_ms"])) <= BASE_GOAL_MS
    return 0 if float(str(result["ratio"])) <= GOAL and in_time else 1


if __name__ == "__main__":
    sys.exit(main())
