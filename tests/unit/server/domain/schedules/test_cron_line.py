"""What a line may say, and what is said of one that may not be."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.schedules.cron_line import MOST_CHARACTERS, WORDS, CronLine, WrongLine

JANUARY = datetime(2026, 1, 1)


def first(text: str, count: int = 2) -> list[str]:
    return [f"{wall:%Y-%m-%d %H:%M:%S}" for wall in islice(CronLine(text).walls(JANUARY), count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 L * *", ["2026-01-31 09:00:00", "2026-02-28 09:00:00"]),
        ("0 9 LW * *", ["2026-01-30 09:00:00", "2026-02-27 09:00:00"]),
        ("0 9 * * 5L", ["2026-01-30 09:00:00", "2026-02-27 09:00:00"]),
        ("0 9 * * friL", ["2026-01-30 09:00:00", "2026-02-27 09:00:00"]),
        ("0 9 * * MON#2", ["2026-01-12 09:00:00", "2026-02-09 09:00:00"]),
        ("0 9 * * 1#1,sunl", ["2026-01-05 09:00:00", "2026-01-25 09:00:00"]),
        ("0 9 * * 7", ["2026-01-04 09:00:00", "2026-01-11 09:00:00"]),
        ("0 9 1 * MON", ["2026-01-01 09:00:00", "2026-01-05 09:00:00"]),  # either day, as neither begins with *
        ("0 9 */2 * MON", ["2026-01-05 09:00:00", "2026-01-19 09:00:00"]),  # both, as one does
        ("*/20 0 9 * * *", ["2026-01-01 09:00:00", "2026-01-01 09:00:20"]),
        ("5/25 9 1 jan,MAR *", ["2026-01-01 09:05:00", "2026-01-01 09:30:00"]),
        ("  0 9 *  * * ", ["2026-01-01 09:00:00", "2026-01-02 09:00:00"]),
        ("@monthly", ["2026-02-01 00:00:00", "2026-03-01 00:00:00"]),
        (" @Weekly ", ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("0 0 29 2 */7", ["2032-02-29 00:00:00", "2060-02-29 00:00:00"]),
        ("0 0 * 2 MON#5", ["2044-02-29 00:00:00", "2072-02-29 00:00:00"]),
    ],
)
def test_what_fits(text: str, expected: list[str]) -> None:
    assert first(text) == expected


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("30 2 * * *", True),
        ("0-59 0-23 * * *", True),
        ("*/10 30 2 * * *", True),  # seconds do not count
        ("@daily", True),
        ("*/30 2 * * *", False),
        ("*,5 2 * * *", False),
        ("30 */2 * * *", False),
        ("0 30 * * * *", False),
        ("@hourly", False),
    ],
)
def test_fixed_lines_and_wildcard_lines(text: str, fixed: bool) -> None:
    assert CronLine(text).fixed is fixed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 fields, not 5 .minute hour day-of-month month day-of-week. or 6 .seconds first.; or write"),
        ("* * * *", "has 4 fields"),
        ("0 0 1 1 * * 2030", "has 7 fields.* A year, as Quartz has it, is not known here"),
        ("60 * * * *", "has '60' as its minute; allowed are 0 to 59, "),
        ("*/0 * * * *", "has '\\*/0' as its minute"),
        ("60 0 * * * *", "has '60' as its second"),
        ("0 24 * * *", "has '24' as its hour; allowed are 0 to 23"),
        ("0 0 0 * *", "has '0' as its day-of-month; allowed are 1 to 31, L .the last day."),
        ("0 0 L/2 * *", "has 'L/2' as its day-of-month"),
        ("0 0 15W * *", "has '15W' as its day-of-month.* W is known in LW only"),
        ("0 0 * 13 *", "has '13' as its month; allowed are 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", "has '8' as its day-of-week"),
        ("0 0 * * L", "has 'L' as its day-of-week"),
        ("0 0 * * MON#6", "has 'MON#6' as its day-of-week"),
        ("0 0 * * SAT-SUN", "has 'SAT-SUN' as its day-of-week.* from the end on it is a list: SAT,SUN"),
        ("0 0 ? * MON", "has '\\?' as its day-of-month.* for Quartz's \\? write \\*"),
        ("H 0 * * *", "has 'H' as its minute.* for Jenkins' H use `jitter`"),
        ("TZ=UTC 0 0 * * *", "begins with a setting; the zone has a field of its own, `time_zone`"),
        ("@reboot", "is '@reboot', which is none of @yearly, "),
        ("@every 5m", "is none of .* For an interval use `every`"),
        ("0 0 * * *\n", "has a line break"),
        ("0 0 * * *" + " " * MOST_CHARACTERS, "has 209 characters, at most 200 are allowed"),
        ("0 0 30 2 *", "never comes: no year has a day that fits '0 0 30 2 \\*'"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("* * */20 * 1L", "never comes"),
    ],
)
def test_what_is_said_of_a_wrong_line(text: str, said: str) -> None:
    with pytest.raises(WrongLine, match=said):
        CronLine(text)


TERMS = st.sampled_from(["*", "0", "1", "5", "7", "31", "59", "L", "LW", "5L", "MON", "sunl", "MON#2", "#", "JAN", "-"])
FIELDS = st.builds(
    "".join, st.lists(st.one_of(TERMS, st.sampled_from([",", "-", "/", "²", "W", "?", "99"])), max_size=5)
)
TEXTS = st.one_of(st.text(max_size=40), st.builds(" ".join, st.lists(FIELDS, min_size=4, max_size=7)))


@given(TEXTS)
def test_any_text_is_a_line_that_comes_or_refused_for_what_it_is(text: str) -> None:
    try:
        line = CronLine(text)
    except WrongLine:
        return
    walls = list(islice(line.walls(JANUARY), 3))
    assert walls
    assert walls == sorted(set(walls))


def test_a_line_is_reckoned_up_to_the_year_9999() -> None:
    line = CronLine("0 0 1 1 *")
    assert list(line.walls(datetime(9998, 6, 1))) == [datetime(9999, 1, 1)]
    assert {text: CronLine(text).fixed for text in WORDS}["@yearly"]
