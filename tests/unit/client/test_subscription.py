"""Telling code what changed."""

import asyncio
import itertools
import logging
import threading

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.schema.secret import Secret


def test_changes_come_with_old_and_new(bench):
    """A change says key, old and new value, revision and generation; what came or went has None on one side."""
    config = bench.start({"sync": {"A": 1, "B": 1, "SAME": [1]}})
    seen = []
    config.subscribe("*", seen.append)
    bench.offer({"sync": {"A": 2, "C": 3, "SAME": [1]}})
    assert [(one.key, one.old, one.new) for one in seen] == [("A", 1, 2), ("B", 1, None), ("C", None, 3)]
    assert {(one.revision, one.generation, one.category) for one in seen} == {
        (config.revision, "0.2.0", "sync")
    }


def test_only_matching_names_are_told(bench):
    """The pattern is a glob over names, and case counts."""
    config = bench.start({"sync": {"SYNC_A": 1, "GRAPH_A": 1}})
    seen = []
    config.subscribe("SYNC_*", lambda change: seen.append(change.key))
    config.subscribe("sync_*", lambda _change: seen.append("never"))
    bench.offer({"sync": {"SYNC_A": 2, "GRAPH_A": 2}})
    assert seen == ["SYNC_A"]


def test_a_value_of_another_type_is_a_change(bench):
    """1, 1.0 and true are different values."""
    config = bench.start({"sync": {"A": 1, "B": [1]}})
    seen = []
    config.subscribe("*", lambda change: seen.append((change.key, change.new)))
    bench.offer({"sync": {"A": True, "B": [1.0]}})
    assert seen == [("A", True), ("B", [1.0])]
    assert type(seen[1][1][0]) is float


def test_a_secret_sealed_anew_is_no_change(bench):
    """A secret is told of when its plaintext changed, and as a Secret."""
    config = bench.start({"neo4j": {"P": Secret("one")}})
    seen = []
    config.subscribe("*", seen.append)
    bench.offer({"neo4j": {"P": Secret("one")}})
    assert seen == []
    bench.offer({"neo4j": {"P": Secret("two")}})
    assert seen[0].new.reveal() == "two"
    assert "two" not in repr(seen[0])


def test_an_unreadable_secret_is_never_told(bench_with):
    """Without a keyset nobody can say whether a secret changed, so nothing is said."""
    bench = bench_with(None)
    config = bench.start({"neo4j": {"P": Secret("one")}})
    seen = []
    config.subscribe("*", seen.append)
    bench.offer({"neo4j": {"P": Secret("two")}})
    assert seen == []


def test_a_callback_that_raises_stops_nobody(bench, caplog):
    """What a callback raises is logged, secrets masked, and the next callback and swap are told as ever."""
    config = bench.start({"sync": {"A": 1}, "neo4j": {"P": Secret("hunter2")}})
    seen = []

    def bad(change):
        raise RuntimeError(f"cannot use {change.new} with hunter2")

    config.subscribe("A", bad)
    config.subscribe("A", lambda change: seen.append(change.new))
    with caplog.at_level(logging.ERROR, "kemudi.client"):
        bench.offer({"sync": {"A": 2}, "neo4j": {"P": Secret("hunter2")}})
        bench.offer({"sync": {"A": 3}, "neo4j": {"P": Secret("hunter2")}})
    assert seen == [2, 3]
    assert len(caplog.records) == 2
    assert "cannot use 2" in caplog.text
    assert "hunter2" not in caplog.text


def test_callbacks_run_in_the_order_of_subscription(bench):
    """Per change, the callbacks run in the order in which they subscribed."""
    config = bench.start({"sync": {"A": 1, "B": 1}})
    seen = []
    for name in ("first", "second"):
        config.subscribe("*", lambda change, name=name: seen.append((change.key, name)))
    bench.offer({"sync": {"A": 2, "B": 2}})
    assert seen == [("A", "first"), ("A", "second"), ("B", "first"), ("B", "second")]


