"""Redis, the remote of git and the daemon away, each alone and all at once: said on every page, and no write is lost.

And what acts past git: a kill switch with the remote away, and one that ends by itself. All parts are real: a Redis and
a daemon that are killed, a bare repository that is moved or takes nothing.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from kemudi.console.app import make_api
from kemudi.schema.errors import UsageError
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import SigningKey

pytestmark = pytest.mark.timeout(120)

SAID = {
    "redis": "Redis cannot be reached",
    "daemon": "The daemon does not answer",
    "remote": "Saved here, but not pushed to the remote yet",
    "refused": "Saved here, but not pushed to the remote yet",
}
"""What every page says while a part is away."""

OUTAGES = (("redis",), ("daemon",), ("remote",), ("refused",), ("redis", "daemon", "remote"))


@dataclass
class World:
    """A console with everything that it depends on."""

    site: Any
    redis: Any
    remote: Path
    daemon: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes]"

    @property
    def hook(self) -> Path:
        return self.remote / "hooks" / "pre-receive"

    def lose(self, part: str) -> None:
        """Take a part away, at once and without a word."""
        if part == "redis":
            self.redis.stop()
        elif part == "daemon":
            self.process.kill()
            self.process.wait()
        elif part == "remote":
            self.remote.rename(self.remote.with_suffix(".away"))
        else:
            self.hook.write_text("#!/bin/sh\necho 'protected branch' >&2\nexit 1\n")
            self.hook.chmod(0o755)

    def bring_back(self, part: str) -> None:
        if part == "redis":
            self.redis.start()
        elif part == "daemon":
            self.process = self.daemon()
        elif part == "remote":
            self.remote.with_suffix(".away").rename(self.remote)
        else:
            self.hook.unlink()

    def pushed(self) -> str:
        return str(self.site.repo.git("--git-dir", str(self.remote), "rev-parse", "main"))

    def row(self, key: str) -> Any:
        return self.site.parts.board.environments["dev"].rows[key]


@pytest.fixture
def world(
    start: Callable[..., Any],
    repo: Any,
    start_server: Callable[..., Any],
    tmp_path: Path,
    until: Callable[..., None],
) -> Iterator[World]:
    repo.policies({"rule": "break-glass", "environments": ["dev"], "keys": ["SYNC_PAUSED"]})
    remote = tmp_path / "remote.git"
    repo.git("clone", "-q", "--bare", str(repo.path), str(remote))
    repo.git("remote", "add", "origin", str(remote))
    repo.git("fetch", "-q", "origin")
    redis = start_server("valkey")
    port = _free_port()
    env = _daemon_environment(repo, redis.url(), tmp_path)

    def daemon() -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", "kemudi.cli", "daemon", "--port", str(port), "--drift-seconds", "1"]
        with (tmp_path / "daemon.log").open("ab") as log:
            return subprocess.Popen(argv, env=env, stdout=log, stderr=log)

    with ExitStack() as stack:
        made = World(start(daemon_url=f"http://127.0.0.1:{port}"), redis, remote, daemon, daemon())
        stack.callback(lambda: (made.process.kill(), made.process.wait()))
        until(lambda: made.row("SYNC_TIMEOUT").state == "live", "the first publish", timeout=60)
        yield made


@pytest.mark.parametrize("away", OUTAGES, ids="+".join)
def test_what_is_away_is_said_on_every_page_and_a_save_is_not_lost(
    world: World, away: tuple[str, ...], until: Callable[..., None]
) -> None:
    """All pages answer and name what is not known; a save is one commit; afterwards it is pushed and live."""
    browser, site = world.site.sign_in(), world.site
    browser.http.timeout = 60  # a machine under load is no answer that is missing
    for part in away:
        world.lose(part)
    saved = browser.form("/e/dev/settings/SYNC_TIMEOUT/change", value="905", reason="Slow", action="commit")
    revision = site.repo.head
    assert (saved.status_code, "SYNC_TIMEOUT: 905" in site.repo.git("show", revision)) == (303, True)

    said = [SAID[part] for part in away if part != "redis" or "daemon" not in away]  # it alone knows of Redis
    until(lambda: all(word in browser.get("/e/dev/").text for word in said), f"the words {said}")
    for path in _pages(site):
        page = browser.get(path)
        assert page.status_code == 200, (path, page.text)
        assert [word for word in said if word not in page.text] == [], path
    if {"redis", "daemon"} & {*away}:
        board = site.parts.board.environments["dev"]
        assert {row.state for row in board.rows.values()} <= {"unknown", "waiting"}
        assert {row.served for row in board.rows.values()} == {None}
        assert "Not known now" in browser.get("/e/dev/").text
        assert "nobody tells what Redis serves" in browser.get("/e/dev/sync").text
    if {"remote", "refused"} & {*away}:
        assert browser.api("GET", "/status").json()["git"]["not_pushed"]
    for part in away:
        world.bring_back(part)
    until(lambda: world.pushed() == revision, "the push", timeout=60)
    until(lambda: world.row("SYNC_TIMEOUT").state == "live", "the saved value, live", timeout=60)
    assert world.row("SYNC_TIMEOUT").served == 905
    words = {*SAID.values(), "Not known now"}
    until(lambda: not any(word in browser.get("/e/dev/").text for word in words), "a page without a warning")
    assert site.repo.git("rev-list", "--count", f"{revision}^..main") == "1"


STOP = "/e/dev/settings/SYNC_PAUSED/stop"
OVERRIDDEN = "SYNC_PAUSED is overridden in dev."


def test_a_kill_switch_and_a_save_with_the_remote_away(world: World, until: Callable[..., None]) -> None:
    """Both take effect at once; the save is pushed later, the switch never is, and at its end git is served again."""
    browser, site = world.site.sign_in(), world.site
    browser.http.timeout = 60
    world.lose("remote")
    saved = browser.form("/e/dev/settings/SYNC_TIMEOUT/change", value="906", reason="Slow", action="commit")
    revision = site.repo.head
    thrown = browser.form(STOP, reason="Overload", minutes="60")
    assert (saved.status_code, thrown.status_code) == (303, 303)
    until(lambda: world.row("SYNC_PAUSED").served is True, "the switch in Redis", timeout=60)
    until(lambda: world.row("SYNC_TIMEOUT").served == 906, "the saved value in Redis", timeout=60)
    assert (world.row("SYNC_PAUSED").state, world.row("SYNC_PAUSED").value) == ("override", False)
    page = browser.get("/e/dev/").text
    assert (OVERRIDDEN in page, SAID["remote"] in page) == (True, True)
    assert site.repo.head == revision
    world.bring_back("remote")
    until(lambda: world.pushed() == revision, "the push", timeout=60)
    assert world.row("SYNC_PAUSED").state == "override"
    assert browser.form("/e/dev/settings/SYNC_PAUSED/go-on", reason="Over").status_code == 303
    until(lambda: world.row("SYNC_PAUSED").served is False, "git's position in Redis", timeout=60)
    assert world.row("SYNC_TIMEOUT").served == 906
    found = browser.get("/e/dev/audit/export?format=json").json()
    assert {"override-set", "override-ended"} <= {
        each["action"] for each in found if each["source"] == "daemon"
    }


def test_an_override_is_seen_to_end_by_itself(world: World, until: Callable[..., None]) -> None:
    """Open pages are told that the row looks different; banner and badge are gone, and the audit log says why."""
    browser, site = world.site.sign_in(), world.site
    browser.http.timeout = 60
    assert browser.form(STOP, reason="Overload", minutes="15").status_code == 303
    until(lambda: OVERRIDDEN in browser.get("/e/dev/switches").text, "the banner", timeout=60)
    told: list[str] = []
    with browser.http.stream("GET", "/api/v1/events", timeout=60) as events:
        until(lambda: _ends_soon(site), "the daemon's consent")
        for line in events.iter_lines():
            told.append(line)
            if "SYNC_PAUSED" in line and world.row("SYNC_PAUSED").state == "live":
                break
    assert world.row("SYNC_PAUSED").served is False
    for path in ("/e/dev/", "/e/dev/switches", "/e/dev/settings/SYNC_PAUSED"):
        assert OVERRIDDEN not in browser.get(path).text
    found = browser.get("/e/dev/audit/export?format=json&key=SYNC_PAUSED").json()
    assert "override-expired" in {each["action"] for each in found if each["source"] == "daemon"}
    assert "override ended by itself" in browser.get("/e/dev/audit?key=SYNC_PAUSED").text


def _ends_soon(site: Any) -> bool:
    """The same override once more, with another end: nobody waits a quarter of an hour here."""
    end = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    words = {"reason": "Overload", "author": "Author <author@example.org>", "until": end}
    try:
        site.parts.daemon.ask(
            "PUT", "/overrides", {"env": "dev", "key": "SYNC_PAUSED", "value": True, **words}
        )
    except UsageError:  # on a slow machine that end is past already when the daemon looks
        return False
    return True


def _pages(site: Any) -> list[str]:
    """The address of every page of an environment, from the router itself."""
    found = []
    waiting = list(make_api(site.parts).routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if inner is not None and not isinstance(route, APIRoute):
            waiting.extend(inner.routes)
        elif isinstance(route, APIRoute) and "GET" in route.methods and route.path.startswith("/e/{env}/"):
            found.append(route.path)
    no_frame = {"/e/{env}/audit/export", "/e/{env}/settings/{key}/row"}
    assert no_frame < {*found}
    waits = site.proposal().id
    return [path.format(env="dev", key="SYNC_PAUSED", id=waits) for path in sorted({*found} - no_frame)]


def _daemon_environment(repo: Any, redis_url: str, folder: Path) -> dict[str, str]:
    keys = folder / "keys"
    keys.mkdir()
    SigningKey.generate().save(keys / "signing.key")
    categories = [path.name.partition(".")[0] for path in (repo.path / "contracts").iterdir()]
    KeysetBundle.generate(categories).save(keys / "keyset.json")
    (keys / "identity.txt").write_text(repo.identity)
    (keys / "identity.txt").chmod(0o600)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEMUDI_")}
    return kept | {
        "KEMUDI_REPO": str(repo.path),
        "KEMUDI_ENV": "dev",
        "KEMUDI_REDIS_URL": redis_url,
        "KEMUDI_IDENTITY": str(keys / "identity.txt"),
        "KEMUDI_SIGNING_KEY": str(keys / "signing.key"),
        "KEMUDI_KEYSET": str(keys / "keyset.json"),
        "KEMUDI_STATE_DIR": str(folder / "daemon-state"),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
