"""Leased jobs as bytes, put together by hand.

Of all answers this is the one of which most are written: one a job that a worker runs. As a message a job costs 20 µs
or more to fill, its bytes 4: most of them are the same for all jobs of a claim, or are the store's own.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1 import job_pb2
from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.api import wire
from tocsin_server.api.answers.job import fill
from tocsin_server.api.lease_tokens import token_of
from tocsin_server.api.times import set_span, set_time
from tocsin_server.api.wire_fields import tag, varint
from tocsin_server.domain.conditions import NO_CONDITIONS
from tocsin_server.domain.job import Job, Terms, View
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.times import EPOCH

_Job = wire.shadow(job_pb2.Job)


_JOB = job_pb2.Job.DESCRIPTOR
_ID, _SPEC = tag(_JOB, "job_id"), tag(_JOB, "spec")
_CREATE, _SCHEDULE, _START = (tag(_JOB, f"{name}_time") for name in ("create", "schedule", "start"))
_PAYLOADS = {number: tag(job_pb2.JobSpec.DESCRIPTOR, name) for number, name in wire.PAYLOAD_FIELDS.items()}
_LEASED = pb.LeasedJob.DESCRIPTOR
_LEASED_JOB, _TOKEN, _LEASE_END, _LEASE = (tag(_LEASED, name) for name in ("job", "token", "lease_end", "lease"))


def leased_job(claimed: Claimed, lease: timedelta) -> bytes:
    """A tocsin.v1.LeasedJob."""
    job = claimed.job
    raw = _job(job)
    token = token_of(claimed.lease, job.spec.type)
    parts = [_LEASED_JOB, varint(len(raw)), raw, _TOKEN, varint(len(token)), token]
    if job.start_time is not None:
        parts += (_LEASE_END, _end_time(job.start_time, lease))
    parts += (_LEASE, _span(lease))
    return b"".join(parts)


def _job(job: Job) -> bytes:
    if job.errors or job.progress or job.cancel or job.spec.tags or job.start_time is None or job.fired:
        return _filled(job)
    if job.spec.conditions is not NO_CONDITIONS:
        return _filled(job)
    alike, spec_alike = _alike(job)
    job_id, payload = job.job_id.encode(), job.spec.payload
    spec = spec_alike
    if payload is not None:
        spec = b"".join((spec, _PAYLOADS[payload.kind], varint(len(payload.body)), payload.body))
    return b"".join(
        (
            _ID,
            varint(len(job_id)),
            job_id,
            _SPEC,
            varint(len(spec)),
            spec,
            _CREATE,
            _create_time(job.create_time),
            _SCHEDULE,
            _schedule_time(job.schedule_time),
            _START,
            _start_time(job.start_time),
            alike,
        )
    )


def _filled(job: Job) -> bytes:
    message = _Job()
    fill(message, job, View.FULL)
    return message.SerializeToString()


class _Alike:
    """What the jobs of a claim mostly share: a job without id, times and payload, and its spec. Of the last one it is
    kept."""

    __slots__ = ("_key", "_raw", "_terms")

    def __init__(self) -> None:
        self._terms: Terms | None = None
        self._key: tuple[object, ...] = ()
        self._raw = (b"", b"")

    def __call__(self, job: Job) -> tuple[bytes, bytes]:
        spec = job.spec
        key = (spec.queue, spec.type, spec.priority, job.attempt, job.failures, job.crashes, job.revision)
        if spec.terms is not self._terms or key != self._key:
            message = _Job()
            fill(message, job, View.BASIC)
            spec_raw = message.spec.SerializeToString()
            for name in ("spec", "job_id", "create_time", "schedule_time", "start_time"):
                message.ClearField(name)
            self._terms, self._key, self._raw = spec.terms, key, (message.SerializeToString(), spec_raw)
        return self._raw


_alike = _Alike()


class _Time:
    """A timestamp, with its length before it. Jobs of a claim have the same times, mostly: of the last one it is kept.
    Times are slow to hash."""

    __slots__ = ("_after", "_last", "_raw")

    def __init__(self) -> None:
        self._last = EPOCH
        self._after: timedelta | None = None
        self._raw = b"\0"

    def __call__(self, time: datetime, after: timedelta | None = None) -> bytes:
        """The time, or so long after it."""
        if time != self._last or after != self._after:
            message = Timestamp()
            set_time(message, time if after is None else time + after)
            raw = message.SerializeToString()
            self._last, self._after, self._raw = time, after, varint(len(raw)) + raw
        return self._raw


_create_time, _schedule_time, _start_time, _end_time = _Time(), _Time(), _Time(), _Time()


@lru_cache(64)
def _span(value: timedelta) -> bytes:
    message = Duration()
    set_span(message, value)
    raw = message.SerializeToString()
    return varint(len(raw)) + raw
