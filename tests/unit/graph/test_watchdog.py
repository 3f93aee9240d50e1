"""Calls that are not over in time are acted on, and the others are left alone."""

import threading

from kemudi.graph.stores.watchdog import Watchdog


def test_only_calls_that_are_late_are_acted_on() -> None:
    """Once each, while they still wait; also after a time without any call."""
    dog, late = Watchdog("test"), threading.Event()
    early: list[str] = []
    for _turn in range(2):
        late.clear()
        with dog.watch(60, lambda: early.append("never")), dog.watch(0.01, late.set):
            assert late.wait(10)
        late.clear()
        with dog.watch(60, late.set):
            pass
        assert not late.is_set()
    assert early == []
    dog.close()


def test_one_that_takes_its_time_does_not_hold_up_the_others() -> None:
    """What is done about one call may hang; the next call is acted on all the same."""
    dog, release, acted = Watchdog("test"), threading.Event(), threading.Event()
    with dog.watch(0, lambda: release.wait(30) and None), dog.watch(0.3, acted.set):
        assert acted.wait(10)
    release.set()
    dog.close()


def test_its_thread_ends() -> None:
    """Whether it had work or not."""
    for used in (True, False):
        dog = Watchdog("test-ending")
        if used:
            with dog.watch(5, print):
                pass
        dog.close()
        if dog._thread is not None:
            dog._thread.join(10)
            assert not dog._thread.is_alive()
