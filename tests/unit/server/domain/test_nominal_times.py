"""A job's id bears its schedule and nominal time, and nothing else is taken for one that does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.nominal_times import job_id_of, of_job_id

MILLISECOND = timedelta(milliseconds=1)
times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)


def test_the_id_says_both() -> None:
    time = datetime(2026, 12, 31, 8, tzinfo=UTC)
    assert job_id_of("pay-day", time) == "pay-day@2026-12-31T08:00:00Z"
    assert job_id_of("pay-day", time + MILLISECOND) == "pay-day@2026-12-31T08:00:00.001Z"


@given(st.from_regex(r"[A-Za-z0-9._-]{1,100}", fullmatch=True), times)
def test_what_is_written_is_read(schedule_id: str, time: datetime) -> None:
    assert of_job_id(job_id_of(schedule_id, time)) == (schedule_id, time)


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        "pay-day",
        "@2026-12-31T08:00:00Z",
        "a@2026-02-30T08:00:00Z",
        "a@2026-12-31T08:00:00",
        "a b@2026-12-31T08:00Z",
    ],
)
def test_other_ids_say_nothing(job_id: str) -> None:
    assert of_job_id(job_id) is None
