"""What lines of cron do where clocks change: as each minute looked at by itself says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from tocsin_server.domain.schedules.cron_line import CronLine
from tocsin_server.domain.schedules.cron_times import instants
from tocsin_server.domain.schedules.wall_clock import WallClock
from unit.server.domain.schedules.minute_by_minute import Line, Shown, changes, walk

ZONES = """
Europe/Berlin Europe/London Europe/Lisbon Europe/Dublin Europe/Athens Europe/Kyiv Europe/Chisinau Atlantic/Azores
Atlantic/Bermuda Africa/Casablanca Africa/El_Aaiun Africa/Cairo Asia/Beirut Asia/Jerusalem Asia/Gaza Asia/Nicosia
America/New_York America/Chicago America/Denver America/Los_Angeles America/Anchorage America/Adak America/Halifax
America/St_Johns America/Havana America/Nuuk America/Scoresbysund America/Miquelon America/Santiago America/Tijuana
America/Port-au-Prince America/Thule Pacific/Easter Pacific/Auckland Pacific/Chatham Pacific/Norfolk Australia/Sydney
Australia/Adelaide Australia/Lord_Howe Antarctica/Troll
""".split()
LINES = [
    *("30 2 * * *", "0 2 * * *", "59 1 * * *", "0 3 * * *", "30 0 * * *", "0 0 * * *", "30 1 * * *"),
    *("0,30 2 * * *", "0,15,30,45 1,2,3 * * *", "0-59 2 * * *", "10-50/20 0-3 * * *", "45 1-2 * * *", "5 2/1 * * *"),
    *("0 0,1,2,3,4 * * *", "20 23 * * *", "40 22-23 * * *", "15 0-23 * * *", "30 0-23/2 * * *", "30 1-23/2 * * *"),
    *("* * * * *", "*/5 * * * *", "*/7 * * * *", "*/15 * * * *", "*/30 * * * *", "0 * * * *", "30 * * * *"),
    *("17 * * * *", "*/30 2 * * *", "* 2 * * *", "*/20 0-3 * * *", "0 */2 * * *", "30 */2 * * *", "0 */3 * * *"),
    *("*,5 1 * * *", "5,25 */1 * * *", "*/10 1,3 * * *", "@hourly", "@daily", "@weekly", "@monthly"),
    *("30 2 * * SUN", "30 2 * * 7", "0 3 * * 0,6", "30 2 * * SAT,SUN", "0 2 * MAR,OCT *", "15 2 L * *", "15 2 LW * *"),
    *("30 2 * * SUNL", "30 2 * * 0L", "30 1 * * SUN#1", "30 2 * * SUN#2", "0 3 1-7 * SUN", "0 3 */2 * SUN"),
    *("30 2 25-31 3,10 *", "0 3 8-14 3 0", "0 30 2 * * *", "*/15 30 2 * * *", "30 0 */2 * * *", "15,45 */20 * * * *"),
    *("10 59 1 * * *",),
]
#: Around each change; the longest leap is of two hours, and the day on both sides is looked at.
BEFORE, BEHIND = timedelta(hours=4), timedelta(hours=6)


def of(text: str) -> tuple[CronLine, Line]:
    return CronLine(text), Line(text)


PARSED = [of(text) for text in LINES]


@lru_cache
def windows(name: str, year: int) -> list[tuple[datetime, list[Shown]]]:
    zone = ZoneInfo(name)
    return [(change, walk(zone, change - BEFORE, change + BEHIND)) for change in changes(zone, year, year)]


def reckoned(line: CronLine, clock: WallClock, after: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda time: time < end, (instant.time for instant in instants([line], clock, after))))


def differences(name: str, year: int) -> Iterator[str]:
    clock = WallClock(ZoneInfo(name))
    assert len(windows(name, year)) == 2, "the zone's clocks do not change as they did when this was written"
    for change, minutes in windows(name, year):
        begin, end = change - BEFORE, change + BEHIND
        for line, independent in PARSED:
            expected = independent.times(minutes)
            # From the window's beginning, from right before the change and at it, and from between two minutes after.
            for after in (begin, change - timedelta(seconds=1), change, change + timedelta(minutes=25, seconds=30)):
                due = [time for time in expected if time > after]
                # The later ones only need to find what comes next.
                found = reckoned(line, clock, after, end if after == begin else due[2] if len(due) > 2 else end)
                if found != (due if after == begin or len(due) <= 2 else due[:2]):
                    yield f"{line.text} in {name} after {after}: {found[:5]}, not {due[:5]}"


def test_the_table_is_as_large_as_it_is_said_to_be() -> None:
    assert (len(set(ZONES)), len(set(LINES))) == (40, 60)
    assert all(line.fixed is not independent.wildcard for line, independent in PARSED)


@pytest.mark.parametrize("name", ZONES)
def test_the_changes_of_a_year(name: str) -> None:
    year = 2025 + ZONES.index(name) % 4
    assert list(differences(name, year)) == []


@pytest.mark.full
@pytest.mark.parametrize("year", range(2025, 2029))
@pytest.mark.parametrize("name", ZONES)
def test_each_change_of_each_year(name: str, year: int) -> None:
    assert list(differences(name, year)) == []


def shown(text: str, name: str, after: datetime, count: int) -> list[str]:
    clock = WallClock(ZoneInfo(name))
    times = instants([CronLine(text)], clock, after)
    return [next(times).time.astimezone(clock.zone).isoformat() for _ in range(count)]


#: The nights in which Berlin's clocks change in 2026, and the rule in examples.
SPRING, AUTUMN = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("30 2 * * *", SPRING, ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("0,30 2 * * *", SPRING, ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
        ("30 2,3 * * *", SPRING, ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]),
        ("*/30 2 * * *", SPRING, ["2026-03-30T02:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("30 * * * *", datetime(2026, 3, 29, tzinfo=UTC), ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]),
        ("30 2 * * *", AUTUMN, ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("30 * * * *", datetime(2026, 10, 25, tzinfo=UTC), ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]),
    ],
)
def test_the_rule_in_examples(text: str, after: datetime, expected: list[str]) -> None:
    assert shown(text, "Europe/Berlin", after, 2) == expected


def test_a_change_far_ahead_is_not_overlooked() -> None:
    """The next time is years away, and beyond dozens of changes."""
    assert shown("0 */6 29 2 *", "Europe/Berlin", AUTUMN, 2) == [
        "2028-02-29T00:00:00+01:00",
        "2028-02-29T06:00:00+01:00",
    ]


def test_samoa_left_out_a_whole_day() -> None:
    after = datetime(2011, 12, 29, 12, tzinfo=UTC)
    assert shown("0 9 * * *", "Pacific/Apia", after, 3) == [
        "2011-12-29T09:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T09:00:00+14:00",
    ]


def test_several_lines_are_a_union() -> None:
    clock = WallClock(ZoneInfo("Europe/Berlin"))
    lines = [CronLine("30 2 * * *"), CronLine("0 3 * * *"), CronLine("0 3 * * SUN")]
    times = instants(lines, clock, SPRING)
    assert [f"{next(times).time:%d %H:%M}" for _ in range(3)] == ["29 01:00", "30 00:30", "30 01:00"]
