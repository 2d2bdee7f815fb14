"""Times in the zone of those who read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.time_zones import UnknownZone
from tocsin_server.handlers.reminders.showing import moment

ZONES = (
    *("UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati"),
    *("America/St_Johns", "Africa/Monrovia", "Etc/GMT+12"),
)

NOW = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "zone", "shown"),
    [
        (datetime(2026, 12, 24, 17, 0), "Europe/Berlin", "Thursday, 24 December 2026 18:00 CET"),
        (datetime(2026, 7, 1, 22, 30), "Europe/Berlin", "Thursday, 2 July 2026 00:30 CEST"),
        (datetime(2026, 3, 29, 0, 59), "Europe/Berlin", "Sunday, 29 March 2026 01:59 CET"),
        (datetime(2026, 3, 29, 1, 0), "Europe/Berlin", "Sunday, 29 March 2026 03:00 CEST"),
        (datetime(2026, 1, 1, 0, 0), "America/New_York", "Wednesday, 31 December 2025 19:00 EST"),
        (datetime(2026, 1, 1, 0, 0), "Asia/Kathmandu", "Thursday, 1 January 2026 05:45 UTC+05:45"),
        (datetime(2026, 1, 1, 0, 0), "America/Sao_Paulo", "Wednesday, 31 December 2025 21:00 UTC-03:00"),
        (datetime(2026, 1, 1, 0, 0), "", "Thursday, 1 January 2026 00:00 UTC"),
        (datetime(9999, 12, 31, 23, 0), "Pacific/Kiritimati", "Friday, 31 December 9999 23:00 UTC"),
    ],
)
def test_a_time_is_shown_in_its_zone(time: datetime, zone: str, shown: str) -> None:
    found = moment(time.replace(tzinfo=UTC), zone, NOW)
    assert f"{found.date} {found.time} {found.zone}" == shown


def test_templates_find_the_time_in_parts() -> None:
    found = moment(datetime(2026, 12, 4, 17, 5, tzinfo=UTC), "Europe/Berlin", NOW)
    assert (found.short_date, found.time, found.zone_name) == ("Fri 4 Dec 2026", "18:05", "Europe/Berlin")
    assert found.iso == "2026-12-04T18:05:00+01:00"


def test_a_zone_that_is_none_is_told() -> None:
    with pytest.raises(UnknownZone):
        moment(datetime(2026, 1, 1, tzinfo=UTC), "Mars/Base", NOW)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59)), st.sampled_from(ZONES))
def test_every_time_can_be_shown_and_is_the_same_one(time: datetime, zone: str) -> None:
    assert moment(time.replace(tzinfo=UTC), zone, NOW).local == time.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("2026-12-10T17:00:00", "in 14 days"),
        ("2026-12-09T17:00:00", ""),
        ("2026-12-17T17:00:01", "in 7 days"),
        ("2026-12-23T17:00:00", "tomorrow"),
        ("2026-12-23T17:00:04", "tomorrow"),
        ("2026-12-22T23:30:00", "tomorrow"),  # in Berlin it is the 23rd by then
        ("2026-12-24T00:00:00", "today"),
        ("2026-12-24T05:00:00", "in 12 hours"),
        ("2026-12-24T16:00:00", "in 1 hour"),
        ("2026-12-24T16:00:02", "in 1 hour"),
        ("2026-12-24T15:15:00", "today"),
        ("2026-12-24T16:45:01", "in 15 minutes"),
        ("2026-12-24T16:59:30", "in 1 minute"),
        ("2026-12-24T17:00:00", "today"),
        ("2026-12-25T17:00:00", "yesterday"),
        ("2026-12-27T17:00:00", "3 days ago"),
    ],
)
def test_a_time_is_told_as_seen_from_when_it_is_sent(sent: str, said: str) -> None:
    time = datetime(2026, 12, 24, 17, 0, tzinfo=UTC)
    assert moment(time, "Europe/Berlin", datetime.fromisoformat(sent + "+00:00")).relative == said


def test_a_day_without_an_hour_is_a_day_all_the_same() -> None:
    start = datetime(2026, 3, 29, 8, 0, tzinfo=UTC)  # 23 hours after the same time of the day before
    assert moment(start, "Europe/Berlin", datetime(2026, 3, 28, 9, 0, tzinfo=UTC)).relative == "tomorrow"
