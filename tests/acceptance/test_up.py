"""One command starts everything, and one Ctrl-C leaves nothing behind."""

import json
import signal

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(180)]


def test_ctrl_c_leaves_no_process_and_no_file_outside_its_folder(tmp_path, start_up):
    """Everything answers; after SIGINT the exit code is 0, all children are gone and only the folder was written."""
    with start_up(tmp_path / "work") as up:
        assert up.get("/readyz")[0] == 200
        assert up.get("/status", base="daemon")[0] == 200
        children = psutil.Process(up.process.pid).children(recursive=True)
        assert len(children) >= 3
        written = json.loads((up.folder / ".kemudi" / "up" / "endpoints.json").read_text())
        assert written == up.endpoints
        assert (up.folder / ".kemudi" / "up" / "endpoints.json").stat().st_mode & 0o777 == 0o600
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(20) == 0
        assert psutil.wait_procs(children, timeout=10)[1] == []
    assert not (up.folder / ".kemudi" / "up" / "endpoints.json").exists()
    assert {path.name for path in up.folder.iterdir()} == {".kemudi", "up.log"}


def test_a_second_run_keeps_what_the_author_did(tmp_path, start_up, until):
    """Settings, history and graph are there again after a restart."""
    with start_up(tmp_path) as up:
        revision = up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=2)
        until(lambda: up.get("/students")[1]["revision"] == revision, "the revision")
    with start_up(tmp_path) as up:
        nim = up.endpoints["sample_nim"]
        answer = up.get(f"/students/{nim}/classmates")[1]
        assert len(answer["items"]) == 2
        assert answer["revision"] == revision


def part(up, name):
    """One of its processes."""
    children = psutil.Process(up.process.pid).children()
    (found,) = [child for child in children if name in child.cmdline()]
    return found


def test_a_killed_part_is_started_again(tmp_path, start_up, until):
    """kill -9 of the daemon: the next commit goes live. A service that ends comes back with what waited for that."""
    with start_up(tmp_path) as up, httpx.Client(base_url=up.endpoints["console"]) as console:
        part(up, "daemon").kill()
        revision = up.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=2)
        until(lambda: up.get("/students")[1]["revision"] == revision, "the revision", timeout=30)
        assert console.get(up.endpoints["console_login"]).is_success

        def keeps_the_old():
            said = console.get("/api/v1/environments/dev/settings/NEO4J_ENABLE_SYNC").json()
            assert said["requires_restart"] is True
            return said["restart_pending"]

        revision = up.change("dev", "neo4j", NEO4J_ENABLE_SYNC=False)
        until(lambda: up.get("/students")[1]["revision"] == revision, "the revision", timeout=30)
        until(lambda: keeps_the_old() == ["graph"], "the mark in the console", timeout=30)
        part(up, "graph").terminate()
        until(lambda: keeps_the_old() == [], "the console without the mark", timeout=60)
