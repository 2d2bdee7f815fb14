"""What a job gets where its spec is silent: its own word, its type's, its queue's, the server's, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from datetime import datetime, timedelta
from typing import TypeVar

from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.dependencies import ParentRequest
from tocsin_server.domain.job import Draft, JobSpec, OnConflict, Payload, Retention, Terms
from tocsin_server.domain.record import record
from tocsin_server.domain.retry import Backoff, RetryPolicy


@record
class PushTarget:
    """An HTTP address that due jobs are sent to."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_ref: str = ""  # name of the secret that signs requests; empty: none
    timeout: timedelta | None = None  # how long an answer may take; None: the default


@record
class JobDefaults:
    """One level's word. None: ask the next level."""

    max_attempts: int | None = None
    backoff: Backoff | None = None
    initial_delay: timedelta | None = None
    max_delay: timedelta | None = None
    jitter: float | None = None
    timeout: timedelta | None = None
    completed_for: timedelta | None = None
    failed_for: timedelta | None = None
    concurrency: int | None = None  # attempts of one type at once in each process; not a job's own word
    min_worker_version: str | None = None  # of who may be given such jobs; not a job's own word either
    push: PushTarget | None = None  # where they are sent instead; likewise

    def over(self, below: JobDefaults) -> JobDefaults:
        """This level's word, and `below`'s where this one is silent."""
        return JobDefaults(
            *(mine if (mine := getattr(self, f.name)) is not None else getattr(below, f.name) for f in fields(self))
        )


#: A level that has no word of its own.
UNSET = JobDefaults()

_RETRY = RetryPolicy()

#: What holds where nobody said anything else.
SERVER_DEFAULTS = JobDefaults(
    max_attempts=_RETRY.max_attempts,
    backoff=_RETRY.backoff,
    initial_delay=_RETRY.initial_delay,
    max_delay=_RETRY.max_delay,
    jitter=_RETRY.jitter,
    timeout=None,
    completed_for=timedelta(hours=24),
    failed_for=timedelta(days=30),
)


@record
class JobRequest:
    """A job as it was asked for, before defaults."""

    queue: str
    type: str
    payload: Payload | None = None
    priority: int = 0
    overrides: JobDefaults = UNSET  # its own word
    tags: Mapping[str, str] = field(default_factory=dict)
    job_id: str | None = None
    when: datetime | timedelta = timedelta(0)
    on_conflict: OnConflict = OnConflict.FAIL
    conditions: Conditions = NO_CONDITIONS
    parents: tuple[ParentRequest, ...] = ()  # whom it waits for; with them conditions.depends
    on_end: JobRequest | None = None  # what is to follow its end

    def draft(self, terms: Terms) -> Draft:
        """The job to add, with its gaps filled."""
        spec = JobSpec(self.queue, self.type, self.payload, self.priority, terms, self.tags, self.conditions)
        return Draft(spec, self.job_id, self.when, self.on_conflict)


@record
class TermsChange:
    """What is to change of a standing job's terms and tags."""

    overrides: JobDefaults = UNSET  # None: it stays
    no_timeout: bool = False
    tags: Mapping[str, str] | None = None  # None: they stay


_T = TypeVar("_T")


def _set(value: _T | None) -> _T:
    if value is None:
        raise AssertionError("the lowest level of defaults must be complete")
    return value


def terms(overrides: JobDefaults, below: JobDefaults) -> Terms:
    """What `overrides` says, and `below` where it is silent, which must be complete but for `timeout`.

    Where initial_delay and max_delay come from different levels and do not fit, the one that was asked for stands.
    """
    whole = below if overrides is UNSET else overrides.over(below)
    initial_delay, max_delay = _set(whole.initial_delay), _set(whole.max_delay)
    if overrides.max_delay is not None:
        initial_delay = min(initial_delay, max_delay)
    return Terms(
        RetryPolicy(
            _set(whole.max_attempts),
            _set(whole.backoff),
            initial_delay,
            max(max_delay, initial_delay),
            _set(whole.jitter),
        ),
        whole.timeout,
        Retention(_set(whole.completed_for), _set(whole.failed_for)),
    )


def changed_terms(standing: Terms, change: TermsChange) -> Terms:
    """The terms of a standing job with what is to change. Where the delays do not fit, the one asked for stands."""
    retry, retention = standing.retry, standing.retention
    below = JobDefaults(
        retry.max_attempts,
        retry.backoff,
        retry.initial_delay,
        retry.max_delay,
        retry.jitter,
        None if change.no_timeout else standing.timeout,
        retention.completed_for,
        retention.failed_for,
    )
    return terms(change.overrides, below)
