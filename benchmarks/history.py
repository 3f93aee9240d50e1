"""`kemudi log KEY` and `kemudi blame` on a repository of 10,000 commits and 200 files, against `git log -G KEY`.

Run: python benchmarks/history.py [--commits N] [--files N]. Whole processes, the median of some runs: the time on the
clock, and that of the processor, which a busy machine does not change much.
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
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _git(root, "init", "-q", "-b", "main")
        _git(root, "fast-import", "--quiet", data=b"".join(_stream(asked.commits, asked.files)))
        _git(root, "reset", "-q", "--hard")
        _report(root)


def _report(root: Path) -> None:
    index = root / ".git" / "kemudi" / "history.sqlite"
    program = [sys.executable, "-m", "kemudi.cli"]
    log = [*program, "log", _WANTED, "--repo", str(root)]
    blame = [*program, "blame", "--env", "prod", "--repo", str(root)]

    def cold() -> None:
        index.unlink(missing_ok=True)
        _run(log)

    git = _measured("git log -G KEY", lambda: _git(root, "log", f"-G{_WANTED}", "--oneline"))
    built = _measured("kemudi log KEY, cold", cold)
    _measured("kemudi log KEY, warm", lambda: _run(log))
    _measured("kemudi blame, warm", lambda: _run(blame))
    _measured("the program alone", lambda: _run([*program, "log", "--help"]))
    print(
        f"cold is {built / git:.1f} x git by the processor; the index has {index.stat().st_size / 1e6:.1f} MB"
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


def _measured(name: str, work: Callable[[], None]) -> float:
    """Print both medians in milliseconds; return the processor's in seconds."""
    clock, processor = [], []
    for _ in range(_RUNS):
        begun, used = time.perf_counter(), _used()
        work()
        clock.append(time.perf_counter() - begun)
        processor.append(_used() - used)
    wall, own = statistics.median(clock), statistics.median(processor)
    print(f"{name:<24} {wall * 1000:7.0f} ms on the clock {own * 1000:7.0f} ms of the processor")
    return own


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


if __name__ == "__main__":
    main()
