"""Reading ahead: what was expected is there, anything else is read when it is asked for."""

import subprocess
import sys
import threading

import pytest

from kemudi.graph.sync.ahead import Ahead

HANGING = """
import threading
from kemudi.graph.sync.ahead import Ahead
ahead = Ahead(lambda key: threading.Event().wait(), "reads")
ahead.expect(1)
"""


def test_what_was_expected_is_read_once_and_in_another_thread() -> None:
    """And what was not, when it is taken."""
    read: list[tuple[int, str]] = []

    def double(key: int) -> int:
        read.append((key, threading.current_thread().name))
        return 2 * key

    with Ahead(double, "reads") as ahead:
        assert ahead.take(1) == 2
        ahead.expect(2)
        assert ahead.take(2) == 4
        assert ahead.take(2) == 4
        ahead.expect(3)
        assert ahead.take(4) == 8
    here = threading.current_thread().name
    assert read == [(1, here), (2, "reads"), (2, here), (3, "reads"), (4, here)]


def test_a_failure_ahead_is_tried_again_and_told_then() -> None:
    """One that has passed is not told at all."""
    failures = [OSError("the first"), OSError("the second"), OSError("the third")]

    def read(key: int) -> int:
        if failures:
            raise failures.pop(0)
        return key

    with Ahead(read, "reads") as ahead:
        ahead.expect(1)
        with pytest.raises(OSError, match="the second"):
            ahead.take(1)
        ahead.expect(2)
        assert ahead.take(2) == 2


def test_the_end_waits_for_what_is_being_read() -> None:
    """Nobody reads from a source that is closed after it."""
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def read(_key: int) -> None:
        begun.set()
        go_on.wait(10)
        done.set()

    with Ahead(read, "reads") as ahead:
        ahead.expect(1)
        assert begun.wait(10)
        threading.Timer(0.01, go_on.set).start()
    assert done.is_set()


def test_a_source_that_hangs_does_not_keep_the_process() -> None:
    """It ends with the main thread."""
    assert subprocess.run([sys.executable, "-c", HANGING], timeout=60, check=False).returncode == 0
