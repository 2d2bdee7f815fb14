"""The states of a job. Which calls each allows is decided by the stores, and stands as a table in
tests/contract/test_verbs_by_state.py; what a refusal then advises, in domain/job_errors.py."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a job is in its life. The numbers are those of tocsin.v1.Job.State and of stored records."""

    SCHEDULED = 1
    BLOCKED = 2
    WAITING = 3
    ACTIVE = 4
    COMPLETED = 5
    FAILED = 6
    CANCELLED = 7


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
PENDING = frozenset({State.SCHEDULED, State.BLOCKED, State.WAITING})
