"""The history of what readers see while snapshots are published one after another."""

import itertools
import sys
import threading

import pytest
from pydantic import BaseModel

from kemudi.schema.generation import Generation

CATEGORIES = [f"c{number}" for number in range(6)]
PUBLISHES = 200


class Model(BaseModel):
    C0_N: int
    C5_N: int


class Reader(threading.Thread):
    """Reads as quickly as it can and keeps what contradicts the promises."""

    def __init__(self, config, stop):
        super().__init__()
        self.config, self.stop, self.problems, self.seen = config, stop, [], set()
        self.model = config.bind(Model)

    def run(self):
        newest = newest_value = Generation(0, 0, 0)
        while not self.stop.is_set():
            with self.config.pin() as view:
                numbers = {view[f"{name.upper()}_N"] for name in CATEGORIES}
                generation = Generation.parse(view.generation)
            if numbers != {generation.depth}:
                self.problems.append(("mixture", generation, numbers))
            if generation < newest:
                self.problems.append(("back", newest, generation))
            newest = generation
            value = Generation(0, self.config["C3_N"], 0)
            if value < max(newest, newest_value):
                self.problems.append(("value back", newest, newest_value, value))
            newest_value = value
            fields = dict(self.model.__dict__)
            if len(set(fields.values())) != 1:
                self.problems.append(("mixed model", fields))
            self.seen.add(generation.depth)


@pytest.fixture
def quick_switches():
    """Busy readers hand over often, so that publisher and client get their turns."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_no_reader_ever_sees_a_mixture_or_goes_back(publisher, open_client, wait_until):
    """Over 200 publishes no view mixes two snapshots, no generation or value goes back, and the last one arrives."""

    def values(number):
        return {name: {f"{name.upper()}_N": number, f"{name.upper()}_SAME": 1} for name in CATEGORIES}

    publisher.publish(values(1))
    config, stop, told = open_client(publisher), threading.Event(), []
    config.subscribe("C1_N", lambda change: told.append((change.old, change.new)))
    readers = [Reader(config, stop) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(2, PUBLISHES + 2):
        publisher.publish(values(number))
    wait_until(lambda: config["C0_N"] == PUBLISHES + 1, 30)
    wait_until(lambda: told and told[-1][1] == PUBLISHES + 1)
    stop.set()
    for reader in readers:
        reader.join()
    assert [problem for reader in readers for problem in reader.problems] == []
    assert max(len(reader.seen) for reader in readers) > 10
    assert all(before[1] == after[0] for before, after in itertools.pairwise(told))
    assert all(before < after for before, after in told)
