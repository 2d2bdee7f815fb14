"""Records that move between stores, to proto and back. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from dataclasses import replace

from tocsin.v1 import job_pb2, transfer_pb2

from tocsin_server.api.convert.job import fill, to_asked
from tocsin_server.api.convert.queue import fill_queue, to_settings
from tocsin_server.api.convert.times import set_time, to_span, to_time
from tocsin_server.api.validation.payloads.checking import BUILT_IN_TYPES
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS, terms
from tocsin_server.domain.job import Cancel, Job, JobError, JobSpec, Payload, Progress, View
from tocsin_server.domain.states import State
from tocsin_server.operations.transfer.records import NoteRecord, QueueRecord, Record
from tocsin_server.store.interface import StoredNote


def fill_record(target: transfer_pb2.TransferRecord, record: Record) -> None:
    """Write a record into `target`, which is empty."""
    if isinstance(record, Job):
        _fill_job(target.job, record)
    elif isinstance(record, QueueRecord):
        fill_queue(target.queue.queue, record.queue, record.settings)
    else:
        note = record.note
        target.note.queue, target.note.key, target.note.value = record.queue, note.key, note.value
        set_time(target.note.until, note.until)


def _fill_job(target: transfer_pb2.JobRecord, job: Job) -> None:
    payload, result = job.spec.payload, job.result
    fill(target.job, replace(job, spec=replace(job.spec, payload=None), result=None), View.FULL)
    if payload is not None:
        target.payload_field, target.payload = payload.kind, payload.body
    if result is not None:
        target.result = result
    target.arrival = job.arrival


def to_record(record: transfer_pb2.TransferRecord) -> Record:
    """A record that was checked."""
    if record.HasField("job"):
        return _to_job(record.job)
    if record.HasField("queue"):
        return QueueRecord(record.queue.queue.queue, to_settings(record.queue.queue))
    note = record.note
    stored = StoredNote(note.key, note.value, revision=0, until=to_time(note.until))
    return NoteRecord(note.queue or limits.DEFAULT_QUEUE, stored)


def _to_job(record: transfer_pb2.JobRecord) -> Job:
    job = record.job
    return Job(
        job_id=job.job_id,
        spec=_to_spec(record),
        state=State(job.state),
        create_time=to_time(job.create_time),
        schedule_time=to_time(job.schedule_time),
        start_time=to_time(job.start_time) if job.HasField("start_time") else None,
        end_time=to_time(job.end_time) if job.HasField("end_time") else None,
        attempt=job.attempt,
        failures=job.failures,
        crashes=job.crashes,
        revision=job.revision or 1,
        arrival=record.arrival,
        errors=tuple(_to_error(error) for error in job.errors),
        progress=_to_progress(job.progress) if job.HasField("progress") else None,
        result=record.result if record.HasField("result") else None,
        cancel=_to_cancel(job.cancel) if job.HasField("cancel") else None,
    )


def _to_spec(record: transfer_pb2.JobRecord) -> JobSpec:
    spec, kind = record.job.spec, record.payload_field
    return JobSpec(
        queue=record.job.queue or limits.DEFAULT_QUEUE,
        type=spec.type or BUILT_IN_TYPES.get(kind, ""),
        payload=Payload(kind, record.payload) if kind else None,
        priority=spec.priority,
        terms=terms(to_asked(spec), SERVER_DEFAULTS),
        tags=dict(spec.tags),
    )


def _to_error(error: job_pb2.JobError) -> JobError:
    return JobError(error.type, error.message, error.trace, to_time(error.time), error.attempt)


def _to_progress(progress: job_pb2.Progress) -> Progress:
    return Progress(progress.fraction, progress.message, to_time(progress.update_time))


def _to_cancel(cancel: job_pb2.Cancel) -> Cancel:
    return Cancel(
        reason=cancel.reason,
        by="",  # whoever imports could name anybody
        grace=to_span(cancel.grace) if cancel.HasField("grace") else limits.DEFAULT_GRACE,
        ask_time=to_time(cancel.ask_time),
        deliver_time=to_time(cancel.deliver_time) if cancel.HasField("deliver_time") else None,
        obey_time=to_time(cancel.obey_time) if cancel.HasField("obey_time") else None,
    )
