"""Attempts, outcomes and heartbeats as messages of WorkerService."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.tracing import TraceContext
from tocsin.v1 import job_pb2
from tocsin.v1 import worker_service_pb2 as pb
from tocsin.worker.source import AttemptOutcome, Ending, Heartbeat, HeartbeatAnswer, LeasedJob

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Mapping[str, int] = {
    field.name: field.number for field in job_pb2.JobSpec.DESCRIPTOR.oneofs_by_name["payload"].fields
}


def leased_job(leased: pb.LeasedJob) -> LeasedJob:
    """The attempt that was sent."""
    job = leased.job
    spec = job.spec
    kind = spec.WhichOneof("payload")
    return LeasedJob(
        queue=job.queue,
        job_id=job.job_id,
        type=spec.type,
        attempt=job.attempt,
        token=leased.token,
        payload_kind=0 if kind is None else _KINDS[kind],
        payload_body=b"" if kind is None else getattr(spec, kind).SerializeToString(),
        create_time=_time(job.create_time),
        schedule_time=_time(job.schedule_time),
        timeout=spec.timeout.ToTimedelta() if spec.HasField("timeout") else None,
        failures=job.failures,
        crashes=job.crashes,
        priority=spec.priority,
        tags=dict(spec.tags),
        fired=job.HasField("nominal_time"),
        trace=_trace(spec.trace_context) if spec.HasField("trace_context") else None,
    )


class StoreTime:
    """What time it is for the store, by what its answers say: this machine's clock may be another."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def heard(self, leased: pb.LeasedJob) -> None:
        """A lease that was granted just now: when it ends, and how long that is from now."""
        if leased.HasField("lease_end") and leased.HasField("lease"):
            self._ahead = _time(leased.lease_end) - leased.lease.ToTimedelta() - _time_here()

    def now(self) -> datetime:
        """The store's now, about."""
        return _time_here() + self._ahead


def outcome_message(outcome: AttemptOutcome, clock: StoreTime) -> pb.Outcome:
    """How an attempt ended, to be sent."""
    message = pb.Outcome(token=outcome.job.token)
    if outcome.ending is Ending.COMPLETED:
        message.completed.SetInParent()
        if outcome.result is not None:
            message.completed.result.MergeFromString(outcome.result)
    elif outcome.ending is Ending.RELEASED:
        message.released.reason = outcome.reason or "given back unfinished"
    else:  # a process that died is told of as such by its error's type
        failed = message.failed
        failed.type = outcome.error_type
        failed.message = outcome.error_message
        failed.trace = outcome.error_trace
        failed.final = not outcome.retryable
        if outcome.retryable and outcome.retry_in is not None:
            failed.retry_at.FromDatetime(clock.now() + outcome.retry_in)
        if outcome.pause_limit and outcome.retry_in is not None:
            failed.pause_limit = outcome.pause_limit
            failed.pause_limit_until.FromDatetime(clock.now() + outcome.retry_in)
    return message


def heartbeat_message(beat: Heartbeat) -> pb.Heartbeat:
    """A heartbeat, to be sent."""
    message = pb.Heartbeat(token=beat.job.token)
    if beat.progress is not None:
        message.progress.fraction, message.progress.message = beat.progress
    for level, text in beat.log:
        message.log.add(level=level, text=text)
    return message


def stop_wish(wish: pb.StopWish) -> HeartbeatAnswer:
    """What an attempt should be told that was asked to stop."""
    grace = wish.grace.ToTimedelta() if wish.HasField("grace") else None
    return HeartbeatAnswer(cancel_reason=wish.reason, cancel_grace=grace)


def _trace(said: job_pb2.TraceContext) -> TraceContext:
    return TraceContext(said.traceparent, said.tracestate)


def _time(timestamp: Timestamp) -> datetime:
    # ToDatetime takes three times as long.
    return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)


def _time_here() -> datetime:
    return _EPOCH + timedelta(seconds=time.time())
