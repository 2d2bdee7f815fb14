"""The job of a schedule's time bears both in its id: `pay-day@2026-12-31T08:00:00Z`.

So nothing more is kept of such a job than that a schedule has made it: a caller may name a job just as he likes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_JOB_ID = re.compile(r"([A-Za-z0-9._-]{1,100})@(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{3})?Z)", re.ASCII)


def job_id_of(schedule_id: str, time: datetime) -> str:
    """The id of the job of a nominal time: with milliseconds where it has some."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S")
    if ms := time.microsecond // 1000:
        text += f".{ms:03}"
    return f"{schedule_id}@{text}Z"


def of_job_id(job_id: str) -> tuple[str, datetime] | None:
    """The schedule and the nominal time of such an id; None where it is none."""
    found = _JOB_ID.fullmatch(job_id)
    if found is None:
        return None
    try:
        return found[1], datetime.fromisoformat(found[2]).astimezone(UTC)
    except ValueError:  # the 30th of February
        return None
