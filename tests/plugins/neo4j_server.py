"""A real Neo4j for tests marked `neo4j`, without containers: its jars from Maven Central, one server per session.

The jars are kept in `$KEMUDI_TEST_CACHE`, else in `~/.cache/kemudi`.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import neo4j
import pytest
from neo4j.exceptions import DriverError, Neo4jError

VERSION = "5.26.30"
START_SECONDS = 110

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kemudi.tests</groupId><artifactId>neo4j</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j-bolt</artifactId><version>{VERSION}</version></dependency>
  </dependencies>
</project>
"""


def jars_folder() -> Path:
    """Where the jars are, or will be."""
    base = os.environ.get("KEMUDI_TEST_CACHE")
    return (Path(base) if base else Path.home() / ".cache" / "kemudi") / f"neo4j-{VERSION}"


@cache
def missing() -> str | None:
    """What this machine lacks, None when it can run the server."""
    if shutil.which("java") is None:
        return "needs Java 17 (a JDK)"
    found = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', found)
    if version is None or int(version[1]) < 17:
        return "needs Java 17 or newer"
    modules = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=False).stdout
    if "jdk.compiler@" not in modules:
        return "needs a JDK: this Java has no compiler"
    if not jars_folder().is_dir() and shutil.which("mvn") is None:
        return "needs Maven, to fetch the server's jars once"
    return None


@cache  # a test cannot see the variable that names the cache
def jars() -> Path:
    """The folder of the jars, fetched on first use. Written beside and renamed, so that it is whole or absent."""
    folder = jars_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes must not fetch at once
        if not folder.is_dir():
            beside = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            (beside / "pom.xml").write_text(POM)
            argv = ["mvn", "-q", "-B", "-ntp", "dependency:copy-dependencies", f"-DoutputDirectory={beside}"]
            fetched = subprocess.run(
                argv, cwd=beside, capture_output=True, text=True, timeout=600, check=False
            )
            assert fetched.returncode == 0, f"Maven could not fetch Neo4j: {fetched.stdout[-2000:]}"
            beside.rename(folder)
    return folder


@dataclass
class Neo4jServer:
    """One private server on loopback, its data in a folder of the test run."""

    folder: Path
    port: int
    password: str
    process: "subprocess.Popen[bytes] | None" = None
    _has_password: bool = False

    user = "neo4j"

    @property
    def uri(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it on what its folder holds and wait until it accepts the password. Raises TimeoutError."""
        source = Path(__file__).with_name("Neo4jServer.java")
        log = (self.folder / "server.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                ["java", "-Xmx1g", "-cp", f"{jars()}/*", str(source), str(self.folder), str(self.port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(Neo4jError, DriverError):
                self._log_in()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"Neo4j did not start: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL, as a crash: `start` finds what was committed."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process = None

    def restart(self) -> None:
        """Kill it and start it again, with its data."""
        self.kill()
        self.start()

    def run(self, text: str, **parameters: Any) -> list[dict[str, Any]]:
        """One statement, on its own connection."""
        with self.driver() as driver, driver.session() as session:
            return [record.data() for record in session.run(text, parameters)]  # type: ignore[arg-type]  # literal

    def driver(self) -> neo4j.Driver:
        return neo4j.GraphDatabase.driver(self.uri, auth=(self.user, self.password))

    def _log_in(self) -> None:
        """Log in; a server that is new asks for another password first."""
        if not self._has_password:
            first = neo4j.GraphDatabase.driver(self.uri, auth=(self.user, "neo4j"), connection_timeout=2)
            with first, first.session(database="system") as session:
                session.run(
                    "ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $new", new=self.password
                ).consume()
            self._has_password = True
        self.run("RETURN 1")


@pytest.fixture(scope="session")
def neo4j_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """The one server of this test process."""
    lack = missing()
    assert lack is None, f"the Neo4j tests cannot run: {lack}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = Neo4jServer(tmp_path_factory.mktemp("neo4j"), port, secrets.token_hex(8))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def neo4j_server(neo4j_session: Neo4jServer) -> Neo4jServer:
    """A running, empty server; constraints may be there. A test that kills it may leave it so."""
    if neo4j_session.process is None or neo4j_session.process.poll() is not None:
        neo4j_session.start()
    neo4j_session.run("MATCH (n) DETACH DELETE n")
    return neo4j_session


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what is marked `neo4j` in one worker: it shares the one server."""
    for item in items:
        if item.get_closest_marker("neo4j") is not None:
            item.add_marker(pytest.mark.xdist_group("neo4j"))


def pytest_report_header() -> str:
    """Say which Neo4j the run uses."""
    return f"neo4j: {missing() or f'{VERSION}, in process, from {jars_folder()}'}"
