"""Threads, forks and asyncio, with a real store."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import pytest
from pydantic import BaseModel

from kemudi.client import SettingNotFoundError
from kemudi.client.aio import AsyncClient, connect

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def in_child(work):
    """Fork, run `work` in the child, and assert that it returned without an error."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must not return into the test run
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_forked_child_follows_on_its_own(publisher, open_client, wait_until):
    """A child has its own thread, instance name, callbacks and models; the parent goes on undisturbed."""

    class Sync(BaseModel):
        A: int

    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    sync, told = config.bind(Sync), []
    config.subscribe("A", told.append)
    wait_until(publisher.store.acknowledgements)
    go_read, go_write = os.pipe()
    done_read, done_write = os.pipe()

    def child():
        assert config["A"] == 1
        assert os.read(go_read, 1) == b"1"
        wait_until(lambda: config["A"] == 2)
        wait_until(lambda: told)
        assert sync.A == 2
        wait_until(lambda: config.health().connected)
        os.write(done_write, b"1")
        assert os.read(go_read, 1) == b"2"

    thread = threading.Thread(target=in_child, args=(child,))
    thread.start()
    wait_until(lambda: len(publisher.store.acknowledgements()) == 2)
    instances = {said.instance for said in publisher.store.acknowledgements()}
    assert any(f"-{os.getpid()}-" in instance for instance in instances)
    publisher.publish({"sync": {"A": 2}})
    os.write(go_write, b"1")
    assert os.read(done_read, 1) == b"1"
    wait_until(lambda: config["A"] == 2)
    wait_until(lambda: {said.generation for said in publisher.store.acknowledgements()} == {"0.2.0"})
    os.write(go_write, b"2")
    thread.join()
    publisher.publish({"sync": {"A": 3}})
    wait_until(lambda: config["A"] == 3)
    assert sync.A == 3
    for descriptor in (go_read, go_write, done_read, done_write):
        os.close(descriptor)


def test_a_child_that_closes_leaves_the_parent_alone(publisher, open_client, wait_until):
    """A child may close its client: that withdraws its own acknowledgement and cuts no connection of the parent."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    wait_until(publisher.store.acknowledgements)
    in_child(config.close)
    assert len(publisher.store.acknowledgements()) == 1
    publisher.publish({"sync": {"A": 2}})
    wait_until(lambda: config["A"] == 2)


def test_forks_while_swaps_go_on(publisher, open_client, wait_until):
    """Whenever a fork happens, the child's state is whole and follows on."""
    publisher.publish({"sync": {"A": 0, "B": 0}})
    config = open_client(publisher)
    config.subscribe("*", lambda _change: None)
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            publisher.publish({"sync": {"A": publisher.depth, "B": publisher.depth}})

    thread = threading.Thread(target=publish)
    thread.start()

    def child():
        with config.pin() as view:
            assert view["A"] == view["B"]
        before = config["A"]
        wait_until(lambda: config["A"] > before)

    try:
        for _ in range(10):
            in_child(child)
    finally:
        stop.set()
        thread.join()


def test_a_closed_client_stays_closed_in_a_child(publisher, open_client):
    """After close a fork starts nothing."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    config.close()

    def child():
        assert threading.active_count() == 1
        assert config["A"] == 1

    in_child(child)


def serve(config, queue):
    deadline = time.monotonic() + 10
    while config["A"] != 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    queue.put(config["A"])


def test_multiprocessing_with_fork(publisher, open_client, wait_until):
    """A process that multiprocessing forks follows on, too."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=serve, args=(config, queue))
    process.start()
    wait_until(lambda: len(publisher.store.acknowledgements()) == 2)
    publisher.publish({"sync": {"A": 2}})
    assert queue.get(timeout=15) == 2
    process.join(10)
    assert process.exitcode == 0
    process.close()
    queue.close()
    queue.join_thread()


PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
import kemudi.client
config = kemudi.client.connect()
config.prepare("*", lambda values: __import__("time").sleep(60))
print(config["A"], flush=True)
"""


@pytest.mark.parametrize("ending", ["return", "interrupt"])
def test_a_program_ends_without_closing(publisher, ending):
    """A program that never closes its client ends at once, also by Ctrl-C, and leaves a copy and no acknowledgement."""
    publisher.publish({"sync": {"A": 1}})
    environ = {
        **os.environ,
        "KEMUDI_ENV": "dev",
        "KEMUDI_REDIS_URL": publisher.url,
        "KEMUDI_VERIFY_KEY": str(publisher.verify_key),
        "KEMUDI_STATE_DIR": str(publisher.state),
    }
    # Not signal.pause(), which would sleep on if the signal came just before it.
    program = PROGRAM + ("" if ending == "return" else "import time\nwhile True:\n    time.sleep(0.01)\n")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "1\n"
    begun = time.monotonic()
    if ending == "interrupt":
        process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()  # else it would answer in the store of the tests to come
    assert time.monotonic() - begun < 5
    assert "kemudi" not in errors
    assert publisher.store.acknowledgements() == []
    assert list(publisher.state.rglob("*.copy"))
    assert process.returncode == (0 if ending == "return" else -signal.SIGINT)


def options(publisher, **more):
    return {
        "redis_url": publisher.url,
        "keyset": publisher.keyset,
        "verify_key": publisher.verify_key,
        "state_dir": publisher.state,
        "service": "tester",
        **more,
    }


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in threads
            await asyncio.sleep(0.005)


def test_the_client_for_asyncio(publisher):
    """Reads, views, models, callbacks, checks and iterators have the same names; coroutines are awaited."""

    class Sync(BaseModel):
        A: int

    async def main():
        publisher.publish({"sync": {"A": 1}})
        told, checked = [], []
        async with connect("dev", **options(publisher)) as config:
            assert isinstance(config, AsyncClient)
            assert (config["A"], config.get("A"), config.get("B", default=5), config.generation) == (
                1,
                1,
                5,
                "0.1.0",
            )
            with pytest.raises(SettingNotFoundError):
                config["B"]
            sync, view, changes = config.bind(Sync), config.pin(), config.changes("*")

            async def tell(change):
                await asyncio.sleep(0)
                if change.new == 2:
                    raise RuntimeError("not this one")
                told.append(change.new)

            async def check(values):
                await asyncio.sleep(0)
                checked.append(values["A"])
                return values["A"] != 4

            config.subscribe("A", tell)
            config.prepare("sync", check)
            for number in (2, 3):
                await asyncio.to_thread(publisher.publish, {"sync": {"A": number}})
                await eventually(lambda number=number: config["A"] == number)
            assert [(await anext(changes)).new for _ in range(2)] == [2, 3]
            await asyncio.to_thread(publisher.publish, {"sync": {"A": 4}})
            await eventually(lambda: config.health().refusal)
            await eventually(lambda: told == [3])
            assert (config["A"], sync.A, view["A"], checked) == (3, 3, 1, [2, 3, 4])
        assert [change async for change in changes] == []
        assert config["A"] == 3

    asyncio.run(main())
    assert publisher.store.acknowledgements() == []


def test_connecting_for_asyncio_can_be_awaited(publisher):
    """`await connect(...)` gives the client; a check that hangs is cancelled and refuses; the loop never waits."""

    async def main():
        publisher.publish({"sync": {"A": 1}})
        config = await connect("dev", **options(publisher))
        cancelled = asyncio.Event()

        async def hang(_values):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        config.prepare("*", hang, timeout=0.1)
        await asyncio.to_thread(publisher.publish, {"sync": {"A": 2}})
        async with asyncio.timeout(10):
            await cancelled.wait()
        await eventually(
            lambda: "no answer" in config.health().refusal or "TimeoutError" in config.health().refusal
        )
        assert config["A"] == 1
        await config.close()

    asyncio.run(main())
