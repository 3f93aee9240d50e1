"""`kemudi log KEY` and `kemudi blame` on a repository of 10,000 commits and 200 files, against `git log -G KEY`.

Run: python benchmarks/history.py [--commits N] [--files N] [--pairs N]. Whole processes: the time on the clock and that
of the processor, medians. The ratio is the median of pairs, each a git and a cold Kemudi one after the other: a shared
machine is not equally fast all the time.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from kemudi.repo.git import environment

_LAYERS: Final = ("base", "dev", "staging", "prod")
_KEYS: Final = 50
_RUNS: Final = 5
_ENVIRONMENTS: Final = "".join(f"  - {{name: {layer}, layers: [base, {layer}]}}\n" for layer in _LAYERS[1:])
_ID: Final = "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21"
_MANIFEST: Final = f"format: 1\nid: {_ID}\nenvironments:\n{_ENVIRONMENTS}services: {{}}\npolicies: []\n"
_WANTED: Final = "C010_KEY_05"


def main() -> None:
    """Make the repository, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=11)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _git(root, "init", "-q", "-b", "main")
        _git(root, "fast-import", "--quiet", data=b"".join(_stream(asked.commits, asked.files)))
        _git(root, "reset", "-q", "--hard")
        _report(root, asked.pairs)


def _report(root: Path, pairs: int) -> None:
    index = root / ".git" / "kemudi" / "history.sqlite"
    program = [sys.executable, "-m", "kemudi.cli"]
    log = [*program, "log", _WANTED, "--repo", str(root)]
    blame = [*program, "blame", "--env", "prod", "--repo", str(root)]

    help_ = [*program, "log", "--help"]

    def cold() -> None:
        index.unlink(missing_ok=True)
        _run(log)

    def git() -> None:
        _git(root, "log", f"-G{_WANTED}", "--oneline")

    both = [(_timed(git), _timed(cold)) for _ in range(pairs)]
    _print("git log -G KEY", [each for each, _ in both])
    _print("kemudi log KEY, cold", [each for _, each in both])
    for name, argv in (
        ("kemudi log KEY, warm", log),
        ("kemudi blame, warm", blame),
        ("the program alone", help_),
    ):
        _print(name, [_timed(partial(_run, argv)) for _ in range(_RUNS)])
    clock, processor = (sorted(ours[each] / gits[each] for gits, ours in both) for each in (0, 1))
    print(
        f"cold is {statistics.median(clock):.2f} x git on the clock ({clock[0]:.2f} to {clock[-1]:.2f}), "
        f"{statistics.median(processor):.2f} x by the processor; the index has {index.stat().st_size / 1e6:.1f} MB"
    )


def _stream(commits: int, files: int) -> Iterator[bytes]:
    """One commit with everything, then one line a commit."""
    chance = random.Random(1)
    categories = files // len(_LAYERS)
    values = {
        (layer, category): [chance.randrange(1000) for _ in range(_KEYS)]
        for layer in _LAYERS
        for category in range(categories)
    }
    for number in range(commits):
        when = 1_600_000_000 + number * 600
        person = f"author{number % 7} <author{number % 7}@example.org> {when} +0000"
        yield f"commit refs/heads/main\nauthor {person}\ncommitter {person}\n".encode()
        yield _data(f"Change {number}\n\nThe load is higher.\n")
        if not number:
            yield b"M 100644 inline kemudi.yaml\n" + _data(_MANIFEST)
            for category in range(categories):
                name = f"contracts/c{category:03}.schema.json"
                yield f"M 100644 inline {name}\n".encode() + _data(_contract(category))
            changed = list(values)
        else:
            changed = [(chance.choice(_LAYERS), chance.randrange(categories))]
            values[changed[0]][chance.randrange(_KEYS)] = chance.randrange(100_000)
        for layer, category in changed:
            lines = "".join(
                f"C{category:03}_KEY_{key:02}: {each}\n" for key, each in enumerate(values[layer, category])
            )
            yield f"M 100644 inline {layer}/c{category:03}.yaml\n".encode() + _data(f"# values\n{lines}")


def _contract(category: int) -> str:
    described = {"type": "integer", "default": 1, "description": "A number."}
    keys = {f"C{category:03}_KEY_{key:02}": described for key in range(_KEYS)}
    return json.dumps({"type": "object", "additionalProperties": False, "properties": keys})


def _data(text: str) -> bytes:
    content = text.encode()
    return b"data %d\n" % len(content) + content + b"\n"


def _git(root: Path, *arguments: str, data: bytes = b"") -> None:
    subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=environment(),
        input=data,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def _run(argv: list[str]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    begun, used = time.perf_counter(), _used()
    work()
    return time.perf_counter() - begun, _used() - used


def _print(name: str, runs: list[tuple[float, float]]) -> None:
    clock, processor = (statistics.median(each) * 1000 for each in zip(*runs, strict=True))
    print(f"{name:<24} {clock:7.0f} ms on the clock {processor:7.0f} ms of the processor")


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


if __name__ == "__main__":
    main()
