"""The console over many settings: bytes of the first page on the wire, server time, filter and preview.

    python benchmarks/console.py [--settings 5000] [--rounds 15] [--json]

A config repo of 20 categories and three environments in git, the console on a real port in this process, and a client
that asks like a browser. Server time is from the request to the whole answer over loopback, medians. Goals for 5,000
settings: the first page under 30 KB on the wire and 100 ms; the answer to a filter under 150 ms, so that it is on the
screen within 300 ms with the page's own delay of 120 ms. The floor of a preview, measured in the same run, is planning
the same change from states that are read already.
"""

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import yaml
from validate import contract, names, values

from kemudi.console.access.people import Person
from kemudi.console.access.sessions import csrf_token
from kemudi.console.app import build_app
from kemudi.console.runtime import open_parts
from kemudi.console.settings import ConsoleSettings
from kemudi.repo.plan import plan
from kemudi.schema.paths import File
from kemudi.web.logs import make_log
from kemudi.web.server import HttpServer, listen

CATEGORIES = 20
ENVIRONMENTS = ("dev", "staging", "prod")
GOALS = {"first page KB": 30.0, "first page ms": 100.0, "filter ms": 150.0}


def make_repo(folder: Path, settings: int) -> None:
    """A config repo in git."""
    environments = [{"name": name, "layers": ["base", name], "mode": "commit"} for name in ENVIRONMENTS]
    rng = random.Random(7)  # the same files in every run
    (folder / "contracts").mkdir(parents=True)
    manifest = {"format": 1, "id": str(uuid.UUID(int=7)), "environments": environments}
    (folder / "kemudi.yaml").write_text(yaml.safe_dump(manifest))
    for layer in ("base", *ENVIRONMENTS):
        (folder / layer).mkdir()
    for category in range(CATEGORIES):
        keys = names(category, settings // CATEGORIES)
        (folder / f"contracts/category_{category:04d}.schema.json").write_bytes(contract(keys))
        for layer in ("base", *ENVIRONMENTS):
            (folder / layer / f"category_{category:04d}.yaml").write_bytes(values(keys, rng))
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "Settings")):
        identity = ["-c", "user.name=Author", "-c", "user.email=author@example.org"]
        subprocess.run(["git", "-C", str(folder), *identity, *words], check=True)


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Milliseconds on the clock, after one call that is not counted."""
    work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1_000)
    return statistics.median(taken)


def measure(settings: int, rounds: int) -> dict[str, float]:
    """All figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder) / "config"
        make_repo(repo, settings)
        told = ConsoleSettings(repo, "http://127.0.0.1:9", Path(folder) / "state")
        with open_parts(told, make_log()) as parts:
            listener = listen("127.0.0.1", 0, who="the benchmark")
            server = HttpServer(build_app(parts), listener, name="console-http")
            server.start()
            try:
                session = parts.sessions.begin(Person("owner", "Owner", "owner@example.org"), "link")
                sent = {"Accept-Encoding": "gzip", "Origin": server.url, "X-Kemudi-CSRF": csrf_token(session)}
                with httpx.Client(base_url=server.url, headers=sent, trust_env=False, timeout=60) as http:
                    http.cookies.set("kemudi_session", session)
                    return figures(http, parts, rounds)
            finally:
                server.close()


def figures(http: httpx.Client, parts: object, rounds: int) -> dict[str, float]:
    """What the client sees, and the floor of a preview."""
    page, key = "/e/dev/settings", names(7, 8)[6]
    fragment = {"X-Kemudi-Fragment": "1"}
    with http.stream("GET", page) as answer:
        size = sum(len(each) for each in answer.iter_raw())
    body = {"env": "dev", "changes": [{"key": key, "value": 12345}], "reason": "A benchmark"}
    planned = http.post("/api/v1/plans", json=body)
    assert planned.status_code == 200, planned.text
    state = parts.board.state  # type: ignore[attr-defined]  # Parts
    path = "dev/category_0007.yaml"
    text = state.files[path].data.replace(f"{key}: ".encode(), f"{key}: 9".encode())
    changed = {path: File(path, text)}
    return {
        "first page KB": size / 1024,
        "first page ms": median_ms(lambda: http.get(page), rounds),
        "filter ms": median_ms(lambda: http.get(f"{page}?q=0013_setting_1", headers=fragment), rounds),
        "api page of 100 ms": median_ms(
            lambda: http.get("/api/v1/environments/dev/settings?limit=100"), rounds
        ),
        "preview ms": median_ms(lambda: http.post("/api/v1/plans", json=body), rounds),
        "preview floor ms": median_ms(
            lambda: plan(state, state.update(changed), base="a" * 40, head="main"), rounds
        ),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--settings", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    found = measure(told.settings, told.rounds)
    if told.json:
        print(json.dumps(found))
        return
    print(f"{told.settings} settings, three environments; medians of {told.rounds}")
    for name, value in found.items():
        goal = GOALS.get(name)
        print(f"{name:>20}  {value:8.1f}" + (f"  goal {goal:.0f}" if goal is not None else ""))


if __name__ == "__main__":
    main()
