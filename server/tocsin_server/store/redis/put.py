"""A whole job as put.lua reads it: the record that it will have, and what stands beside a record (lua/lib/job.lua)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tocsin_server.domain.job import Cancel, Job, JobError
from tocsin_server.domain.states import PENDING
from tocsin_server.domain.times import time_to_ms, to_ms
from tocsin_server.store.put import kept_errors
from tocsin_server.store.redis.parent_records import parents_bytes
from tocsin_server.store.redis.records import (
    CANCEL_ASKED,
    FIRED,
    HAS_EXTRAS,
    HEADER,
    PUT_BY,
    conditions_flag,
    error_bytes,
    id_bytes,
    payload_bytes,
    progress_bytes,
    rest_bytes,
    retention_flag,
    six_bytes,
)

_NO_TOKEN = bytes(8)


def put_arguments(job: Job) -> tuple[bytes, bytes, bytes, bytes]:
    """The arrival that it had, its meta and id, the payload, and its extras."""
    spec, extras = job.spec, b"".join(_extra(field, value) for field, value in extras_of(job))
    rest = rest_bytes(spec)
    header = HEADER.pack(
        job.state + (job.held and job.state in PENDING) * PUT_BY,
        (job.cancel is not None) * CANCEL_ASKED
        | bool(extras) * HAS_EXTRAS
        | retention_flag(spec.terms)
        | job.fired * FIRED
        | conditions_flag(spec),
        spec.priority,
        job.attempt,
        job.failures,
        job.crashes,
        job.revision,
        six_bytes(time_to_ms(job.create_time)),
        _some_time(job.schedule_time),
        _some_time(job.start_time),
        _some_time(job.end_time),
        _NO_TOKEN,
        len(rest),
    )
    if job.parents:
        extras += _extra(b"D", parents_bytes(job.parents))
    return six_bytes(job.arrival), header + rest + id_bytes(job.job_id), payload_bytes(spec.payload), extras


def _some_time(time: datetime | None) -> bytes:
    """A time of which 0 says that there is none: the first of all times is kept as the next one."""
    return six_bytes(0 if time is None else max(1, time_to_ms(time)))


def extras_of(job: Job) -> Iterator[tuple[bytes, bytes]]:
    """What stands beside the job's record, by field (lua/lib/job.lua)."""
    if job.errors:
        yield b"e", b"".join(map(_error, kept_errors(job)))
    if job.progress is not None and job.progress.update_time is not None:
        said = progress_bytes(job.progress.fraction, job.progress.message)
        yield b"p", six_bytes(time_to_ms(job.progress.update_time)) + said
    if job.result is not None:
        yield b"r", job.result
    if job.cancel is not None:
        yield b"c", _cancel(job.cancel)


def _extra(field: bytes, value: bytes) -> bytes:
    return field + len(value).to_bytes(4, "big") + value


def _error(error: JobError) -> bytes:
    ms = 0 if error.time is None else time_to_ms(error.time)
    one = six_bytes(ms) + error.attempt.to_bytes(4, "big") + error_bytes(error)
    return len(one).to_bytes(4, "big") + one


def _cancel(cancel: Cancel) -> bytes:
    reason, by = cancel.reason.encode(errors="replace"), cancel.by.encode(errors="replace")
    times = six_bytes(time_to_ms(cancel.ask_time)), _some_time(cancel.deliver_time), _some_time(cancel.obey_time)
    return b"".join((*times, six_bytes(to_ms(cancel.grace)), len(reason).to_bytes(2, "big"), reason, by))
