"""The parts of `kemudi up`: its folder, its ports, its processes."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from kemudi.cli.up.layout import claim, write_private
from kemudi.cli.up.network import fetch, free_port
from kemudi.cli.up.processes import Child, Supervisor
from kemudi.cli.up.redis_server import answers, server_binary, write_configuration
from kemudi.schema.errors import ConflictError, UnavailableError, UsageError


def test_a_folder_with_other_content_is_left_alone(tmp_path):
    """Only a folder that `up` made, or an empty one, is taken."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="content"):
        claim(tmp_path, fresh=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_is_claimed_once(tmp_path):
    """A second `up` in the same folder is refused; after the first has ended it is not."""
    _, lock = claim(tmp_path / "up", fresh=False)
    with pytest.raises(ConflictError, match="another kemudi up"):
        claim(tmp_path / "up", fresh=False)
    os.close(lock)
    _, again = claim(tmp_path / "up", fresh=False)
    os.close(again)


def test_fresh_empties_what_up_made(tmp_path):
    """Everything in a folder of ours goes, links are not followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    layout, lock = claim(tmp_path / "up", fresh=False)
    (layout.state / "old").write_text("old")
    (layout.root / "link").symlink_to(outside)
    os.close(lock)
    layout, lock = claim(tmp_path / "up", fresh=True)
    os.close(lock)
    assert list(layout.state.iterdir()) == []
    assert (outside / "kept").exists()


def test_private_files_are_private_from_the_first_byte(tmp_path):
    """Mode 0600 whatever the umask, replaced whole."""
    path = tmp_path / "endpoints.json"
    before = os.umask(0)
    try:
        write_private(path, "one")
        write_private(path, "two")
    finally:
        os.umask(before)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_busy_port_is_replaced_by_the_next_free_one():
    """And one that another part will take is passed over, too."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        found = free_port(port)
        assert found > port
        assert free_port(port, taken={found}) > found


def test_nothing_at_an_address_is_an_answer_of_its_own():
    """No exception: what is asked in a loop says that nobody is there yet."""
    assert fetch("http://127.0.0.1:9/readyz", timeout=1) == (0, None)


def child(tmp_path, name, code):
    return Child(name, [sys.executable, "-c", code], dict(os.environ), tmp_path / f"{name}.log")


def test_a_child_that_ends_while_starting_is_told_with_its_log(tmp_path):
    """The error holds the end of what it printed."""
    supervisor = Supervisor(lambda _text: None)
    with pytest.raises(UnavailableError, match="no such luck"):
        supervisor.start(child(tmp_path, "broken", "print('no such luck')"), lambda: False, 10)


def test_a_child_that_dies_is_started_again(tmp_path, until):
    """The supervisor says so, and it runs anew."""
    said = []
    supervisor = Supervisor(said.append)
    part = child(tmp_path, "part", "import time; time.sleep(60)")
    supervisor.start(part, lambda: part.running, 10)
    first = part.process.pid
    part.process.kill()
    part.process.wait()
    until(lambda: (supervisor.watch(), part.running)[1], "the second start")
    assert part.process.pid != first
    assert said == ["part ended and is started again"]
    supervisor.stop()
    assert not part.running


def test_a_child_that_dies_again_and_again_ends_the_whole(tmp_path, until):
    """No endless restarts: the error names it and shows its log."""
    supervisor = Supervisor(lambda _text: None)
    part = child(tmp_path, "part", "print('broken for good')")
    part.start()
    supervisor._children.append(part)
    part.starts.extend([time.monotonic()] * 5)
    part.process.wait()
    with pytest.raises(UnavailableError, match="broken for good"):
        supervisor.watch()


def test_children_end_when_their_parent_is_killed(tmp_path, until):
    """kill -9 of the supervisor leaves no orphan."""
    script = (
        "import os, sys, time; from pathlib import Path; from kemudi.cli.up.processes import Child;"
        "c = Child('c', [sys.executable, '-c', 'import time; time.sleep(60)'], dict(os.environ), Path(sys.argv[1]));"
        "c.start(); print(c.process.pid, flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, "the child's end")


def test_the_private_redis_wants_its_password(tmp_path, until):
    """It answers the address with the password, which stands in no argument; without it nothing is told."""
    port = free_port(21000 + os.getpid() % 5000)
    path, url = write_configuration(tmp_path, port)
    assert path.stat().st_mode & 0o777 == 0o600
    redis = Child("redis", [server_binary(), str(path)], dict(os.environ), tmp_path / "log")
    redis.start()
    try:
        until(lambda: answers(url), "an answer")
        assert not answers(f"redis://127.0.0.1:{port}/0")
        password = url.split(":")[2].split("@")[0]
        assert all(password not in part for part in psutil.Process(redis.process.pid).cmdline())
    finally:
        redis.stop()
