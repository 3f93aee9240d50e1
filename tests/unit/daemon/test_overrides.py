"""The book of overrides, with a clock of its own."""

from datetime import UTC, datetime, timedelta

import pytest

from kemudi.daemon.overrides import Override, Overrides
from kemudi.repo.local import LocalRefs
from kemudi.schema.errors import UsageError

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def book(tmp_path, clock):
    """Opens the overrides of `prod`, as a daemon does at each start."""
    return lambda: Overrides(LocalRefs(tmp_path / "local.git", durable=False), "prod", clock)


def override(key: str = "LIMIT", hours: float = 1, **more: object) -> Override:
    told = {
        "category": "api",
        "value": {"a": [1, 2.0, "x", None]},
        "reason": "why",
        "author": "a <a@example.org>",
    }
    return Override(key=key, since=NOON, until=NOON + timedelta(hours=hours), **(told | more))


def test_what_is_written_is_read_again(book):
    """Values of every JSON type, words and times, by another process."""
    book().put(override())
    assert book().effective() == (override(),)


def test_nothing_was_ever_overridden(book):
    """An environment without a branch costs nothing and is not involved."""
    fresh = book()
    assert (fresh.effective(), fresh.involved, fresh.seconds_to_next_end()) == ((), False, None)


def test_an_override_is_over_at_its_time_also_before_that_is_written(book, clock):
    """The end holds without a disk; writing it down is for those who read the branch."""
    opened = book()
    opened.put(override())
    opened.put(override("OTHER", hours=3))
    assert opened.seconds_to_next_end() == 3600
    clock.now = NOON + timedelta(hours=1)
    assert [each.key for each in opened.effective()] == ["OTHER"]
    assert [each.key for each in opened.due()] == ["LIMIT"]
    assert [each.key for each in book().effective()] == ["OTHER"]


def test_a_clock_that_goes_back_brings_no_ended_override_back(book, clock):
    """Once its end is written down, it is gone for good."""
    opened = book()
    opened.put(override())
    clock.now = NOON + timedelta(hours=2)
    opened.end(opened.due(), "Its time is over.")
    clock.now = NOON
    assert opened.effective() == ()
    assert book().effective() == ()


def test_a_second_override_of_a_key_replaces_the_first(book):
    """There is one value above a setting, and the newest word counts."""
    opened = book()
    opened.put(override())
    opened.put(override(value=8))
    assert [each.value for each in opened.effective()] == [8]
    with pytest.raises(UsageError, match="OTHER is not overridden in prod; overridden: LIMIT"):
        opened.find("OTHER")
