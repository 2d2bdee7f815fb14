"""Commands: what can be asked of a standing job. What changed by them is told by events.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from tocsin_server.domain.job import Payload, Terms
from tocsin_server.domain.record import record


@record
class CancelJob:
    """Cancel it: at once where it does not run, else by asking the attempt and giving it `grace`."""

    job_id: str
    reason: str
    by: str
    grace: timedelta


@record
class UpdateJob:
    """Change what is not None."""

    job_id: str
    when: datetime | timedelta | None = None
    priority: int | None = None
    payload: Payload | None = None
    # Both or neither: all of them, as they are to be.
    terms: Terms | None = None
    tags: Mapping[str, str] | None = None
    revision: int | None = None  # refuse with RevisionMismatch unless the job has this revision


@record
class RunJob:
    """Make it due now."""

    job_id: str


@record
class RetryJob:
    """Make an ended job due now, failures and crashes counted anew."""

    job_id: str


@record
class HoldJob:
    """Let no attempt begin."""

    job_id: str


@record
class ReleaseJob:
    """Let a held job go."""

    job_id: str


Change = UpdateJob | RunJob | RetryJob | HoldJob | ReleaseJob
