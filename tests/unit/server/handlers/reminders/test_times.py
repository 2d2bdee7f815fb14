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
    found = moment(time.replace(tzinfo=UTC), zone)
    assert f"{found.date} {found.time} {found.zone}" == shown


def test_templates_find_the_time_in_parts() -> None:
    found = moment(datetime(2026, 12, 4, 17, 5, tzinfo=UTC), "Europe/Berlin")
    assert (found.short_date, found.time, found.zone_name) == ("Fri 4 Dec 2026", "18:05", "Europe/Berlin")
    assert found.iso == "2026-12-04T18:05:00+01:00"


def test_a_zone_that_is_none_is_told() -> None:
    with pytest.raises(UnknownZone):
        moment(datetime(2026, 1, 1, tzinfo=UTC), "Mars/Base")


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59)), st.sampled_from(ZONES))
def test_every_time_can_be_shown_and_is_the_same_one(time: datetime, zone: str) -> None:
    assert moment(time.replace(tzinfo=UTC), zone).local == time.replace(tzinfo=UTC)
