"""At which times a schedule runs: windows, ends, intervals, days off, jitter."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise

import pytest
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.timing import (
    Calendar,
    CalendarUse,
    Cron,
    DstFold,
    DstGap,
    Every,
    Excluded,
    Jittered,
    Occurrence,
    OnExcluded,
    Timing,
)

NOW = datetime(2026, 12, 17, tzinfo=UTC)  # a Thursday
DAILY = Cron(("0 9 * * *",), "Europe/Berlin")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAYS_OFF = {
    "weekend": Calendar(weekdays=frozenset({5, 6})),
    "christmas": Calendar(dates=frozenset({date(2026, 12, 25), date(2026, 12, 28)})),
    "december": Calendar(dates=frozenset(date(2026, 12, day) for day in range(1, 32))),
}


def reckoning(timing: Timing, created: datetime = NOW, key: str = "q/s") -> Reckoning:
    return Reckoning(timing, key=key, created=created, calendars=DAYS_OFF)


def times(timing: Timing, count: int = 5, *, after: datetime = NOW, skipped: bool = False) -> list[str]:
    """Local times; in brackets what does not run."""
    found = islice(reckoning(timing).occurrences(after, skipped=skipped), count)
    return [f"{one.local:%a %d %H:%M}" if one.runs else f"({one.local:%a %d %H:%M})" for one in found]


def uses(*names: str, on: OnExcluded = OnExcluded.SKIP) -> tuple[CalendarUse, ...]:
    return tuple(CalendarUse(name, on) for name in names)


def only(timing: Timing, after: datetime) -> Occurrence:
    found = reckoning(timing).next_after(after)
    assert found is not None
    return found


def test_the_window_has_its_start_and_not_its_end() -> None:
    start, end = datetime(2026, 12, 18, 8, tzinfo=UTC), datetime(2026, 12, 20, 8, tzinfo=UTC)
    assert times(Timing(DAILY, start, end)) == ["Fri 18 09:00", "Sat 19 09:00"]
    assert times(Timing(Every(DAY), start, end)) == ["Fri 18 08:00", "Sat 19 08:00"]
    assert reckoning(Timing(DAILY, start, end)).next_after(end) is None


def test_runs_that_are_done_count_towards_the_most() -> None:
    timing = Timing(DAILY, max_runs=3)
    assert len(times(timing)) == 3
    assert len(list(reckoning(timing).occurrences(NOW, fired=1))) == 2
    assert list(reckoning(timing).occurrences(NOW, fired=3)) == []


def test_what_is_skipped_is_no_run() -> None:
    timing = Timing(DAILY, max_runs=3, calendars=uses("weekend"))
    assert times(timing, skipped=True) == [
        "Thu 17 09:00",
        "Fri 18 09:00",
        "(Sat 19 09:00)",
        "(Sun 20 09:00)",
        "Mon 21 09:00",
    ]


def test_an_end_is_looked_for_no_further_than_asked() -> None:
    until = NOW + 3 * DAY
    assert [one.time.day for one in reckoning(Timing(DAILY)).occurrences(NOW, until=until)] == [17, 18, 19]


@pytest.mark.parametrize(
    ("every", "after", "expected"),
    [
        (Every(90 * MINUTE), NOW, NOW + 90 * MINUTE),  # the anchor is when it was made, and that has passed
        (Every(90 * MINUTE, NOW + HOUR), NOW, NOW + HOUR),  # the anchor is a time of its own
        (Every(90 * MINUTE, NOW + HOUR), NOW + HOUR, NOW + HOUR + 90 * MINUTE),
        (Every(DAY, datetime(1970, 1, 1, tzinfo=UTC)), NOW + HOUR, NOW + DAY),
        (Every(timedelta(seconds=1), datetime(1970, 1, 1, tzinfo=UTC)), NOW, NOW + timedelta(seconds=1)),
        (Every(timedelta(milliseconds=1501), NOW), NOW + MINUTE, NOW + 40 * timedelta(milliseconds=1501)),
    ],
)
def test_an_interval_counts_from_its_anchor(every: Every, after: datetime, expected: datetime) -> None:
    assert only(Timing(every), after).time == expected


def test_an_interval_without_an_anchor_counts_from_the_schedules_start() -> None:
    start = NOW + 3 * DAY + MINUTE
    assert only(Timing(Every(HOUR), start), NOW).time == start


def test_an_interval_is_elapsed_time_also_where_clocks_change() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    found = reckoning(Timing(Every(DAY, before))).occurrences(before)
    assert [one.time - before for one in islice(found, 3)] == [DAY, 2 * DAY, 3 * DAY]


def test_excluded_times_are_skipped() -> None:
    timing = Timing(DAILY, calendars=uses("weekend", "christmas"))
    assert times(timing, 8) == [
        *("Thu 17 09:00", "Fri 18 09:00", "Mon 21 09:00", "Tue 22 09:00", "Wed 23 09:00", "Thu 24 09:00"),
        *("Tue 29 09:00", "Wed 30 09:00"),
    ]


def test_an_excluded_time_is_moved_to_the_next_day_that_no_calendar_excludes() -> None:
    payday = Timing(
        Cron(("0 9 25 * *",), "Europe/Berlin"), calendars=uses("weekend", "christmas", on=OnExcluded.NEXT_DAY)
    )
    found = only(payday, NOW)
    assert f"{found.local:%a %d %H:%M}" == "Tue 29 09:00"
    [note] = found.notes
    assert note == Excluded("christmas", datetime.fromisoformat("2026-12-25T09:00:00+01:00"), found.time)


def test_an_excluded_time_is_moved_to_the_day_before() -> None:
    payday = Timing(Cron(("0 9 L * *",), "Europe/Berlin"), calendars=uses("weekend", on=OnExcluded.PREVIOUS_DAY))
    assert times(payday, 3) == ["Thu 31 09:00", "Fri 29 09:00", "Fri 26 09:00"]  # of January the 31st, a Sunday
    # Where the day before has passed, so has the run.
    assert only(payday, datetime(2027, 1, 30, tzinfo=UTC)).time == datetime(2027, 2, 26, 8, tzinfo=UTC)


def test_what_lands_on_one_time_is_one_run_with_the_notes_of_all() -> None:
    timing = Timing(DAILY, calendars=uses("weekend", on=OnExcluded.NEXT_DAY))
    assert times(timing, 4) == ["Thu 17 09:00", "Fri 18 09:00", "Mon 21 09:00", "Tue 22 09:00"]
    monday = only(timing, datetime(2026, 12, 20, 12, tzinfo=UTC))
    assert [f"{note.time:%a}" for note in monday.notes if isinstance(note, Excluded)] == ["Sat", "Sun"]


def test_the_next_time_is_the_same_from_wherever_it_is_looked_for() -> None:
    for action in OnExcluded:
        timing = Timing(
            Cron(("15 3,20 * * *", "0 0 L * *"), "America/New_York"), calendars=uses("weekend", "christmas", on=action)
        )
        found = [one.time for one in islice(reckoning(timing).occurrences(NOW), 40)]
        assert found == sorted(set(found))
        for before, then in pairwise(found):
            assert only(timing, before).time == then
            assert only(timing, then - timedelta(seconds=1)).time == then


def test_a_month_without_a_day_to_run_on() -> None:
    """Moving looks 31 days ahead, and the calendar has all of December."""
    timing = Timing(DAILY, calendars=uses("december", on=OnExcluded.NEXT_DAY))
    found = list(islice(reckoning(timing).occurrences(NOW, skipped=True), 15))
    assert [one.local.day for one in found][:2] == [1, 2]
    assert f"{found[0].local:%Y-%m-%d}" == "2027-01-01"
    assert len([note for note in found[0].notes if isinstance(note, Excluded)]) == 31


def test_a_moved_time_keeps_its_time_of_day_where_clocks_change() -> None:
    saturday = Calendar(dates=frozenset({date(2026, 3, 28)}))
    timing = Timing(Cron(("30 2 28 3 *",), "Europe/Berlin"), calendars=(CalendarUse("x", OnExcluded.NEXT_DAY),))
    found = Reckoning(timing, created=NOW, calendars={"x": saturday}).next_after(datetime(2026, 3, 1, tzinfo=UTC))
    assert found is not None
    assert f"{found.local}" == "2026-03-29 03:00:00+02:00"
    assert [type(note) for note in found.notes] == [Excluded, DstGap]


def test_an_interval_is_moved_by_its_calendars_wall_clock() -> None:
    saturday = Calendar(weekdays=frozenset({5}), time_zone="Europe/Berlin")
    timing = Timing(
        Every(7 * DAY, datetime(2026, 3, 28, 8, tzinfo=UTC)), calendars=(CalendarUse("x", OnExcluded.NEXT_DAY),)
    )
    found = Reckoning(timing, created=NOW, calendars={"x": saturday}).next_after(datetime(2026, 3, 1, tzinfo=UTC))
    assert found is not None
    assert found.time == datetime(2026, 3, 29, 7, tzinfo=UTC)  # 09:00 on both days


def test_what_never_runs_for_calendars_ends() -> None:
    saturdays = Cron(("0 9 * * SAT",))
    assert reckoning(Timing(saturdays, calendars=uses("weekend"))).next_after(NOW) is None
    all_days = {"x": Calendar(weekdays=frozenset(range(7)))}
    for action in OnExcluded:
        timing = Timing(saturdays, calendars=(CalendarUse("x", action),))
        assert Reckoning(timing, created=NOW, calendars=all_days).next_after(NOW) is None


def test_a_minutes_rhythm_leaps_over_its_days_off() -> None:
    timing = Timing(Cron(("* * * * * *",)), calendars=uses("weekend"))
    assert only(timing, datetime(2026, 12, 18, 23, 59, 59, tzinfo=UTC)).time == datetime(2026, 12, 21, tzinfo=UTC)


def test_jitter_is_the_same_wherever_it_is_reckoned_and_leaves_the_time_as_it_is() -> None:
    timing = Timing(DAILY, jitter=timedelta(minutes=10))
    one, same = (list(islice(reckoning(timing).occurrences(NOW), 50)) for _ in range(2))
    other = list(islice(reckoning(timing, key="q/other").occurrences(NOW), 50))
    plain = list(islice(reckoning(Timing(DAILY)).occurrences(NOW), 50))
    assert one == same
    assert [x.time for x in one] == [x.time for x in other] == [x.time for x in plain]
    late = [x.due_time - x.time for x in one]
    assert late != [x.due_time - x.time for x in other]
    assert len(set(late)) > 40
    assert all(timedelta(0) <= by <= timedelta(minutes=10) for by in late)
    assert all(x.notes == (Jittered(x.due_time - x.time),) for x in one if x.due_time > x.time)
    assert [x.due_time for x in plain] == [x.time for x in plain]


def test_jitter_of_today_is_that_of_tomorrow() -> None:
    """Another hash would move what servers of two versions make of one schedule."""
    timing = Timing(DAILY, jitter=HOUR)
    assert only(timing, NOW).due_time == datetime(2026, 12, 17, 8, 29, 30, 42000, tzinfo=UTC)


def test_notes_say_what_clock_changes_do() -> None:
    fixed = Timing(Cron(("30 2 * * *",), "Europe/Berlin"))
    assert only(fixed, datetime(2026, 3, 29, tzinfo=UTC)).notes == (DstGap(datetime(2026, 3, 29, 2, 30)),)
    assert only(fixed, datetime(2026, 10, 25, tzinfo=UTC)).notes == (DstFold(),)
    assert only(fixed, NOW).notes == ()


def test_the_year_9999_ends_all() -> None:
    eve = datetime(9999, 12, 30, 12, tzinfo=UTC)
    for rule in (DAILY, Cron(("0 9 * * *",), "America/New_York"), Every(HOUR), Cron(("0 * * * *",), "Asia/Tokyo")):
        for calendars in ((), uses("weekend"), uses("weekend", on=OnExcluded.NEXT_DAY)):
            assert len(list(reckoning(Timing(rule, calendars=calendars), eve).occurrences(eve))) < 50


def test_what_is_excluded_for_fifty_years_is_looked_for_no_further() -> None:
    """Each 29 February that is a Sunday takes long to find, and there are 285 to the end of the calendar."""
    rare = Cron(("0 9 29 2 */7",))
    timing = Timing(rare, calendars=(*uses("weekend"), *uses("december", on=OnExcluded.NEXT_DAY)))
    found = reckoning(timing).occurrences(NOW, skipped=True)
    assert [(one.time.year, one.runs) for one in found] == [(2032, False), (2060, False), (2088, False)]
    assert reckoning(Timing(rare, calendars=uses("weekend"))).next_after(NOW) is None
    assert only(Timing(rare, calendars=uses("december")), NOW).time.year == 2032
