"""The embedded store as a part of a process that does other things."""

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from kemudi.graph.stores.ladybug import LadybugStore

LOOKS = 300


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[LadybugStore]:
    store = LadybugStore(tmp_path / "graph.lbdb")
    store.prepare()
    yield store
    store.close()


def test_queries_leave_the_process_wide_filters_of_warnings_alone(opened: LadybugStore) -> None:
    """They belong to everybody: FastAPI, in another thread, lost its own when a query put back older ones."""
    ending = threading.Event()

    def read() -> None:
        while not ending.is_set():
            opened.read("counts", {})

    threads = [threading.Thread(target=read) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = warnings.filters
        for thread in threads:
            thread.start()
        try:
            for _ in range(LOOKS):
                opened.read("checkpoint", {"name": "data"})
                assert warnings.filters is filters
        finally:
            ending.set()
            for thread in threads:
                thread.join()
