"""A real PostgreSQL for tests marked `postgresql`: one private server per session, reached over a Unix socket.

PostgreSQL refuses to run as root, so a root's tests run it as the user `postgres`, whom its package makes.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

START_SECONDS = 60
CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{socket}'
fsync = off
synchronous_commit = on
full_page_writes = off
shared_buffers = 32MB
max_connections = 40
"""


def program(name: str) -> str | None:
    """A program of PostgreSQL: on PATH, else the newest that Debian keeps beside it."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    return shutil.which(name) or (str(beside[-1]) if beside else None)


def user() -> str:
    """Who the server runs as."""
    return "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _command(name: str, *arguments: str) -> list[str]:
    found = program(name)
    assert found is not None, f"{name} of PostgreSQL is missing (Debian: postgresql)"
    if os.geteuid() != 0:
        return [found, *arguments]
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--inh-caps=-all"]
    return [*drop, found, *arguments]


@dataclass
class PostgresqlServer:
    """One server with its data in a folder of its own, short enough for the name of a socket."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    made: list[str] = field(default_factory=list)

    def initialise(self) -> None:
        """Make its data folder, with ICU's order of text: unlike the graph's, as a university's database may be."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run(
            _command(
                "initdb",
                f"--pgdata={self.folder / 'data'}",
                f"--username={user()}",
                "--auth=trust",  # the folder, and so the socket, is its owner's alone
                "--encoding=UTF8",
                "--locale-provider=icu",
                "--icu-locale=en-US",
                "--locale=C.UTF-8",
                "--no-sync",
            )
        )
        text = CONFIGURATION.format(socket=self.folder)
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(text)

    def start(self) -> None:
        """Start it and wait until it answers. Raises TimeoutError."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                _command("postgres", "-D", str(self.folder / "data")), stdout=log, stderr=log, cwd="/"
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self.run("SELECT 1")
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise TimeoutError(
                    f"PostgreSQL did not start: {(self.folder / 'server.log').read_text()[-2000:]}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """Immediate shutdown, as a crash: every connection breaks, and `start` recovers what was committed."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)
        self.process = None

    def run(self, text: str, *values: object, database: str = "postgres") -> None:
        """One statement, on a connection of its own."""
        with psycopg.connect(self._address(database), autocommit=True) as connection:
            connection.execute(text, values)  # type: ignore[arg-type]  # a literal

    def new_database(self) -> str:
        """An empty database; its SQLAlchemy address."""
        name = f"registry_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name}")
        self.made.append(name)
        return f"postgresql+psycopg://{user()}@/{name}?host={self.folder}"

    def drop_databases(self) -> None:
        """Those that were made."""
        for name in self.made:
            self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.made.clear()

    def _address(self, database: str) -> str:
        return f"host={self.folder} user={user()} dbname={database} connect_timeout=5"

    @staticmethod
    def _run(argv: list[str]) -> None:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd="/")
        assert done.returncode == 0, f"{argv[0]} failed: {done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def postgresql_session() -> Iterator[PostgresqlServer]:
    """The one server of this test process. Its folder is not pytest's own: nobody else may enter that one."""
    folder = Path(tempfile.mkdtemp(prefix="kemudi-pg-"))
    server = PostgresqlServer(folder)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_server(postgresql_session: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A running server; a test that stops it may leave it so. The databases of a test go with it."""
    if postgresql_session.process is None or postgresql_session.process.poll() is not None:
        postgresql_session.start()
    yield postgresql_session
    if postgresql_session.process is None:
        postgresql_session.start()
    postgresql_session.drop_databases()
