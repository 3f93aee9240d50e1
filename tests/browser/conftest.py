"""One Chromium and one whole Kemudi for all tests of the browser."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

KEMUDI = str(Path(sys.executable).parent / "kemudi")
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Kemudi:
    """A running `kemudi up`."""

    endpoints: dict[str, Any]
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def console(self) -> str:
        return str(self.endpoints["console"])

    def graph(self, path: str) -> Any:
        return httpx.get(self.endpoints["graph"] + path, timeout=10, trust_env=False).json()

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Author", "-c", "user.email=author@example.org"]
        argv = ["git", "-C", self.endpoints["repo"], *identity, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def change(self, layer: str, category: str, **settings: object) -> str:
        """Commit as an author with an editor does."""
        path = Path(self.endpoints["repo"]) / layer / f"{category}.yaml"
        kept = [line for line in path.read_text().splitlines() if line.split(":")[0] not in settings]
        beside = path.with_suffix(".tmp")
        beside.write_text(
            "\n".join([*kept, *(f"{key}: {json.dumps(value)}" for key, value in settings.items())]) + "\n"
        )
        beside.replace(path)
        self.git("commit", "-q", "-am", "Change a setting")
        return self.git("rev-parse", "HEAD")

    def end(self, part: str) -> None:
        """End one process as `kill` does, and wait for that; it is started again by its parent."""
        children = psutil.Process(self.process.pid).children()
        (found,) = [each for each in children if part in each.cmdline()]
        found.terminate()
        found.wait(30)

    def link(self) -> str:
        """A new one-time link, as the command prints it."""
        done = subprocess.run(
            [KEMUDI, "console", "login", "--up"], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@dataclass
class Visit:
    """One page of one browser, and everything that went wrong in it."""

    page: Page
    context: BrowserContext
    wrong: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def kemudi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kemudi]:
    folder = tmp_path_factory.mktemp("up")
    env = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [KEMUDI, "up", "--json", "--port", str(10000 + (os.getpid() * 11) % 9000)],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=env,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / "up.log").read_text()
        yield Kemudi(json.loads(line), folder, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Ends with its module: Playwright leaves a running event loop in this thread, which others cannot work with."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def violations() -> Callable[..., list[str]]:
    """What axe-core finds wrong in a page, by rule and place; all rules, or those that are named."""
    source = (files("axe_playwright_python") / "axe.min.js").read_text()

    def find(page: Page, *rules: str) -> list[str]:
        if not page.evaluate("'axe' in window"):
            page.evaluate(source)
        found = page.evaluate(
            "async rules => (await axe.run(rules.length ? {runOnly: rules} : {}))"
            ".violations.map(v => [v.id, v.nodes.map(n => n.html)])",
            list(rules),
        )
        return [f"{rule}: {places[:3]}" for rule, places in found]

    return find


@pytest.fixture
def clean_in_both_themes(violations: Callable[..., list[str]]) -> Callable[[Page], None]:
    """Fails when a page has a violation by light, or one that colours can make by dark."""

    def check(page: Page) -> None:
        page.emulate_media(color_scheme="light")
        assert violations(page) == [], page.url
        page.emulate_media(color_scheme="dark")
        assert violations(page, "color-contrast") == [], page.url  # all that a theme can change

    return check


@pytest.fixture
def visit(kemudi: Kemudi, chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """A browser of its own, signed in by a one-time link; afterwards nothing may have gone wrong in it."""
    opened: list[Visit] = []

    def make(*, language: str = "en", scheme: str = "light", scripts: bool = True) -> Visit:
        context = chromium.new_context(
            viewport={"width": 1360, "height": 860},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=scripts,
            locale="en-GB",
        )
        context.set_default_timeout(20_000)
        context.add_cookies([{"name": "kemudi_language", "value": language, "url": kemudi.console}])
        made = Visit(context.new_page(), context)
        made.page.on("pageerror", lambda error: made.wrong.append(f"script: {error}"))
        made.page.on("console", lambda said: _note(made, said))
        made.page.on("request", lambda request: _leaves(made, request.url, kemudi.console))
        opened.append(made)
        made.page.goto(kemudi.link())
        made.page.wait_for_url("**/e/dev/")
        return made

    yield make
    wrong = [each for made in opened for each in made.wrong]
    for made in opened:
        made.context.close()
    assert wrong == []


def _note(made: Visit, said: Any) -> None:
    """Reports of the content security policy, and every other error but an answer that the test asked for."""
    if said.type == "error" and "the server responded with a status of 4" not in said.text:
        made.wrong.append(said.text)


def _leaves(made: Visit, url: str, origin: str) -> None:
    if not url.startswith((origin, "data:", "blob:")):
        made.wrong.append(f"request to {url}")
