"""What a job has been through, as the source wrote it down: attempts, errors, times, and what it returned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tocsin_server.domain.job import JobError, Progress
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.bull.dialect import Dialect
from tocsin_server.migrate.systems.bull.errors import errors_of
from tocsin_server.migrate.systems.bull.json_text import number_of, result_of
from tocsin_server.migrate.systems.bull.record import MOST_ATTEMPTS, Record

NO_PROGRESS = "its progress is no number from 0 to 100, and was dropped"
NO_REASON = "no reason was kept"


@dataclass(frozen=True, slots=True)
class History:
    """As a Job has it."""

    attempt: int
    failures: int
    errors: tuple[JobError, ...]
    progress: Progress | None
    result: bytes | None


def history_of(
    record: Record,
    state: State,
    dialect: Dialect,
    *,
    running: bool,
    created: datetime,
    ended: datetime | None,
    whys: list[str],
) -> History:
    """The history. running: an attempt was under way, which no list of failures knows of."""
    completed = state is State.COMPLETED
    failures = record.attempts_made
    if completed and dialect.counts_completion:
        failures = max(failures - 1, 0)
    failed_so_far = failures + record.stalls  # a stall is a run, and no failure
    least = 1 if state is State.FAILED else 0
    attempt = max(failed_so_far + (running or completed), record.attempts_started or 0, least)
    attempt = min(attempt, MOST_ATTEMPTS)
    last_time = ended or record.begun or created
    errors = errors_of(
        None if completed else record.reason,
        record.stacks,
        attempt=attempt - (running or completed),
        failures=0 if record.deferred is not None else failures,
        last_time=last_time,
        first_time=created,
        whys=whys,
    )
    if state is State.FAILED and not errors:
        errors = (JobError("Error", NO_REASON, "", last_time, attempt),)
    result, why = result_of(record.result) if completed else (None, None)
    if why:
        whys.append(why)
    return History(attempt, failures, errors, _progress(record, last_time, whys), result)


def _progress(record: Record, time: datetime, whys: list[str]) -> Progress | None:
    if record.progress is None or record.progress in (b"0", b"null"):
        return None
    percent = number_of(record.progress)
    if percent is None or not 0 <= percent <= 100:
        whys.append(NO_PROGRESS)
        return None
    return Progress(percent / 100, "", time)
