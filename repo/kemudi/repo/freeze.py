"""Windows in which an environment is frozen: weekly, daily or once, by the clock on the wall of one time zone."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = timedelta(days=1)
_CYCLES: Final = {"daily": _DAY, "weekly": 7 * _DAY}
_CLOCK: Final = r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)"
_WEEKLY: Final = re.compile(rf"(?P<day>{'|'.join(_DAYS)})(?: {_CLOCK})?", re.ASCII)
_DAILY: Final = re.compile(_CLOCK, re.ASCII)
_ONCE: Final = re.compile(rf"(?P<date>\d{{4}}-\d\d-\d\d)(?: {_CLOCK})?", re.ASCII)
# A Monday: moments of a week or a day are counted from here.
_EPOCH: Final = datetime(2001, 1, 1)  # noqa: DTZ001  # wall clocks have no zone

Repeats = Literal["weekly", "daily", "once"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One end of a window. `at` is wall-clock time; of a repeated one, in the first week or day."""

    repeats: Repeats
    at: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """From one moment to another, both of the same kind; a repeated one may run over the end of the week or day."""

    start: Moment
    end: Moment

    def end_if_open(self, now: datetime) -> datetime | None:
        """When the window that is open at the wall-clock time `now` ends; None when none is open."""
        if self.start.repeats == "once":
            return self.end.at if self.start.at <= now < self.end.at else None
        cycle = _CYCLES[self.start.repeats]
        started = now - (now - self.start.at) % cycle
        # From `mon` to `sun` is the whole week, not none of it.
        ends = started + ((self.end.at - self.start.at) % cycle or cycle)
        return ends if now < ends else None


@dataclass(frozen=True, slots=True)
class Calendar:
    """The windows of one policy."""

    zone: ZoneInfo
    windows: tuple[Window, ...]

    def frozen_until(self, now: datetime) -> datetime | None:
        """When the freeze at `now` ends, in the zone of the calendar; None when nothing is frozen.

        Windows that follow each other without a gap are one freeze.
        """
        wall = now.astimezone(self.zone).replace(tzinfo=None)
        until: datetime | None = None
        for _ in range(len(self.windows) + 1):
            ends = [end for each in self.windows if (end := each.end_if_open(until or wall)) is not None]
            if not ends:
                break
            until = max(ends)
        return None if until is None else until.replace(tzinfo=self.zone)


def read_moment(text: str, *, is_end: bool) -> Moment | None:
    """`fri 16:00`, `fri`, `16:00`, `2026-12-20`, `2026-12-20 18:00`; None for anything else.

    A day without a time begins at midnight; as an end it counts whole.
    """
    for repeats, form in (("weekly", _WEEKLY), ("daily", _DAILY), ("once", _ONCE)):
        found = form.fullmatch(text)
        if found is not None:
            at = _moment(found.groupdict(), is_end=is_end)
            return None if at is None else Moment(repeats, at)  # type: ignore[arg-type]  # literals
    return None


def _moment(parts: dict[str, str | None], *, is_end: bool) -> datetime | None:
    day = _EPOCH.date() + _DAYS.index(parts["day"]) * _DAY if parts.get("day") in _DAYS else _EPOCH.date()
    written = parts.get("date")
    if written is not None:
        try:
            day = date.fromisoformat(written)
        except ValueError:
            return None
    hour = parts.get("hour")
    if hour is not None:
        return datetime.combine(day, time(int(hour), int(parts["minute"] or 0)))
    return datetime.combine(day, time()) + (_DAY if is_end else timedelta())
