"""What can be asked of a standing job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain.job import Payload, Terms


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Cancel it: at once where it does not run, else by asking the attempt and giving it `grace`."""

    job_id: str
    reason: str
    by: str
    grace: timedelta


@dataclass(frozen=True, slots=True)
class UpdateJob:
    """Change what is not None."""

    job_id: str
    when: datetime | timedelta | None = None
    priority: int | None = None
    payload: Payload | None = None
    terms: Terms | None = None  # all of them, as they are to be
    revision: int | None = None  # refuse with RevisionMismatch unless the job has this revision


@dataclass(frozen=True, slots=True)
class RunJob:
    """Make it due now."""

    job_id: str


@dataclass(frozen=True, slots=True)
class RetryJob:
    """Make an ended job due now, failures and crashes counted anew."""

    job_id: str


Change = UpdateJob | RunJob | RetryJob
