"""Jobs that ended, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from contract.builders import a_spec
from tocsin_server.domain.job import Job, JobError
from tocsin_server.domain.states import State

NOW = datetime(2026, 11, 24, 10, 17, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def an_ended(
    state: State = State.COMPLETED,
    *,
    type: str = "t",
    end: datetime = NOW,
    waited: timedelta = 20 * MS,
    ran: timedelta = 300 * MS,
    attempt: int = 1,
    errors: tuple[JobError, ...] = (),
    **fields: Any,
) -> Job:
    """A job that began `ran` before its end and was due `waited` before that."""
    start = end - ran
    plain = {"failures": 0, "crashes": 0, "revision": 1, "arrival": 1}
    times = {"create_time": start - waited, "schedule_time": start - waited, "start_time": start, "end_time": end}
    return Job("id", a_spec(type=type), state, attempt=attempt, errors=errors, **{**plain, **times, **fields})