def test_a_closed_subscription_is_not_told(bench):
    """After close no call starts; closing twice is fine, and so is closing within a callback."""
    config = bench.start({"sync": {"A": 1}})
    seen = []
    with config.subscribe("*", seen.append):
        bench.offer({"sync": {"A": 2}})
    once = config.subscribe("*", lambda change: (seen.append(change), once.close()))
    bench.offer({"sync": {"A": 3}})
    bench.offer({"sync": {"A": 4}})
    once.close()
    assert [change.new for change in seen] == [2, 3]


def test_a_callback_may_change_things_itself():
    """A callback that causes another swap is told of it after it returns, in order."""
    config = InMemoryClient({"A": 1, "B": 1})
    seen = []

    def follow(change):
        seen.append((change.key, change.new))
        if change.key == "A":
            config.publish(B=change.new)

    config.subscribe("*", follow)
    config.publish(A=2)
    assert seen == [("A", 2), ("B", 2)]


def test_a_slow_callback_does_not_hold_up_reads(bench_with, wait_until):
    """Callbacks have a thread of their own: while one hangs, swaps go on, and all are told in order in the end."""
    bench = bench_with(threaded=True)
    config = bench.start({"sync": {"A": 0}})
    gate, seen = threading.Event(), []

    def slow(change):
        gate.wait(10)
        seen.append(change.new)

    config.subscribe("A", slow)
    for number in range(1, 6):
        bench.offer({"sync": {"A": number}})
    assert config["A"] == 5
    assert seen == []
    gate.set()
    wait_until(lambda: len(seen) == 5)
    assert seen == [1, 2, 3, 4, 5]
    config.close()


def test_a_long_backlog_is_merged_without_a_gap(bench_with, wait_until):
    """Very many swaps behind a hanging callback are merged: each change starts where the one before ended."""
    bench = bench_with(threaded=True)
    config = bench.start({"sync": {"A": 0}})
    gate, seen = threading.Event(), []

    def slow(change):
        gate.wait(10)
        seen.append((change.old, change.new))

    config.subscribe("A", slow)
    for number in range(1, 1001):
        bench.offer({"sync": {"A": number}})
    gate.set()
    wait_until(lambda: seen and seen[-1][1] == 1000)
    assert len(seen) < 300
    assert all(before[1] == after[0] for before, after in itertools.pairwise(seen))
    config.close()


def test_a_late_subscriber_hears_only_of_later_swaps(bench_with, wait_until):
    """A swap that waits to be told is not told to who subscribed after it."""
    bench = bench_with(threaded=True)
    config = bench.start({"sync": {"A": 0}})
    gate, entered, late = threading.Event(), threading.Event(), []
    config.subscribe("A", lambda _change: (entered.set(), gate.wait(10)))
    bench.offer({"sync": {"A": 1}})
    entered.wait(10)
    bench.offer({"sync": {"A": 2}})
    config.subscribe("A", lambda change: late.append(change.new))
    bench.offer({"sync": {"A": 3}})
    gate.set()
    wait_until(lambda: late)
    assert late == [3]
    config.close()


def test_changes_as_an_asynchronous_iterator():
    """`async for` gets every change from the call on, and ends when the client closes."""

    async def main():
        config = InMemoryClient({"A": 0})
        changes = config.changes("A")
        for number in (1, 2, 3):
            config.publish(A=number)
        seen = [(await anext(changes)).new for _ in range(3)]
        reader = asyncio.create_task(anext(changes, "ended"))
        await asyncio.sleep(0)
        config.close()
        return seen, await asyncio.wait_for(reader, 5)

    assert asyncio.run(main()) == ([1, 2, 3], "ended")


def test_a_dropped_stream_gives_up_its_subscription():
    """A stream that nobody holds any more is forgotten without being closed."""

    async def main():
        config = InMemoryClient({"A": 0})
        stream = config.changes("A")
        assert len(config._serving.subscriptions._subscribed) == 1
        del stream
        assert len(config._serving.subscriptions._subscribed) == 0

    asyncio.run(main())


def test_changes_needs_a_loop():
    """Outside an event loop the error comes at the call."""
    with pytest.raises(RuntimeError):
        InMemoryClient({"A": 0}).changes("*")
