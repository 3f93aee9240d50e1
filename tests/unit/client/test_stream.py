"""Changes as an asynchronous iterator, at its edges."""

import asyncio

from kemudi.client.stream import _merged
from kemudi.client.subscription import Change
from kemudi.client.testing import InMemoryClient


def test_a_stream_is_a_context_manager():
    """Leaving `async with` ends the stream and its subscription; ending twice is fine."""

    async def main():
        config = InMemoryClient({"A": 0})
        async with config.changes("*") as changes:
            config.publish(A=1)
            assert (await anext(changes)).new == 1
        await changes.aclose()
        config.publish(A=2)
        return [change.new async for change in changes]

    assert asyncio.run(main()) == []


def test_a_stream_outlives_its_loop_quietly():
    """A change that comes when the loop of a stream is closed is dropped, and so is the subscription."""
    config = InMemoryClient({"A": 0})

    async def main():
        return config.changes("*")

    stream = asyncio.run(main())
    config.publish(A=1)
    assert config.serving.subscriptions._subscribed == ()
    del stream


def test_a_reader_that_falls_far_behind_gets_merged_changes():
    """For each setting one change remains, from its oldest to its newest value, in the order of the newest."""
    changes = [
        Change("A", 0, 1, "r1", "0.1.0"),
        Change("B", 0, 1, "r1", "0.1.0"),
        Change("A", 1, 2, "r2", "0.2.0"),
    ]
    assert list(_merged(changes)) == [Change("B", 0, 1, "r1", "0.1.0"), Change("A", 0, 2, "r2", "0.2.0")]
