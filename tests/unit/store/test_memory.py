"""The switches of the store in memory, with which a test makes an outage without a server."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kemudi.store.errors import StoreFullError, StoreUnavailableError
from kemudi.store.memory import MemoryServer, MemoryStore
from kemudi.store.snapshot import digest_of
from kemudi.store.values import Acknowledgement, LogEntry

BLOB = b"{}"
ENTRY = LogEntry("applied", "", "0.1.0", "t")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_outage() -> None:
    """Switched off, every call says that the store cannot be reached; switched on, all is there."""
    store = MemoryStore("prod")
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    store.server.set_available(False)
    for act in (
        store.ping,
        store.current,
        lambda: store.blobs([]),
        lambda: store.renew(lease, 30),
        store.acknowledgements,
    ):
        with pytest.raises(StoreUnavailableError):
            act()
    store.server.set_available(True)
    assert store.renew(lease, 30)


def test_hints_over_an_outage() -> None:
    """A stream is disconnected during an outage, and its first wait after it is True."""
    store = MemoryStore("prod")
    hints = store.hints()
    assert hints.wait(0)
    store.server.set_available(False)
    assert not hints.wait(0.01)
    assert not hints.connected
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(hints.wait, 10)
        store.server.set_available(True)
        assert waiting.result(5)
    hints.close()


def test_full() -> None:
    """Out of memory, nothing is staged or published, and what is there is served."""
    store = MemoryStore("prod")
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    digest = digest_of(BLOB)
    store.stage({digest: BLOB})
    store.server.full = True
    assert store.stage({digest: BLOB}).reused == 1
    with pytest.raises(StoreFullError):
        store.stage({digest_of(b"other"): b"other"})
    with pytest.raises(StoreFullError):
        store.publish(lease, b"signed", [digest], ENTRY, None)
    assert store.current() is None


def test_time() -> None:
    """Leases, staged blobs and acknowledgements end by the server's clock."""
    clock = Clock()
    store = MemoryStore("prod", MemoryServer(clock))
    store.stage({digest_of(BLOB): BLOB})
    store.acknowledge(Acknowledgement("s", "i", "", "", "current"), 10)
    assert store.acquire_lease("daemon", 10) is not None
    clock.now = 11
    assert store.lease_holder() is None
    assert store.acknowledgements() == []
    assert store.blobs([digest_of(BLOB)]) == {digest_of(BLOB): BLOB}
    clock.now = 601
    assert store.blobs([digest_of(BLOB)]) == {}
