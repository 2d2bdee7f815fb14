"""Rules on exports and imports. Each record is checked by itself; paths begin with `at`, e.g. "records[3]"."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1 import job_pb2, job_service_pb2, transfer_pb2

from tocsin_server.api import wire
from tocsin_server.api.validation.payloads.checking import check_payload
from tocsin_server.api.validation.queues import check_settings
from tocsin_server.api.validation.scheduling import RESERVED, check_terms, check_type
from tocsin_server.api.validation.standing import STATES
from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.errors import TooLarge
from tocsin_server.domain.reminders import TAG, reserved_for
from tocsin_server.domain.states import ENDED, PENDING, State
from tocsin_server.operations.reminders.notes import names_set, set_in

_ListJobsResponse = wire.shadow(job_service_pb2.ListJobsResponse)
_OVER = {int(number): name for name, number in transfer_pb2.ImportJobsRequest.Over.items()}
# What stands has its defaults filled in, so it may have some bytes more than what was scheduled.
_FILLED_IN = 1_024


def check_export_jobs(request: transfer_pb2.ExportJobsRequest) -> None:
    """Which queues to export."""
    wrong = Violations()
    if wrong.count("queues", request.queues, limits.EXPORT_QUEUES):
        for i, queue in enumerate(request.queues):
            wrong.name(f"queues[{i}]", queue)
    wrong.done()


def check_import_jobs(request: transfer_pb2.ImportJobsRequest, said: int | None) -> int:
    """All of a request but its records; `said` is what an earlier one of the stream said of `over`. What holds now."""
    wrong = Violations()
    wrong.enum("over", request.over, _OVER)
    wrong.count("records", request.records, limits.IMPORT_RECORDS)
    if said is not None and request.over not in (transfer_pb2.ImportJobsRequest.OVER_UNSPECIFIED, said):
        wrong.add("over", f"is {_OVER.get(request.over, request.over)}, and an earlier request said {_OVER[said]}")
    wrong.number("first_index", request.first_index, 0, 1 << 53)
    wrong.done()
    return said or request.over or transfer_pb2.ImportJobsRequest.KEEP


def check_record(at: str, record: transfer_pb2.TransferRecord) -> None:
    """One record, as wire.py shows it. InvalidFields, TooLarge."""
    wrong = Violations()
    match record.WhichOneof("record"):
        case "queue":
            _check_queue(wrong, f"{at}.queue.queue", record.queue)
        case "note":
            _check_note(wrong, f"{at}.note", record.note)
        case "job":
            _check_job(wrong, f"{at}.job", record.job)
        case _:
            wrong.add(at, "is none of queue, job and note; if a later version has written it, that one can read it")
    wrong.done()


def _check_queue(wrong: Violations, at: str, record: transfer_pb2.QueueRecord) -> None:
    wrong.name(f"{at}.queue", record.queue.queue)
    check_settings(wrong, at, record.queue)
    wrong.text(f"{at}.pause_reason", record.queue.pause_reason, limits.REASON_BYTES)


def _check_note(wrong: Violations, at: str, note: transfer_pb2.NoteRecord) -> None:
    if len(note.value) > limits.NOTE_BYTES:
        raise TooLarge(f"{at}.value", len(note.value), limits.NOTE_BYTES)
    wrong.queue(f"{at}.queue", note.queue)
    wrong.characters(f"{at}.key", note.key, limits.JOB_ID_CHARACTERS + 10)
    if not names_set(note.key):
        wrong.add(f"{at}.key", "is neither booking/ nor payment/ and an id of at most 200 characters")
    if set_in(note.value) is None:
        wrong.add(f"{at}.value", "is no set of reminders: notes are taken over as they were exported")
    _needed(wrong, f"{at}.until", note.until, there=note.HasField("until"))


def _check_job(wrong: Violations, at: str, record: transfer_pb2.JobRecord) -> None:
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
    wrong.number(f"{at}.arrival", record.arrival, 0, limits.IMPORTED_ARRIVAL)
    _check_life(wrong, f"{at}.job", job)
    _check_words(wrong, f"{at}.job", job)
    _check_result(wrong, at, record)


def _check_body(wrong: Violations, at: str, record: transfer_pb2.JobRecord) -> tuple[int, bytes] | None:
    """The payload, where there is one that can be."""
    if there := wire.payload_of(record.job.spec):
        wrong.add(f"{at}.job.spec.{wire.PAYLOAD_FIELDS[there[0]]}", f"is left out here: {at}.payload has its bytes")
    kind = record.payload_field
    if kind in wire.PAYLOAD_FIELDS:
        check_payload(wrong, f"{at}.payload", kind, record.payload)
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


def _check_result(wrong: Violations, at: str, record: transfer_pb2.JobRecord) -> None:
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
