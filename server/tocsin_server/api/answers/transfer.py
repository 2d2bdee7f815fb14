"""Records that move between stores, and what an import did. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

from tocsin.v1 import transfer_pb2 as pb

from tocsin_server.api import wire
from tocsin_server.api.answers.calendars import calendar_message
from tocsin_server.api.answers.job import fill
from tocsin_server.api.answers.kept_schedules import written
from tocsin_server.api.answers.queue import fill_queue
from tocsin_server.api.errors import ITEM_STATUS_BYTES, to_status
from tocsin_server.api.sized import AnswerRoom
from tocsin_server.api.times import set_time
from tocsin_server.domain.job import Job, Put, View
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.operations.transfer.importing import Imported
from tocsin_server.operations.transfer.records import QueueRecord, Record
from tocsin_server.store.sealed_store import RecordSealer

_Record = wire.shadow(pb.TransferRecord)
_ExportJobsResponse = wire.shadow(pb.ExportJobsResponse)
_ImportJobsResponse = wire.shadow(pb.ImportJobsResponse)


async def exported(
    batches: AsyncIterator[Sequence[Record]], sealer: RecordSealer | None
) -> AsyncGenerator[pb.ExportJobsResponse, None]:
    """Answers with the records, none of them over the limit of an answer; encrypted where there is a sealer."""
    async for records in batches:
        answer, room = _ExportJobsResponse(), AnswerRoom(beside=0)
        for record in records:
            message = _Record()
            fill_record(message, record)
            if sealer is not None:
                message = _sealed(message, _queue_of(record), sealer)
            if not room.takes(message):
                yield answer
                answer, room = _ExportJobsResponse(), AnswerRoom(beside=0)
                room.takes(message)
            answer.records.append(message)
        yield answer


def _queue_of(record: Record) -> str:
    """Empty of a calendar, which is of no queue."""
    if isinstance(record, KeptCalendar):
        return ""
    return record.spec.queue if isinstance(record, Job | Schedule) else record.queue


def _sealed(message: pb.TransferRecord, queue: str, sealer: RecordSealer) -> pb.TransferRecord:
    target = _Record()
    kind = _Record.DESCRIPTOR.fields_by_name[str(message.WhichOneof("record"))].number
    target.sealed.queue, target.sealed.record_field = queue, kind
    target.sealed.record, target.sealed.key_id = sealer.seal(queue, kind, message.SerializeToString())
    return target


def fill_record(target: pb.TransferRecord, record: Record) -> None:
    """Write a record into `target`, which is empty."""
    if isinstance(record, Job):
        _fill_job(target.job, record)
    elif isinstance(record, QueueRecord):
        fill_queue(target.queue.queue, record.queue, record.settings)
    elif isinstance(record, Schedule):
        _fill_schedule(target.schedule, record)
    elif isinstance(record, KeptCalendar):
        # A calendar is no shadow message.
        target.calendar.calendar.MergeFromString(calendar_message(record).SerializeToString())
    else:
        note = record.note
        target.note.queue, target.note.key, target.note.value = record.queue, note.key, note.value
        set_time(target.note.until, note.until)


def _fill_job(target: pb.JobRecord, job: Job) -> None:
    payload, result = job.spec.payload, job.result
    fill(target.job, replace(job, spec=replace(job.spec, payload=None), result=None), View.FULL)
    if payload is not None:
        target.payload_field, target.payload = payload.kind, payload.body
    if result is not None:
        target.result = result
    target.arrival = job.arrival


def _fill_schedule(target: pb.ScheduleRecord, schedule: Schedule) -> None:
    spec, payload = schedule.spec, schedule.spec.job.payload
    target.schedule.CopyFrom(written(replace(schedule, spec=replace(spec, job=replace(spec.job, payload=None)))))
    if schedule.next_time is not None and not spec.paused:
        set_time(target.schedule.next_times.add(), schedule.next_time)
    if payload is not None:
        target.payload_field, target.payload = payload.kind, payload.body


def imported(done: Imported) -> pb.ImportJobsResponse:
    """What an import did."""
    target = _ImportJobsResponse()
    target.created, target.kept = done.counts[Put.CREATED], done.counts[Put.KEPT]
    target.same, target.replaced = done.counts[Put.SAME], done.counts[Put.REPLACED]
    target.refused, target.released = done.refused, done.released
    for refusal in done.refusals:
        refused = target.refused_items.add(index=refusal.index, queue=refusal.queue, job_id=refusal.job_id)
        # google.rpc.Status is another class in the shadow messages' pool.
        refused.error.MergeFromString(to_status(refusal.error, most_bytes=ITEM_STATUS_BYTES).SerializeToString())
    return target
