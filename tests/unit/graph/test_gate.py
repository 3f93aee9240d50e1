"""Between two batches: pauses, the time limit and fresh settings, on a clock of the test's own."""

import threading
from collections.abc import Callable

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.sync.gate import Gate, StoppedError
from kemudi.graph.sync.status import StatusBoard


class Clock:
    """Moves when told, and a little at each look while something waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def config() -> InMemoryClient:
    return InMemoryClient({"SYNC_TIMEOUT": 10}, contracts=CONTRACTS)


@pytest.fixture
def gate_of(config: InMemoryClient, clock: Clock) -> Callable[..., Gate]:
    def make(board: StatusBoard | None = None, ending: threading.Event | None = None) -> Gate:
        return Gate(config, board or StatusBoard(), ending or threading.Event(), clock)

    return make


class Resuming(threading.Event):
    """Looks like the end of the process, and resumes the sync after so many looks of a second each."""

    def __init__(self, config: InMemoryClient, clock: Clock, looks: int) -> None:
        super().__init__()
        self._config, self._clock, self._looks = config, clock, looks

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002  # the event's
        self._clock.now += 1
        self._looks -= 1
        if self._looks == 0:
            self._config.publish(SYNC_PAUSED=False)
        return False


def test_a_pause_does_not_count_toward_the_time_limit(gate_of, config, clock) -> None:
    """A hundred seconds of pause in a run that may take ten; then it has ten again, less what it worked."""
    board = StatusBoard()
    gate = gate_of(board, Resuming(config, clock, 100))
    clock.now = 4
    config.publish(SYNC_PAUSED=True)
    assert gate.pass_through() == 1000
    assert gate.active_seconds == 4
    assert board.current.state == "running"
    clock.now += 5.9
    gate.pass_through()
    clock.now += 0.2
    with pytest.raises(StoppedError, match="SYNC_TIMEOUT of 10 s"):
        gate.pass_through()


def test_a_raised_time_limit_holds_at_once(gate_of, config, clock) -> None:
    """The limit is read at each batch."""
    gate = gate_of()
    clock.now = 11
    with pytest.raises(StoppedError):
        gate.pass_through()
    config.publish(SYNC_TIMEOUT=12)
    gate.pass_through()


def test_size_and_revision_are_of_one_moment(gate_of, config) -> None:
    """What the status names is what the batch obeys."""
    board = StatusBoard()
    gate = gate_of(board)
    config.publish({"SYNC_BATCH_SIZE": 7}, revision="a" * 40)
    assert gate.pass_through() == 7
    status = board.current
    assert (status.batch_size, status.revision, status.generation) == (7, "a" * 40, config.generation)


def test_the_end_of_the_process_ends_a_pause(gate_of, config) -> None:
    """Nobody has to resume a sync to stop it."""
    ending = threading.Event()
    gate = gate_of(ending=ending)
    config.publish(SYNC_PAUSED=True)
    ending.set()
    with pytest.raises(StoppedError, match="the process ends"):
        gate.pass_through()


def test_an_abandoned_run_stops_its_other_ranges(gate_of) -> None:
    """And says that it was not for them."""
    gate = gate_of()
    gate.abandon()
    with pytest.raises(StoppedError, match="another range"):
        gate.pass_through()


def test_a_status_says_how_long_a_run_will_take() -> None:
    """Rows left over the rate so far, while a run is under way and has a rate."""
    board = StatusBoard()
    assert board.current.as_json()["seconds_left"] is None
    board.begin("rows")
    board.update(rows_total=1_000)
    assert board.current.as_json()["seconds_left"] is None
    board.add_rows(250, 250, 5.0)
    assert (board.current.rate, board.current.as_json()["seconds_left"]) == (50.0, 15)
    assert board.update(state="done").as_json()["seconds_left"] is None
