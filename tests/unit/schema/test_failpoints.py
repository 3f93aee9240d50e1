"""Failpoints: nothing without the variable, exactly one step with it."""

import os
import signal
import subprocess
import sys

import pytest

from kemudi.schema.failpoints import FailpointHitError, armed, failpoint

SCRIPT = """
from kemudi.schema.failpoints import failpoint
for name in ("one", "two", "two", "three"):
    failpoint(name)
    print(name, flush=True)
"""


def run(value: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "KEMUDI_FAILPOINT": value},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_unarmed() -> None:
    """Without the variable every point is passed."""
    failpoint("one")
    assert run("").stdout.split() == ["one", "two", "two", "three"]


def test_kill() -> None:
    """By default the process is killed at the named point."""
    done = run("two")
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["one"]


def test_hit_number() -> None:
    """The N-th hit counts."""
    assert run("two:kill@2").stdout.split() == ["one", "two"]
    assert run("two@3").returncode == 0


def test_raise() -> None:
    """A point can fail instead, once."""
    point = armed("two:raise")
    point("one")
    with pytest.raises(FailpointHitError, match="two"):
        point("two")
    point("two")


def test_stop() -> None:
    """A point can stop the process, which goes on when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "KEMUDI_FAILPOINT": "two:stop"},
        stdout=subprocess.PIPE,
        text=True,
    )
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=30)[0].split() == ["one", "two", "two", "three"]


@pytest.mark.parametrize("text", ["two:explode", "two@0", "two@", ":kill", "two:kill@x", "Two"])
def test_malformed(text: str) -> None:
    """A malformed value is an error, so that no crash test passes by not crashing."""
    with pytest.raises(ValueError, match="KEMUDI_FAILPOINT"):
        armed(text)
