"""What a job gets where its spec is silent: its own word, its type's, its queue's, the server's, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from datetime import datetime, timedelta
from typing import TypeVar

from tocsin_server.domain.job import Draft, JobSpec, OnConflict, Payload, Retention, Terms
from tocsin_server.domain.record import record
from tocsin_server.domain.retry import Backoff, RetryPolicy


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

    def over(self, below: JobDefaults) -> JobDefaults:
        """This level's word, and `below`'s where this one is silent."""
        return JobDefaults(
            *(mine if (mine := getattr(self, f.name)) is not None else getattr(below, f.name) for f in fields(self))
        )


#: A level that has no word of its own.
NOTHING_SAID = JobDefaults()

#: What holds where nobody said anything else.
SERVER_DEFAULTS = JobDefaults(
    max_attempts=3,
    backoff=Backoff.EXPONENTIAL,
    initial_delay=timedelta(seconds=2),
    max_delay=timedelta(hours=1),
    jitter=0.2,
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
    asked: JobDefaults = NOTHING_SAID
    tags: Mapping[str, str] = field(default_factory=dict)
    job_id: str | None = None
    when: datetime | timedelta = timedelta(0)
    on_conflict: OnConflict = OnConflict.FAIL


@record
class TermsAsked:
    """What is to change of a standing job's terms."""

    said: JobDefaults = NOTHING_SAID  # None: it stays
    no_timeout: bool = False
    tags: Mapping[str, str] | None = None  # None: they stay


_T = TypeVar("_T")


def _said(value: _T | None) -> _T:
    if value is None:
        raise AssertionError("the lowest level of defaults must be complete")
    return value


def draft(request: JobRequest, below: JobDefaults) -> Draft:
    """The request with its gaps filled from `below`, which must be complete but for `timeout` (SERVER_DEFAULTS is).

    Where initial_delay and max_delay come from different levels and do not fit, the one that was asked for stands.
    """
    # The common case, a request that asks for nothing special, shares one set of values.
    said = below if request.asked == NOTHING_SAID else request.asked.over(below)
    spec = JobSpec(
        queue=request.queue,
        type=request.type,
        payload=request.payload,
        priority=request.priority,
        retry=_policy(request.asked, said),
        timeout=said.timeout,
        retention=Retention(_said(said.completed_for), _said(said.failed_for)),
        tags=request.tags,
    )
    return Draft(spec, request.job_id, request.when, request.on_conflict)


def changed_terms(spec: JobSpec, asked: TermsAsked) -> Terms:
    """The terms of a standing job's spec with what is asked. Where the delays do not fit, the one asked for stands."""
    retry, retention = spec.retry, spec.retention
    standing = JobDefaults(
        retry.max_attempts,
        retry.backoff,
        retry.initial_delay,
        retry.max_delay,
        retry.jitter,
        None if asked.no_timeout else spec.timeout,
        retention.completed_for,
        retention.failed_for,
    )
    said = asked.said.over(standing)
    return Terms(
        retry=_policy(asked.said, said),
        timeout=said.timeout,
        retention=Retention(_said(said.completed_for), _said(said.failed_for)),
        tags=spec.tags if asked.tags is None else asked.tags,
    )


def _policy(asked: JobDefaults, said: JobDefaults) -> RetryPolicy:
    """The policy that `said` holds, of which `asked` was asked for."""
    initial_delay, max_delay = _said(said.initial_delay), _said(said.max_delay)
    if asked.max_delay is not None:
        initial_delay = min(initial_delay, max_delay)
    return RetryPolicy(
        _said(said.max_attempts),
        _said(said.backoff),
        initial_delay,
        max(max_delay, initial_delay),
        _said(said.jitter),
    )
