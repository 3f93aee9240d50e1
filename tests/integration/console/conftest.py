"""The console on a real port over a real config repo, and a daemon whose answers a test writes."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kemudi.cli.example import example_folder
from kemudi.console.access.people import OWNER as EVERYTHING
from kemudi.console.access.people import Caller, Person
from kemudi.console.access.sessions import csrf_token
from kemudi.console.app import build_app
from kemudi.console.parts import Parts
from kemudi.console.runtime import open_parts
from kemudi.console.settings import ConsoleSettings
from kemudi.repo.proposal_model import Proposal
from kemudi.repo.sealing import seal_setting
from kemudi.repo.secrets import generate_identity
from kemudi.repo.worktree import WorkTree
from kemudi.schema.state import ConfigState
from kemudi.web.logs import make_log
from kemudi.web.server import HttpServer, listen

SECRET = "kemudi-canary-7f3a9d"
OWNER = Person("owner", "Console Admin", "owner@example.org")


@dataclass
class Daemon:
    """Answers as the daemon does, with what the test says; `asked` is what was asked of it."""

    url: str
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    away: bool = False
    logs: dict[str, list[Any]] = field(default_factory=dict)

    def serves(self, env: str, revision: str, **said: Any) -> None:
        """Publish a revision."""
        self.environments[env] = {
            "env": env,
            "attempted": revision,
            "applied": {"revision": revision, "generation": "0.1.0", "at": "2026-01-01T00:00:00Z"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Applied", "message": ""}],
            "errors": [],
            "clients": [],
            "drift": [],
            "paused": None,
            "rejected": None,
            **said,
        }


@dataclass
class Repo:
    """The example config repo in git, without policies and with a sealed canary; `identity` opens it."""

    path: Path
    identity: str = ""

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Author", "-c", "user.email=author@example.org"]
        argv = ["git", "-C", str(self.path), *identity, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def commit(self, message: str = "Change a setting", **files: str) -> str:
        for path, text in files.items():
            (self.path / path.replace("__", "/")).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.head

    def change(self, layer: str, category: str, **settings: object) -> str:
        """Set keys of a layer and commit, as somebody with an editor does."""
        path = self.path / layer / f"{category}.yaml"
        kept = [line for line in path.read_text().splitlines() if line.split(":")[0] not in settings]
        lines = [
            *kept,
            *(f"{key}: {yaml.safe_dump(value).splitlines()[0]}" for key, value in settings.items()),
        ]
        path.write_text("\n".join(lines) + "\n")
        return self.commit()

    def roles(self, *grants: dict[str, Any]) -> None:
        """Commit a roles file."""
        (self.path / "roles.yaml").write_text(yaml.safe_dump(list(grants)))
        self.commit("Roles")

    def policies(self, *policies: dict[str, Any]) -> None:
        """Commit policies."""
        text = (self.path / "kemudi.yaml").read_text().partition("policies:")[0]
        (self.path / "kemudi.yaml").write_text(text + yaml.safe_dump({"policies": list(policies)}))
        self.commit("Policies")


@dataclass
class Browser:
    """Somebody signed in, as a browser sends it; `form` posts a form of a page."""

    http: httpx.Client
    csrf: str

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers={"Accept": "text/html", "Sec-Fetch-Site": "none"} | headers)

    def form(self, path: str, /, **fields: str) -> httpx.Response:
        headers = {"Accept": "text/html", "Origin": str(self.http.base_url).rstrip("/")}
        return self.http.post(path, data={"csrf": self.csrf, **fields}, headers=headers)

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Origin": str(self.http.base_url).rstrip("/"), "X-Kemudi-CSRF": self.csrf} | headers
        return self.http.request(method, f"/api/v1{path}", json=body, headers=sent)


@dataclass
class Site:
    """The running console, its config repo and its daemon."""

    url: str
    parts: Parts
    repo: Repo
    daemon: Daemon
    stack: ExitStack

    def anonymous(self) -> httpx.Client:
        return self.stack.enter_context(httpx.Client(base_url=self.url, trust_env=False))

    def sign_in(self, person: Person = OWNER, *, owner: bool = True) -> Browser:
        """Somebody with a session; as owner with all rights, else with those of the roles file."""
        session = self.parts.sessions.begin(person, "link" if owner else "oidc")
        http = self.anonymous()
        http.cookies.set("kemudi_session", session)
        return Browser(http, csrf_token(session))

    def proposal(self) -> Proposal:
        """A proposal in dev that waits, of the owner; made when there is none."""
        caller = Caller(OWNER, EVERYTHING, "token")
        waits = self.parts.waiting.shown(caller, self.parts.board)
        if not waits:
            now = self.parts.board.environments["dev"].rows["SYNC_RETRY_ATTEMPTS"].value
            change = {"key": "SYNC_RETRY_ATTEMPTS", "value": 9 if now != 9 else 8}
            body = {"env": "dev", "changes": [change], "mode": "propose"}
            assert self.sign_in().api("POST", "/changes", body).status_code == 202
            waits = self.parts.waiting.shown(caller, self.parts.board)
        return waits[0]

    def refresh(self) -> None:
        """What the watching thread does a moment later by itself."""
        self.parts.watch.refresh()


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    import shutil

    folder = tmp_path / "config"
    shutil.copytree(example_folder(), folder)
    identity, key = generate_identity()
    _own_recipients(folder, key)
    manifest = folder / "kemudi.yaml"
    manifest.write_text(manifest.read_text().partition("policies:")[0] + "policies: []\n")
    found = Repo(folder, identity)
    found.git("init", "-q", "-b", "main")
    found.commit("Start from the example\n\nFor a test.")
    return found


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    state: dict[str, Daemon] = {}

    async def answer(request: Request) -> JSONResponse:
        mine = state["it"]
        body = await request.body()
        if mine.away:
            return JSONResponse({"detail": "away"}, 503)
        if request.url.path == "/status":
            return JSONResponse({"environments": list(mine.environments.values())})
        if request.url.path == "/log" and mine.logs:
            entries = mine.logs.get(request.query_params["env"], [])
            return JSONResponse({"environments": [{"env": request.query_params["env"], "entries": entries}]})
        if request.url.path == "/overrides" and request.method == "GET":
            return JSONResponse({"environments": []})
        mine.asked.append((request.method, str(request.url.path), body))
        if request.url.path == "/drift":
            return JSONResponse({"environments": [{"env": "dev", "drift": []}]})
        return JSONResponse({})

    methods = ["GET", "POST", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", answer, methods=methods)])
    server = HttpServer(app, listen("127.0.0.1", 0, who="the test"), name="daemon-http")
    state["it"] = Daemon(server.url)
    server.start()
    yield state["it"]
    server.close()


@pytest.fixture
def start(repo: Repo, daemon: Daemon, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Start the console; settings may be replaced."""
    with ExitStack() as stack:

        def make(**changed: Any) -> Site:
            settings = ConsoleSettings(repo.path, daemon.url, tmp_path / "state")
            parts = stack.enter_context(open_parts(replace(settings, **changed), make_log()))
            server = HttpServer(build_app(parts), listen("127.0.0.1", 0, who="the test"), name="console-http")
            stack.callback(server.close)
            stack.callback(parts.hub.close)
            server.start()
            return Site(server.url, parts, repo, daemon, stack)

        yield make


@pytest.fixture
def site(start: Callable[..., Site], repo: Repo, daemon: Daemon) -> Site:
    """The console with everything live in dev."""
    daemon.serves("dev", repo.head)
    return start()


def _own_recipients(folder: Path, key: str) -> None:
    """One recipient, and the canary sealed to it wherever the example has a password."""
    names = ["dev", "staging", "prod"]
    recipients = {
        "recipients": {
            "daemon": {"key": key, "kind": "daemon"},
            "recovery": {"key": key, "kind": "recovery"},
        },
        "environments": {name: ["daemon", "recovery"] for name in names},
    }
    (folder / "recipients.yaml").write_text(yaml.safe_dump(recipients, sort_keys=False))
    state = ConfigState.load(WorkTree(folder).scan().files.values())
    for layer in ("base", *names):
        path = folder / layer / "neo4j.yaml"
        if path.is_file() and "NEO4J_PASSWORD" in path.read_text():
            sealed = seal_setting(state, layer, "NEO4J_PASSWORD", SECRET)
            kept = [line for line in path.read_text().splitlines() if not line.startswith("NEO4J_PASSWORD")]
            path.write_text("\n".join([*kept, f"NEO4J_PASSWORD: {sealed}"]) + "\n")
