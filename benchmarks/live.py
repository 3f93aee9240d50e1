"""What somebody at the console waits for: a change from git on the screen, a kill switch in a service, the end.

    python benchmarks/live.py [--rounds 20] [--json]

`kemudi up` as it is, and Debian's Chromium with the settings page open. Three times are taken, medians and the largest:
from the return of `git commit` to the new value in the page; from the click on "Turn off now" to the first answer of
the graph service that obeys it; from SIGTERM to the end of a console that five pages are open on. Goals: 1, 2 and 5 s.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
from playwright.sync_api import Browser, Page, sync_playwright

KEMUDI = (sys.executable, "-m", "kemudi.cli")
CHROMIUM = "/usr/bin/chromium"
GOALS = {"commit to screen": 1.0, "click to service": 2.0, "end of the console": 5.0}
PAGES = 5
PAUSE_SECONDS = 0.002
DEADLINE_SECONDS = 30.0


class Up:
    """`kemudi up` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
        self.folder = folder
        self.process = subprocess.Popen(
            [*KEMUDI, "up", "--json", "--port", "9620"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=env,
        )
        assert self.process.stdout is not None
        self.endpoints: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.console = str(self.endpoints["console"]).rstrip("/")

    def commit(self, limit: int) -> None:
        """Change the value that is watched, as an editor and git do."""
        repo = self.folder / ".kemudi/up/config"
        path = repo / "dev/sync.yaml"
        kept = [line for line in path.read_text().splitlines() if not line.startswith("SYNC_TIMEOUT:")]
        path.write_text("\n".join([*kept, f"SYNC_TIMEOUT: {limit}", ""]))
        identity = ["-c", "user.name=Author", "-c", "user.email=author@example.org"]
        argv = ["git", "-C", str(repo), *identity, "commit", "-q", "-am", "Change a limit"]
        subprocess.run(argv, check=True)

    def signed_in(self, chromium: Browser) -> Page:
        """A page of somebody who may do everything."""
        login = [*KEMUDI, "console", "login", "--up"]
        link = subprocess.run(
            login, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()
        page = chromium.new_context().new_page()
        page.goto(link)
        return page

    def console_process(self) -> psutil.Process:
        """The child that serves the console."""
        children = psutil.Process(self.process.pid).children()
        (found,) = [each for each in children if "console" in each.cmdline()]
        return found

    def close(self) -> None:
        """As Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


@contextlib.contextmanager
def running() -> Iterator[tuple[Up, Browser]]:
    """Everything, for as long as it is measured."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        up = Up(Path(folder))
        try:
            chromium = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            yield up, chromium
            chromium.close()
        finally:
            up.close()


def until(condition: Callable[[], Any]) -> float:
    """The moment at which it was true."""
    deadline = time.perf_counter() + DEADLINE_SECONDS
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError
        time.sleep(PAUSE_SECONDS)
    return time.perf_counter()


def commits(up: Up, page: Page, rounds: int) -> list[float]:
    """Seconds from a commit to its value on the screen."""
    page.goto(f"{up.console}/e/dev/settings?q=sync_timeout")
    cell = page.locator("#row-SYNC_TIMEOUT code.value").first
    taken = []
    for number in range(rounds):
        up.commit(1_000 + number)
        began = time.perf_counter()
        shown = str(1_000 + number)
        taken.append(until(lambda shown=shown: cell.inner_text().replace(",", "") == shown) - began)
    return taken


def switches(up: Up, page: Page, rounds: int) -> list[float]:
    """Seconds from a click to the first answer that obeys."""
    address = f"{up.endpoints['graph']}/students/{up.endpoints['sample_nim']}/classmates"
    taken = []
    with httpx.Client(timeout=10) as service:
        for _ in range(rounds):
            page.goto(f"{up.console}/e/dev/settings/GRAPH_FEATURE_ENABLED/stop")
            page.get_by_label("Why?").fill("Overload")
            press = page.get_by_role("button", name="Turn off now")
            began = time.perf_counter()
            press.click(no_wait_after=True)
            taken.append(until(lambda: service.get(address).status_code == 503) - began)
            page.get_by_role("link", name="End it or make it last…").click()
            page.get_by_role("button", name="End the override").click()
            until(lambda: service.get(address).status_code == 200)
    return taken


def ends(up: Up, chromium: Browser, rounds: int) -> list[float]:
    """Seconds from SIGTERM to the end of the console, with streams open; its parent starts it again."""
    taken = []
    for _ in range(rounds):
        pages = [up.signed_in(chromium) for _ in range(PAGES)]
        for page in pages:
            page.goto(f"{up.console}/e/dev/settings")
        process = up.console_process()
        began = time.perf_counter()
        process.terminate()
        process.wait(DEADLINE_SECONDS)
        taken.append(time.perf_counter() - began)
        for page in pages:
            page.context.close()
        until(lambda: answers(up.console))
    return taken


def answers(console: str) -> bool:
    """Whether it is there again."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{console}/healthz", timeout=2).status_code == 200
    return False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with running() as (up, chromium):
        page = up.signed_in(chromium)
        measured = {
            "commit to screen": commits(up, page, arguments.rounds),
            "click to service": switches(up, page, arguments.rounds),
            "end of the console": ends(up, chromium, max(2, arguments.rounds // 5)),
        }
    if arguments.json:
        print(json.dumps(measured))
        return
    for name, taken in measured.items():
        largest, middle = max(taken), statistics.median(taken)
        print(f"{name:<22}{middle:>8.3f} s{largest:>8.3f} s at most   (goal {GOALS[name]:g} s)")


if __name__ == "__main__":
    main()
