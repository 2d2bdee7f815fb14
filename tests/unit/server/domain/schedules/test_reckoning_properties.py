"""What holds for any schedule."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Cron, Every, OnExcluded, Timing

MILLISECOND = timedelta(milliseconds=1)
ZONES = ["", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Antarctica/Troll", "Asia/Kathmandu"]


@st.composite
def fields(draw: st.DrawFn, least: int, most: int) -> str:
    low = draw(st.integers(least, most))
    high = draw(st.integers(low, most))
    step = draw(st.integers(1, 20))
    return draw(st.sampled_from(["*", f"*/{step}", str(low), f"{low}-{high}", f"{low},{high}", f"{low}-{high}/{step}"]))


@st.composite
def crons(draw: st.DrawFn) -> Cron:
    days = st.sampled_from(["*", "*", "*/3", "1,15", "L", "28-31"])
    weekdays = st.sampled_from(["*", "*", "MON-FRI", "0", "5L", "SUN#2"])
    line = st.builds("{} {} {} * {}".format, fields(0, 59), fields(0, 23), days, weekdays)
    return Cron(tuple(draw(st.lists(line, min_size=1, max_size=3))), draw(st.sampled_from(ZONES)))


TIMES = st.datetimes(datetime(2025, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC))
INTERVALS = st.integers(1_000, 10**11).map(lambda ms: ms * MILLISECOND)
EVERIES = st.builds(Every, INTERVALS, st.none() | TIMES.map(lambda time: time.replace(microsecond=0)))
CALENDARS = st.builds(
    Calendar,
    st.frozensets(st.dates(date(2025, 1, 1), date(2028, 12, 31)), max_size=20),
    st.frozensets(st.integers(0, 6), max_size=3),
    time_zone=st.sampled_from(ZONES),
)


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    rule = draw(crons() | EVERIES)
    actions = list(OnExcluded)
    if isinstance(rule, Every) or sum(line.count("*") for line in rule.lines) > 2 * len(rule.lines):
        actions = [OnExcluded.SKIP]  # only what comes rarely is moved: the door sees to that
    used = draw(st.lists(st.sampled_from(actions), max_size=2))
    return Timing(
        rule,
        start_time=draw(st.none() | TIMES.map(lambda time: time.replace(microsecond=0))),
        jitter=draw(st.integers(0, 10**7)) * MILLISECOND,
        calendars=tuple(CalendarUse(str(i), action) for i, action in enumerate(used)),
    )


@given(timings(), CALENDARS, CALENDARS, TIMES)
def test_times_grow_none_comes_twice_and_each_is_the_next_after_the_one_before(
    timing: Timing, first: Calendar, second: Calendar, after: datetime
) -> None:
    reckoning = Reckoning(timing, key="k", created=after, calendars={"0": first, "1": second})
    found = list(islice(reckoning.occurrences(after), 20))
    times = [one.time for one in found]
    assert times == sorted(set(times))
    assert all(time > after for time in times)
    for before, one in zip([after, *times], found, strict=False):
        assert reckoning.next_after(before) == one
    assert all(timedelta(0) <= one.due_time - one.time <= timing.jitter for one in found)
    # Not one by the other: a time that comes twice, as clocks are set back, is equal to none of another zone (PEP 495).
    assert all(one.local.astimezone(UTC) == one.time for one in found)
    with_skipped = islice(reckoning.occurrences(after, skipped=True), 100)
    kept = [one for one in with_skipped if one.runs]
    assert kept[:20] == found[: len(kept)]


@given(EVERIES, TIMES, st.integers(0, 10**6))
def test_an_interval_is_arithmetic(every: Every, created: datetime, steps: int) -> None:
    reckoning = Reckoning(Timing(every), created=created)
    anchor = every.anchor or created
    time = anchor + min(steps * every.interval, timedelta(days=100_000) // every.interval * every.interval)
    found = reckoning.next_after(time - MILLISECOND)
    assert found is not None
    assert found.time == time
    following = reckoning.next_after(time)
    assert following is not None
    assert following.time == time + every.interval


@given(crons(), TIMES)
def test_a_line_is_never_late_or_early_by_the_wall_clock(cron: Cron, after: datetime) -> None:
    """But where clocks change, each time of one line is one that the line by itself has, too."""
    together = [one.time for one in islice(Reckoning(Timing(cron), created=after).occurrences(after), 15)]
    alone = set()
    for line in cron.lines:
        single = Reckoning(Timing(Cron((line,), cron.time_zone)), created=after)
        alone |= {one.time for one in islice(single.occurrences(after), 15)}
    assert together == sorted(alone)[: len(together)]
