"""Which days an .ics text has, and what is said of one that cannot be read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.schedules import ics
from tocsin_server.domain.schedules.days_off import DaysOff
from tocsin_server.domain.schedules.timing import Calendar

BERLIN = ZoneInfo("Europe/Berlin")


def text(*events: str, newline: str = "\r\n") -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//holidays//EN"]
    for event in events:
        lines += ["BEGIN:VEVENT", "UID:1", *event.split("|"), "END:VEVENT"]
    return newline.join([*lines, "END:VCALENDAR", ""])


def days(text: str, first: date, last: date) -> list[str]:
    """The days off from one day to another."""
    off = DaysOff(Calendar(ics=text), BERLIN)
    every = (first + timedelta(days=ahead) for ahead in range((last - first).days + 1))
    return [f"{day:%Y-%m-%d}" for day in every if off.has(day)]


def days_of(year: int, *events: str) -> list[str]:
    return days(text(*events), date(year, 1, 1), date(year, 12, 31))


@pytest.mark.parametrize(
    ("event", "year", "expected"),
    [
        ("DTSTART;VALUE=DATE:20261225", 2026, ["2026-12-25"]),
        ("DTSTART;VALUE=DATE:20261225", 2027, []),
        ("DTSTART;VALUE=DATE:20261224|DTEND;VALUE=DATE:20261227", 2026, ["2026-12-24", "2026-12-25", "2026-12-26"]),
        ("DTSTART:20261224|DURATION:P2D", 2026, ["2026-12-24", "2026-12-25"]),
        ("DTSTART:20261224|DURATION:P1W|STATUS:CANCELLED", 2026, []),
        ("DTSTART:20261231|DTEND:20270102", 2027, ["2027-01-01"]),
        ("DTSTART:20200101|RRULE:FREQ=YEARLY", 2030, ["2030-01-01"]),
        ("DTSTART:20200101|RRULE:FREQ=YEARLY", 2019, []),
        ("DTSTART:20201231|DTEND:20210102|RRULE:FREQ=YEARLY", 2030, ["2030-01-01", "2030-12-31"]),
        ("DTSTART:20200229|RRULE:FREQ=YEARLY", 2027, []),
        ("DTSTART:20200229|RRULE:FREQ=YEARLY", 2028, ["2028-02-29"]),
        ("DTSTART:20200501|RRULE:FREQ=YEARLY;INTERVAL=3", 2026, ["2026-05-01"]),
        ("DTSTART:20200501|RRULE:FREQ=YEARLY;INTERVAL=3", 2027, []),
        ("DTSTART:20200501|RRULE:FREQ=YEARLY;UNTIL=20260501", 2026, ["2026-05-01"]),
        ("DTSTART:20200501|RRULE:FREQ=YEARLY;UNTIL=20260430T215959Z", 2026, []),
        ("DTSTART:20200501|RRULE:FREQ=YEARLY;COUNT=7", 2026, ["2026-05-01"]),
        ("DTSTART:20200501|RRULE:FREQ=YEARLY;COUNT=6;WKST=MO", 2026, []),
        ("DTSTART:20201126|RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", 2026, ["2026-11-26"]),
        ("DTSTART:20200525|RRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO", 2026, ["2026-05-25"]),
        ("DTSTART:20200107|RRULE:FREQ=YEARLY;BYMONTH=1,7;BYMONTHDAY=7,-1", 2026, ["2026-01-07", "2026-01-31"]),
        ("DTSTART:20201103|RRULE:FREQ=YEARLY;BYMONTH=11;BYMONTHDAY=2,3,4,5,6,7,8;BYDAY=TU", 2026, ["2026-11-03"]),
        ("DTSTART:20200501|RRULE:FREQ=YEARLY|EXDATE:20260501", 2026, []),
        ("DTSTART:20260501|RDATE;VALUE=DATE:20260503,20260601", 2026, ["2026-05-01", "2026-05-03", "2026-06-01"]),
        # Hours of a day cover it, in the zone that is asked for.
        ("DTSTART:20260501T100000|DTEND:20260501T110000", 2026, ["2026-05-01"]),
        ("DTSTART:20260501T230000Z", 2026, ["2026-05-02"]),
        ("DTSTART;TZID=America/New_York:20260501T170000|DURATION:PT2H", 2026, ["2026-05-01", "2026-05-02"]),
        ("DTSTART:20260501T220000Z|DTEND:20260502T220000Z", 2026, ["2026-05-02"]),
    ],
)
def test_the_days_of_an_event(event: str, year: int, expected: list[str]) -> None:
    found = days_of(year, event)
    assert found[: len(expected) or None] == expected
    assert len(found) == len(expected) or "BYMONTH=1,7" in event


def test_what_is_no_property_of_an_event_is_left_out() -> None:
    alarm = "BEGIN:VALARM|DTSTART:20260101|END:VALARM"
    zone = "BEGIN:VTIMEZONE\r\nBEGIN:DAYLIGHT\r\nDTSTART:19810329T020000\r\nRRULE:FREQ=WEEKLY\r\nEND:DAYLIGHT\r\n"
    whole = text(f'DTSTART:20260501|SUMMARY:A\\, b: c|{alarm}|X-A;B="x;y:z":1')
    whole = whole.replace("VERSION:2.0", f"VERSION:2.0\r\n{zone}END:VTIMEZONE")
    assert days(whole, date(2026, 1, 1), date(2026, 12, 31)) == ["2026-05-01"]


def test_long_lines_are_continued_and_any_line_end_will_do() -> None:
    folded = text("DTSTART;VALUE=DA|RRULE:FREQ=YEAR").replace("DA\r\n", "DA\r\n TE:2026\r\n\t0501\r\n")
    folded = folded.replace("=YEAR\r\n", "=YEAR\r\n LY\r\n")
    for whole in (folded, folded.replace("\r\n", "\n"), "\ufeff" + folded):
        assert days(whole, date(2027, 1, 1), date(2027, 12, 31)) == ["2027-05-01"]


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        ("hello", "has no NAME:VALUE in line 1"),
        ("A:B", "is no calendar: line 1 stands before BEGIN:VCALENDAR"),
        ("BEGIN:VEVENT\nEND:VEVENT", "is no calendar: line 1 begins 'VEVENT'"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT", "ends before END:VEVENT"),
        ("BEGIN:VCALENDAR\nEND:VEVENT", "ends 'VEVENT' in line 2, which was not begun"),
        (text(), "has no event"),
        (text("SUMMARY:x"), "has an event without DTSTART, which ends in line 7"),
        (text("DTSTART:tomorrow"), "line 6: 'TOMORROW' is neither a date"),
        (text("DTSTART:20260230"), "line 6: '20260230' is neither a date"),
        (text("DTSTART;TZID=Mars/Base:20260501T100000"), "line 6: .* of a known zone"),
        (text("DTSTART:20260501|DTSTART:20260502"), "line 7: DTSTART stands there twice"),
        (text("DTSTART:20260501|DTEND:20260430"), "line 6: its event ends before it begins"),
        (text("DTSTART:20260501|DTEND:20260501T100000"), "line 7: DTEND is no date where DTSTART is one"),
        (text("DTSTART:20260501|DTEND:20280501"), "line 6: its event has 731 days, at most 366 are allowed"),
        (text("DTSTART:20260501|DURATION:P"), "line 7: 'P' is no DURATION"),
        (text("DTSTART:20260501|RRULE:FREQ=WEEKLY"), "line 7: FREQ=WEEKLY is not read, only YEARLY is"),
        (text("DTSTART:20260501|RRULE:FREQ=YEARLY;BYWEEKNO=3"), "line 7: BYWEEKNO of an RRULE is not read"),
        (text("DTSTART:20260501|RRULE:FREQ=YEARLY;BYDAY=4TH"), "BYDAY is read together with BYMONTH only"),
        (text("DTSTART:20260501|RRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=9TH"), "'9TH' is no BYDAY"),
        (text("DTSTART:20260501|RRULE:FREQ=YEARLY;BYMONTH=13"), "BYMONTH is '13', not 1 to 12"),
        (text("DTSTART:20260501|RRULE:FREQ=YEARLY;COUNT=0"), "COUNT is '0', not 1 to 200"),
        (text("DTSTART:20260501|RRULE:FREQ=YEARLY;INTERVAL="), "INTERVAL is '', not 1 to 1,000"),
        (text("DTSTART:20260501|RRULE:FREQ"), "'FREQ' is no part of an RRULE"),
        (text("DTSTART:20260501|RECURRENCE-ID:20260501"), "line 7: RECURRENCE-ID is not read"),
        (text(*["DTSTART:20260501"] * (ics.MOST_EVENTS + 1)), "has more than the 2,000 events"),
        (
            text("DTSTART:20260501|DTEND:20270501|RRULE:FREQ=YEARLY;BYMONTHDAY=1,2"),
            "events of more than 5,000 days",
        ),
        (text(*[f"DTSTART:2026{n % 12 + 1:02}01|RRULE:FREQ=YEARLY" for n in range(1001)]), "more than 1,000 of them"),
        (text(*[f"DTSTART:{2000 + n}0101|DTEND:{2001 + n}0101" for n in range(60)]), "more than the 20,000 days"),
        # The same days over and over: 366 times the work of the text's length.
        (text("DTSTART:20260101|DTEND:20261231|RDATE:" + ",".join(["20260101"] * 60)), "more than the 20,000 days"),
        (text("DTSTART:20260501|X:" + "é" * (ics.MOST_BYTES // 2)), "has 262,[0-9]+ bytes, at most 262,144"),
    ],
)
def test_what_is_said_of_a_text_that_cannot_be_read(whole: str, said: str) -> None:
    with pytest.raises(ics.UnreadCalendar, match=said):
        ics.read_ics(whole, BERLIN)


PARTS = st.sampled_from(
    "DTSTART DTEND RRULE EXDATE DURATION : ; = , VALUE=DATE TZID=Europe/Berlin FREQ YEARLY COUNT UNTIL BYDAY BYMONTH 1 "
    "-1MO 20260501 T000000Z 99991231 00010101 P1D DTEND:99991231 RRULE:FREQ=YEARLY; DURATION:P300D ;COUNT=5".split()
)
LINES = st.builds("".join, st.lists(PARTS, max_size=8))


@given(st.lists(LINES, max_size=5))
def test_any_event_is_read_or_refused_for_what_it_is(lines: list[str]) -> None:
    try:
        off = DaysOff(Calendar(ics=text("|".join(["DTSTART:20260501", *filter(None, lines)]))), BERLIN)
    except ics.UnreadCalendar:
        return
    off.has(date(2026, 5, 1))
    off.has(date(9999, 12, 31))
    off.has(date(1, 1, 1))


def test_a_29_february_that_ends_after_so_many_leap_years() -> None:
    whole = text("DTSTART:20200229|RRULE:FREQ=YEARLY;COUNT=3")
    assert days(whole, date(2020, 1, 1), date(2036, 12, 31)) == ["2020-02-29", "2024-02-29", "2028-02-29"]


def test_days_are_those_of_the_calendars_zone() -> None:
    late = datetime(2026, 12, 24, 23, 30, tzinfo=UTC)  # in Berlin it is the 25th
    christmas = Calendar(dates=frozenset({date(2026, 12, 25)}))
    assert DaysOff(christmas, BERLIN).exclude(late)
    assert not DaysOff(christmas, ZoneInfo("UTC")).exclude(late)
    assert not DaysOff(Calendar(christmas.dates, time_zone="America/New_York"), BERLIN).exclude(late)
