"""What is known of when a job runs, and why it does not."""

from __future__ import annotations

from datetime import datetime

from tocsin_server.domain.job import Job
from tocsin_server.domain.record import record


@record
class Outlook:
    """A job (View.BASIC) as claims see it at `now`, by the store's clock."""

    job: Job
    now: datetime
    paused_since: datetime | None  # of its queue; None: not paused
    lease_end: datetime | None = None  # of an ACTIVE one
    ahead: int | None = None  # due jobs of its queue and type that claims take before it; None: not due, or not counted
