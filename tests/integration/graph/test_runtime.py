"""The services as processes: settings from a real Redis steer them, signals end them, nothing is left behind."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.schema.secret import Secret

SERVE = """
import os, sys
from pathlib import Path
from kemudi.graph.runtime import serve

file, dsn, port = sys.argv[1:]
sys.exit(serve(ladybug=Path(file) if file else None, registry_dsn=dsn or None, host="127.0.0.1", port=int(port)))
"""
ONCE = """
import json, sys
from kemudi.graph.runtime import run_sync_once

seen = []
status = run_sync_once(sys.argv[1], lambda status: seen.append(status["state"]))
print(json.dumps(status | {"seen": len(seen)}))
"""


class Service:
    """A running graph service."""

    def __init__(self, settings: Any, file: str, dsn: str, **env: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, file, dsn, str(port)],
            env=settings.environment(**env),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)

    def get(self, address: str) -> tuple[int, Any]:
        """Status and body; 0 while nothing listens."""
        try:
            answer = self._http.get(address)
        except httpx.TransportError:
            assert self.process.poll() is None, self.log()
            return 0, None
        return answer.status_code, answer.json()

    def post(self, address: str) -> tuple[int, Any]:
        answer = self._http.post(address)
        return answer.status_code, answer.json()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Exit code, and how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(20), time.monotonic() - began

    def log(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def close(self) -> None:
        self._http.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def started(settings: Any) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def start(file: str, dsn: str, **env: str) -> Service:
        services.append(Service(settings, file, dsn, **env))
        return services[-1]

    yield start
    for service in services:
        service.close()


def synced(service: Service) -> bool:
    code, status = service.get("/sync/status")
    return code == 200 and status["state"] == "done"


def test_settings_steer_both_services_while_they_run(
    started: Any, settings: Any, source: Any, place: Any, until: Any
) -> None:
    """Limit, kill switch and pause are obeyed without a restart; a change of the registry arrives by itself."""
    rows = source(1_000)
    if place.kind == "neo4j":
        settings.publish(NEO4J_URI=place.where, NEO4J_PASSWORD=Secret(place.password))
    service = started(place.where if place.kind == "ladybug" else "", rows.dsn)
    until(lambda: service.get("/readyz")[0] == 200, 60)
    until(lambda: synced(service), 60)
    first = service.get("/sync/status")[1]
    assert (first["rows_done"], first["error"]) == (1_000, None)
    assert service.get("/sync/verify")[1]["equal"]
    nim = service.get("/students?limit=1")[1]["items"][0]["nim"]
    revision = settings.publish(GRAPH_CLASSMATES_LIMIT=3)
    until(lambda: service.get(f"/students/{nim}/classmates")[1]["revision"] == revision)
    assert len(service.get(f"/students/{nim}/classmates")[1]["items"]) == 3
    settings.publish(GRAPH_FEATURE_ENABLED=False)
    until(lambda: service.get(f"/students/{nim}/classmates")[0] == 503)
    settings.publish(GRAPH_FEATURE_ENABLED=True)
    until(lambda: service.get(f"/students/{nim}/classmates")[0] == 200)
    paused = settings.publish(SYNC_PAUSED=True)
    until(lambda: service.get(f"/students/{nim}/classmates")[1]["revision"] == paused)
    rows.enrol("99999", "NEW1")
    assert service.post("/sync/run")[0] == 202
    until(lambda: service.get("/sync/status")[1]["state"] == "paused")
    assert service.get("/students/99999")[0] == 404
    settings.publish(SYNC_PAUSED=False)
    until(lambda: service.get("/students/99999")[0] == 200)
    code, status = service.post("/sync/run")
    assert code == 202
    assert status["run"] > first["run"]
    until(lambda: synced(service), 60)
    assert b"kemudi_sync_last_success" in service._http.get("/metrics").content
    code, seconds = service.end()
    assert code == 0
    assert seconds < 15  # a fraction of a second on a machine that has nothing else to do
    assert {json.loads(line)["level"] for line in service.log().splitlines()} == {"info"}
    if place.kind == "ladybug":
        LadybugStore(Path(place.where)).close()  # nobody holds the file any more


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_batch_ends_the_process_soon(
    started: Any, settings: Any, source: Any, tmp_path: Path, until: Any, number: int
) -> None:
    """Even one batch of many rows is rolled back rather than waited for, and the next process begins it again."""
    rows, file = source(60_000), str(tmp_path / "graph.lbdb")
    settings.publish(SYNC_BATCH_SIZE=60_000)
    service = started(file, rows.dsn)
    until(lambda: service.get("/readyz")[0] == 200, 60)
    until(lambda: service.get("/sync/status")[1]["batch_size"] == 60_000, 60)
    code, seconds = service.end(number)
    assert code == 0
    assert seconds < 18  # a seventh of that on a machine that has nothing else to do
    settings.publish(SYNC_BATCH_SIZE=5_000)
    again = started(file, rows.dsn)
    until(lambda: again.get("/sync/status")[1] and synced(again), 90)
    assert again.get("/sync/verify")[1]["equal"]


def test_the_cache_in_redis_is_shared_and_may_go(
    started: Any, settings: Any, source: Any, tmp_path: Path, until: Any, own_redis: Any
) -> None:
    """With a Redis of its own: answers are kept there, and its end fails no request."""
    service = started(str(tmp_path / "graph.lbdb"), source(300).dsn, KEMUDI_GRAPH_REDIS_URL=own_redis.url)
    until(lambda: service.get("/readyz")[0] == 200 and synced(service), 60)
    nim = service.get("/students?limit=1")[1]["items"][0]["nim"]
    assert service.get(f"/students/{nim}/classmates")[0] == 200
    import redis

    with redis.Redis.from_url(own_redis.url) as client:
        kinds = {key.split(b":")[2] for key in client.keys("kemudi-graph:dev:*")}
        assert kinds == {b"cache", b"rate"}
    own_redis.stop()
    assert service.get(f"/students/{nim}/classmates")[0] == 200
    assert service.end()[0] == 0


def test_a_taken_port_and_a_taken_file_are_named(
    started: Any, settings: Any, source: Any, tmp_path: Path, until: Any
) -> None:
    """The second process ends and says why."""
    file = str(tmp_path / "graph.lbdb")
    first = started(file, source(100).dsn)
    until(lambda: first.get("/readyz")[0] == 200, 60)
    second = started(file, "")
    assert second.process.wait(60) != 0
    assert "cannot be opened" in second.log()


@pytest.mark.neo4j
def test_a_new_address_is_tried_before_it_is_accepted(
    started: Any, settings: Any, neo4j_server: Any, until: Any
) -> None:
    """A NEO4J_URI where nothing answers is refused with its reason, and the old settings stay."""
    good = settings.publish(
        NEO4J_URI=neo4j_server.uri, NEO4J_PASSWORD=Secret(neo4j_server.password), CACHE_TTL=6
    )
    service = started("", "")
    until(lambda: service.get("/readyz")[0] == 200, 60)
    until(lambda: [ack.revision for ack in settings.acknowledgements()] == [good])
    settings.publish(NEO4J_URI="bolt://127.0.0.1:1")
    refused = until(lambda: [ack for ack in settings.acknowledgements() if ack.state == "refused"])
    assert "bolt://127.0.0.1:1" in refused[0].reason
    assert "does not answer" in refused[0].reason
    assert neo4j_server.password not in refused[0].reason
    assert service.get("/students")[1]["revision"] == good
    settings.publish(NEO4J_URI=neo4j_server.uri, NEO4J_PASSWORD=Secret("not the password"))
    until(lambda: "refuses this user or password" in settings.acknowledgements()[0].reason)
    assert service.get("/students")[1]["revision"] == good
    assert service.end()[0] == 0


@pytest.mark.neo4j
def test_an_accepted_address_holds_after_a_restart_and_is_reported_until_then(
    started: Any, settings: Any, neo4j_server: Any, until: Any
) -> None:
    """`neo4j://` instead of `bolt://`: pending while the process runs on, served by the next one, which routes."""
    settings.publish(NEO4J_URI=neo4j_server.uri, NEO4J_PASSWORD=Secret(neo4j_server.password))
    service = started("", "")
    until(lambda: service.get("/readyz")[0] == 200, 60)
    routing = settings.publish(NEO4J_URI=neo4j_server.uri.replace("bolt://", "neo4j://"))
    until(lambda: [ack.revision for ack in settings.acknowledgements()] == [routing], 30)
    assert settings.acknowledgements()[0].restart_pending == ("NEO4J_URI",)
    assert service.get("/students")[1]["revision"] == routing
    assert service.end()[0] == 0
    again = started("", "")
    until(lambda: again.get("/readyz")[0] == 200, 60)
    until(lambda: [ack.restart_pending for ack in settings.acknowledgements()] == [()], 30)
    assert again.get("/students")[1]["items"] == []
    assert again.end()[0] == 0


@pytest.mark.neo4j
def test_the_service_starts_before_neo4j_does(
    started: Any, settings: Any, neo4j_server: Any, source: Any, until: Any
) -> None:
    """Not ready, with a reason, and answering 503; then the sync runs and it is ready, without a restart."""
    settings.publish(NEO4J_URI=neo4j_server.uri, NEO4J_PASSWORD=Secret(neo4j_server.password))
    neo4j_server.kill()
    service = started("", source(200).dsn)
    code, body = until(lambda: (found := service.get("/readyz"))[0] and found, 60)
    assert code == 503
    assert "does not answer" in body["reason"] or "prepared" in body["reason"]
    assert service.get("/students")[0] == 503
    neo4j_server.start()
    until(lambda: service.get("/readyz")[0] == 200 and synced(service), 90)
    assert service.get("/sync/verify")[1]["equal"]
    assert service.end()[0] == 0


@pytest.mark.neo4j
def test_one_sync_in_a_process_of_its_own(settings: Any, neo4j_server: Any, source: Any) -> None:
    """`run_sync_once`: progress while it runs, the last status at the end."""
    settings.publish(
        NEO4J_URI=neo4j_server.uri, NEO4J_PASSWORD=Secret(neo4j_server.password), SYNC_PARALLELISM=2
    )
    done = subprocess.run(
        [sys.executable, "-c", ONCE, source(3_000).dsn],
        env=settings.environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert (status["state"], status["rows_done"]) == ("done", 3_000)
    assert status["seen"] >= 1


@pytest.mark.neo4j
def test_the_command_line_reads_a_registry_with_names_of_its_own(
    settings: Any, neo4j_server: Any, source: Any, tmp_path: Path
) -> None:
    """`sync run` and `sync verify` with --mapping, here and into Neo4j; a mapping that is none is refused by line."""
    settings.publish(NEO4J_URI=neo4j_server.uri, NEO4J_PASSWORD=Secret(neo4j_server.password))
    registry = source(300)
    with registry.registry.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE riwayat_pendidikan RENAME TO enrolment")
        connection.exec_driver_sql("ALTER TABLE enrolment RENAME nim TO student")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("riwayat_pendidikan:\n  table: enrolment\n  nim: student\n")

    def sync(command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "kemudi.cli", "sync", command, "--registry", registry.dsn, *arguments],
            env=settings.environment(),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    ran = sync("run", "--mapping", str(mapping), "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["rows_done"] == 300
    compared = sync("verify", "--mapping", str(mapping))
    assert (compared.returncode, compared.stdout.startswith("equal: ")) == (0, True)
    with registry.registry.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM enrolment WHERE id = 1")
    assert sync("verify", "--mapping", str(mapping)).returncode == 1
    unmapped = sync("verify")
    assert unmapped.returncode != 0
    assert "riwayat_pendidikan" in unmapped.stderr
    mapping.write_text("riwayat_pendidikan:\n  table: 'enrolment; DROP TABLE kelas'\n")
    refused = sync("run", "--mapping", str(mapping))
    assert (refused.returncode, "is not mapped to a name" in refused.stderr) == (2, True)
    mapping.write_text("riwayat_pendidikan:\n  table: a\n  table: b\n")
    twice = sync("run", "--mapping", str(mapping))
    assert (twice.returncode, f"{mapping}:3" in twice.stderr) == (1, True)


@pytest.mark.neo4j
@pytest.mark.timeout(240)
def test_a_second_sync_run_names_the_first_and_ends(
    settings: Any, neo4j_server: Any, source: Any, until: Callable[..., Any]
) -> None:
    """`sync run` in two processes: the second exits with 4 while the first lives, which goes on to its end."""
    settings.publish(
        NEO4J_URI=neo4j_server.uri, NEO4J_PASSWORD=Secret(neo4j_server.password), SYNC_PAUSED=True
    )
    argv = [sys.executable, "-m", "kemudi.cli", "sync", "run", "--registry", source(300).dsn]
    env = settings.environment()

    def holder() -> str:
        return str(neo4j_server.run("MATCH (l:SyncLease) RETURN l.holder AS holder"))

    first = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: f"/{first.pid}/" in holder(), 60)
        second = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)
        assert second.returncode == 4
        assert f"another sync runs on this graph: process {first.pid} on" in " ".join(second.stderr.split())
        settings.publish(SYNC_PAUSED=False)
        out, _ = first.communicate(timeout=90)
    finally:
        first.kill()
    assert first.returncode == 0
    assert "done: 300 rows" in out
