"""Requests to export and import. Each record is read by itself; paths begin with `at`, e.g. "records[3]"."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1 import job_pb2, job_service_pb2
from tocsin.v1 import transfer_pb2 as pb

from tocsin_server.api import wire
from tocsin_server.api.aside import each_aside
from tocsin_server.api.permissions import check_all_queues, check_request
from tocsin_server.api.reading import read
from tocsin_server.api.requests.bulk_actions import brought_payload
from tocsin_server.api.requests.conditions import check_conditions, to_conditions
from tocsin_server.api.requests.dependencies import check_kept, kept_on_end, kept_parents
from tocsin_server.api.requests.jobs import STATES, queue_of
from tocsin_server.api.requests.payloads.checking import BUILT_IN_TYPES, check_payload
from tocsin_server.api.requests.queues import check_settings, to_settings
from tocsin_server.api.requests.schedule_jobs import RESERVED, check_terms, check_type, overrides
from tocsin_server.api.requests.transferred_schedules import calendar_record, schedule_record
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.defaults import SERVER_DEFAULTS, terms
from tocsin_server.domain.errors import CannotDecrypt, InvalidFields, TocsinError, TooLarge, Violation
from tocsin_server.domain.job import Cancel, Job, JobError, JobSpec, Payload, Progress
from tocsin_server.domain.nominal_times import of_job_id
from tocsin_server.domain.reminders import TAG, reserved_for
from tocsin_server.domain.states import ENDED, PENDING, State
from tocsin_server.operations.reminders.notes import names_set, set_in
from tocsin_server.operations.transfer.importing import Item
from tocsin_server.operations.transfer.records import NoteRecord, QueueRecord, Record
from tocsin_server.security.principals import Principal
from tocsin_server.store.interface import StoredNote
from tocsin_server.store.sealed_store import RecordSealer

_Record = wire.shadow(pb.TransferRecord)
_ListJobsResponse = wire.shadow(job_service_pb2.ListJobsResponse)
_OVER = {int(number): name for name, number in pb.ImportJobsRequest.Over.items()}
# What stands has its defaults filled in, so it may have some bytes more than what was scheduled.
_FILLED_IN = 1_024
# Records checked and put in place at once. While they are checked, some tens of microseconds each, no call is served.
_AT_ONCE = 200


def export_jobs(request: pb.ExportJobsRequest) -> Sequence[str]:
    """Which queues to export."""
    wrong = Violations()
    if wrong.count("queues", request.queues, limits.EXPORT_QUEUES):
        for i, queue in enumerate(request.queues):
            wrong.name(f"queues[{i}]", queue)
    wrong.done()
    return request.queues


async def slices(
    requests: AsyncIterator[pb.ImportJobsRequest], sealer: RecordSealer | None, principal: Principal | None = None
) -> AsyncGenerator[tuple[bool, Sequence[Item]], None]:
    """What a stream of requests brings; each slice with whether it goes over what stands. `sealer` decrypts records
    that were exported encrypted. `principal`: whose requests they are, all of it that is in the clear checked.

    NotAllowed, before anything of that request is given, where an encrypted record holds what may not be brought."""
    said: int | None = None
    index = 0
    async for request in requests:
        index = request.first_index if said is None else index
        said = _over(request, said)
        over = said == pb.ImportJobsRequest.REPLACE
        raws: Sequence[bytes] = request.records  # type: ignore[assignment]  # bytes in the shadow message
        if principal is not None and sealer is not None and not principal.unrestricted:
            await each_aside(sum(map(len, raws)), raws, partial(_check_sealed, sealer, principal))
        for start in range(0, len(raws), _AT_ONCE):
            some = [(index + i, raw) for i, raw in enumerate(raws[start : start + _AT_ONCE])]
            yield over, await each_aside(sum(len(raw) for _, raw in some), some, partial(_item, sealer, principal))
            index += len(some)


def _over(request: pb.ImportJobsRequest, said: int | None) -> int:
    """All of a request but its records; `said` is what an earlier one of the stream said of `over`. What holds now."""
    wrong = Violations()
    wrong.enum("over", request.over, _OVER)
    wrong.count("records", request.records, limits.IMPORT_RECORDS)
    if said is not None and request.over not in (pb.ImportJobsRequest.OVER_UNSPECIFIED, said):
        wrong.add("over", f"is {_OVER.get(request.over, request.over)}, and an earlier request said {_OVER[said]}")
    wrong.number("first_index", request.first_index, 0, 1 << 53)
    wrong.done()
    return said or request.over or pb.ImportJobsRequest.KEEP


def _check_sealed(sealer: RecordSealer, principal: Principal, raw: bytes) -> None:
    """NotAllowed. One that cannot be read or opened is refused by itself, when it is its turn."""
    try:
        message = read(pb.TransferRecord, _Record, raw)
        if message.HasField("sealed"):
            check_request(principal, pb.TransferRecord, _opened(message.sealed, sealer))
    except (InvalidFields, CannotDecrypt, DecodeError):
        return


def _item(sealer: RecordSealer | None, principal: Principal | None, indexed: tuple[int, bytes]) -> Item:
    index, raw = indexed
    at = f"records[{index}]"
    queue, job_id = "", ""
    try:
        message = read(pb.TransferRecord, _Record, raw)
        queue, job_id = _names(message)
        if message.HasField("sealed"):
            message = read(pb.TransferRecord, _Record, _opened(message.sealed, sealer))
            queue, job_id = _names(message)
    except InvalidFields as refusal:
        return Item(index, queue, "", _within(at, refusal))
    except CannotDecrypt as refusal:
        return Item(index, queue, "", refusal)
    bringer = "" if principal is None else principal.name
    try:
        if message.HasField("calendar"):
            check_all_queues(principal)
        _check_record(at, message)
        return Item(index, queue, job_id, _to_record(at, message, bringer))
    except TocsinError as refusal:
        return Item(index, queue, job_id, refusal)


def _opened(record: pb.SealedRecord, sealer: RecordSealer | None) -> bytes:
    """CannotDecrypt."""
    if sealer is None:
        raise CannotDecrypt(
            record.queue[: limits.NAME_CHARACTERS],
            "",
            "record",
            "it was exported encrypted, and this server has no key ring: name a copy of the exporting server's in "
            "encryption.keyring_file, or export it with --decrypt",
        )
    return sealer.open(record.queue, record.record_field, record.record)


def _within(at: str, refusal: InvalidFields) -> InvalidFields:
    return InvalidFields(
        [Violation(at if v.field == "request" else f"{at}.{v.field}", v.description) for v in refusal.violations]
    )


def _names(record: pb.TransferRecord) -> tuple[str, str]:
    """Queue and job of a record that may say anything."""
    job_id = ""
    match record.WhichOneof("record"):
        case "sealed":
            return record.sealed.queue[: limits.NAME_CHARACTERS], ""
        case "job":
            queue, job_id = record.job.job.queue, record.job.job.job_id
        case "queue":
            queue = record.queue.queue.queue
        case "schedule":
            queue = record.schedule.schedule.queue
        case "calendar":  # of no queue: whoever brings it is told of it, whichever are theirs
            return "", ""
        case _:
            queue = record.note.queue
    return (queue or limits.DEFAULT_QUEUE)[: limits.NAME_CHARACTERS], job_id[: limits.JOB_ID_CHARACTERS]


def _check_record(at: str, record: pb.TransferRecord) -> None:
    """One record, as wire.py shows it. InvalidFields, TooLarge."""
    wrong = Violations()
    match record.WhichOneof("record"):
        case "queue":
            _check_queue(wrong, f"{at}.queue.queue", record.queue)
        case "note":
            _check_note(wrong, f"{at}.note", record.note)
        case "job":
            _check_job(wrong, f"{at}.job", record.job)
        case "schedule" | "calendar":
            pass  # checked as they are read
        case _:
            kinds = "queue, job, note, schedule and calendar"
            wrong.add(at, f"is none of {kinds}; if a later version has written it, that one can read it")
    wrong.done()


def _check_queue(wrong: Violations, at: str, record: pb.QueueRecord) -> None:
    wrong.name(f"{at}.queue", record.queue.queue)
    check_settings(wrong, at, record.queue)
    wrong.text(f"{at}.pause_reason", record.queue.pause_reason, limits.REASON_BYTES)


def _check_note(wrong: Violations, at: str, note: pb.NoteRecord) -> None:
    if len(note.value) > limits.NOTE_BYTES:
        raise TooLarge(f"{at}.value", len(note.value), limits.NOTE_BYTES)
    wrong.queue(f"{at}.queue", note.queue)
    wrong.characters(f"{at}.key", note.key, limits.JOB_ID_CHARACTERS + 10)
    if not names_set(note.key):
        wrong.add(f"{at}.key", "is neither booking/ nor payment/ and an id of at most 200 characters")
    if set_in(note.value) is None:
        wrong.add(f"{at}.value", "is no set of reminders: notes are taken over as they were exported")
    _needed(wrong, f"{at}.until", note.until, there=note.HasField("until"))


def _check_job(wrong: Violations, at: str, record: pb.JobRecord) -> None:
    job, spec = record.job, record.job.spec
    if not record.HasField("job"):
        wrong.add(f"{at}.job", "is needed")
        return
    if (size := spec.ByteSize() + len(record.payload)) > limits.JOB_SPEC_BYTES + _FILLED_IN:
        raise TooLarge(f"{at}.payload", size, limits.JOB_SPEC_BYTES)
    wrong.queue(f"{at}.job.queue", job.queue)
    if spec.queue and spec.queue != (job.queue or limits.DEFAULT_QUEUE):
        wrong.add(f"{at}.job.spec.queue", "is not job.queue: a job stands in one queue")
    wrong.job_id(f"{at}.job.job_id", job.job_id)
    kind = reserved_for(job.job_id)
    if kind is not None and (spec.type != kind.job_type or TAG not in spec.tags):
        wrong.add(f"{at}.job.job_id", RESERVED)
    payload = _check_body(wrong, at, record)
    check_type(wrong, f"{at}.job.spec", spec.type, payload, needed=True)
    check_terms(wrong, f"{at}.job.spec", spec)
    check_conditions(wrong, f"{at}.job.spec", spec)
    wrong.number(f"{at}.arrival", record.arrival, 0, limits.IMPORTED_ARRIVAL)
    _check_life(wrong, f"{at}.job", job)
    _check_words(wrong, f"{at}.job", job)
    check_kept(wrong, f"{at}.job", job)
    _check_result(wrong, at, record)


def _check_body(wrong: Violations, at: str, record: pb.JobRecord) -> tuple[int, bytes] | None:
    """The payload, where there is one that can be."""
    if there := wire.payload_of(record.job.spec):
        wrong.add(f"{at}.job.spec.{wire.PAYLOAD_FIELDS[there[0]]}", f"is left out here: {at}.payload has its bytes")
    kind = record.payload_field
    if kind in wire.PAYLOAD_FIELDS:
        check_payload(wrong, f"{at}.payload", kind, record.payload, kept=True)
        return kind, record.payload
    if kind:
        wrong.add(f"{at}.payload_field", f"is {kind}, and JobSpec has no such payload")
    elif record.payload:
        wrong.add(f"{at}.payload_field", "is needed beside a payload: its number in JobSpec, 10 for data")
    return None


def _check_life(wrong: Violations, at: str, job: job_pb2.Job) -> None:
    wrong.enum(f"{at}.state", job.state, STATES)
    for name in ("create_time", "schedule_time"):
        _needed(wrong, f"{at}.{name}", getattr(job, name), there=job.HasField(name))
    state: int = job.state
    has_ended = state in ENDED
    if job.HasField("start_time"):
        _later(wrong, f"{at}.start_time", job.start_time)
    if job.HasField("end_time") and has_ended:
        _later(wrong, f"{at}.end_time", job.end_time)
    elif has_ended:
        wrong.add(f"{at}.end_time", "is needed: the job has ended")
    elif job.HasField("end_time"):
        wrong.add(f"{at}.end_time", "is given, and the job has not ended")
    if job.HasField("nominal_time"):
        named = of_job_id(job.job_id)
        if named is None or not _is_time(job.nominal_time, named[1]):
            wrong.add(f"{at}.nominal_time", "is not the one that its job_id ends with: schedule_id@time")
    wrong.number(f"{at}.attempt", job.attempt, 0, limits.IMPORTED_ATTEMPT)
    wrong.number(f"{at}.failures", job.failures, 0, limits.MAX_ATTEMPTS)
    wrong.number(f"{at}.crashes", job.crashes, 0, limits.MAX_LEASES_LOST)
    wrong.number(f"{at}.revision", job.revision, 0, limits.IMPORTED_REVISION)
    if state == State.FAILED and not job.errors:
        wrong.add(f"{at}.errors", "is empty, and a FAILED job has one at least")
    if job.HasField("cancel") and state in PENDING:
        wrong.add(f"{at}.cancel", "is given, and only a job that runs or has ended can have been asked to cancel")


def _check_words(wrong: Violations, at: str, job: job_pb2.Job) -> None:
    """What its attempts, and who cancelled it, have said."""
    if wrong.count(f"{at}.errors", job.errors, limits.ERRORS_KEPT):
        for i, error in enumerate(job.errors):
            field = f"{at}.errors[{i}]"
            _needed(wrong, f"{field}.time", error.time, there=error.HasField("time"))
            wrong.number(f"{field}.attempt", error.attempt, 0, limits.IMPORTED_ATTEMPT)
            wrong.text(f"{field}.type", error.type, limits.ERROR_TYPE_BYTES)
            wrong.text(f"{field}.message", error.message, limits.ERROR_MESSAGE_BYTES)
            wrong.text(f"{field}.trace", error.trace, limits.ERROR_TRACE_BYTES)
    if job.HasField("progress"):
        wrong.number(f"{at}.progress.fraction", job.progress.fraction, 0, 1)
        wrong.text(f"{at}.progress.message", job.progress.message, limits.PROGRESS_MESSAGE_BYTES)
        there = job.progress.HasField("update_time")
        _needed(wrong, f"{at}.progress.update_time", job.progress.update_time, there=there)
    if job.HasField("cancel"):
        _check_cancel(wrong, f"{at}.cancel", job.cancel)


def _check_cancel(wrong: Violations, at: str, cancel: job_pb2.Cancel) -> None:
    wrong.text(f"{at}.reason", cancel.reason, limits.REASON_BYTES)
    wrong.text(f"{at}.by", cancel.by, limits.REASON_BYTES)
    if cancel.HasField("grace"):
        wrong.span(f"{at}.grace", cancel.grace, timedelta(0), limits.MAX_GRACE, "0 to 24 h")
    _needed(wrong, f"{at}.ask_time", cancel.ask_time, there=cancel.HasField("ask_time"))
    if cancel.HasField("deliver_time"):
        _later(wrong, f"{at}.deliver_time", cancel.deliver_time)
    if cancel.HasField("obey_time"):
        _later(wrong, f"{at}.obey_time", cancel.obey_time)


def _check_result(wrong: Violations, at: str, record: pb.JobRecord) -> None:
    if record.job.result:
        wrong.add(f"{at}.job.result", f"is left out here: {at}.result has its bytes")
    if len(record.result) > limits.RESULT_BYTES:
        raise TooLarge(f"{at}.result", len(record.result), limits.RESULT_BYTES)
    listed = _ListJobsResponse()
    wire.set_result(listed.jobs.add(), record.result)
    try:
        # As deep inside an answer as it will ever stand, so that whoever gets it can read it.
        job_service_pb2.ListJobsResponse.FromString(listed.SerializeToString())
    except DecodeError:
        wrong.add(f"{at}.result", "is no tocsin.v1.Result: it is broken, or nested too deep")


def _needed(wrong: Violations, field: str, time: Timestamp, *, there: bool) -> None:
    if there:
        wrong.time(field, time)
    else:
        wrong.add(field, "is needed")


def _later(wrong: Violations, field: str, time: Timestamp) -> None:
    """A time that may be absent, which stores keep as 0."""
    if time.seconds == 0 and time.nanos == 0:
        wrong.add(field, "is 1970-01-01T00:00:00Z, when nothing ran yet")
    else:
        wrong.time(field, time)


def _is_time(given: Timestamp, time: datetime) -> bool:
    return given.nanos % 1_000_000 == 0 and to_time(given) == time


def _to_record(at: str, record: pb.TransferRecord, bringer: str) -> Record:
    """A record that was checked; InvalidFields, TooLarge for a schedule or a calendar that is wrong."""
    if record.HasField("schedule"):
        return schedule_record(f"{at}.schedule", record.schedule)
    if record.HasField("calendar"):
        return calendar_record(f"{at}.calendar", record.calendar)
    if record.HasField("job"):
        return _to_job(record.job, bringer)
    if record.HasField("queue"):
        return QueueRecord(record.queue.queue.queue, to_settings(record.queue.queue))
    note = record.note
    stored = StoredNote(note.key, note.value, revision=0, until=to_time(note.until))
    return NoteRecord(queue_of(note.queue), stored)


def _to_job(record: pb.JobRecord, bringer: str) -> Job:
    job = record.job
    return Job(
        job_id=job.job_id,
        spec=_to_spec(record, bringer),
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
        fired=job.HasField("nominal_time"),
        held=job.held,
        parents=kept_parents(job),
    )


def _to_spec(record: pb.JobRecord, bringer: str) -> JobSpec:
    spec, kind = record.job.spec, record.payload_field
    return JobSpec(
        queue=queue_of(record.job.queue),
        type=spec.type or BUILT_IN_TYPES.get(kind, ""),
        payload=Payload(kind, brought_payload(kind, record.payload, bringer)) if kind else None,
        priority=spec.priority,
        terms=terms(overrides(spec), SERVER_DEFAULTS),
        tags=dict(spec.tags),
        conditions=_to_kept_conditions(record.job),
    )


def _to_kept_conditions(job: job_pb2.Job) -> Conditions:
    conditions = to_conditions(job.spec)
    on_end = kept_on_end(job)
    return conditions if on_end is None else replace(conditions, on_end=on_end)


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
