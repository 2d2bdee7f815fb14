"""What was sealed is opened as it is read. What is clear passes: a store may hold both."""

from __future__ import annotations

from dataclasses import replace

from tocsin_server.domain.errors import CannotDecrypt, KeyMissing
from tocsin_server.domain.job import Job, JobError, Payload, Progress
from tocsin_server.domain.logs import LoggedLine
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.sealed import KIND, is_sealed
from tocsin_server.store.encrypting.keyring import LiveKeyring
from tocsin_server.store.encrypting.sealing import from_text, open_sealed
from tocsin_server.store.encrypting.values import (
    PAYLOAD,
    PROGRESS,
    RESULT,
    SCHEDULE_NOTE,
    bound_name,
    line_field,
    message_field,
    trace_field,
    with_payload,
)
from tocsin_server.store.put import kept_errors


class Opener:
    """Opens what was sealed."""

    def __init__(self, keys: LiveKeyring) -> None:
        self._keys = keys

    def bytes(self, field: str, queue: str, name: str, value: bytes) -> bytes:
        """A result or a note. CannotDecrypt."""
        return open_sealed(self._keys, field, queue, name, value) if is_sealed(value) else value

    def text(self, field: str, queue: str, name: str, text: str, *, strict: bool) -> str:
        """A text. One that cannot be opened is said to be so in its place, or, where `strict`, raised as
        CannotDecrypt."""
        sealed = from_text(text)
        if sealed is None:
            return text
        try:
            return open_sealed(self._keys, field, queue, name, sealed).decode()
        except KeyMissing as error:
            if strict:
                raise
            return f"(encrypted with key {error.key_id}, which is not in this server's key ring)"
        except CannotDecrypt:
            if strict:
                raise
            return "(encrypted, and not as it was stored: altered, or moved here from elsewhere)"

    def payload(self, queue: str, name: str, payload: Payload) -> Payload:
        """A payload. CannotDecrypt."""
        if payload.kind != KIND:
            return payload
        clear = open_sealed(self._keys, PAYLOAD, queue, name, payload.body)
        return Payload(clear[0], clear[1:])

    def job(self, job: Job, *, strict: bool = False) -> Job:
        """A job as it was read. CannotDecrypt for payload and result, and where `strict` for its texts, too."""
        queue, name = job.spec.queue, job.job_id
        spec, result, errors, progress = job.spec, job.result, job.errors, job.progress
        if spec.payload is not None and spec.payload.kind == KIND:
            spec = with_payload(spec, self.payload(queue, bound_name(spec, name), spec.payload))
        if result is not None:
            result = self.bytes(RESULT, queue, name, result)
        if errors:
            errors = tuple(self._error(queue, name, error, strict) for error in errors)
        if progress is not None and progress.message:
            said = self.text(PROGRESS, queue, name, progress.message, strict=strict)
            progress = Progress(progress.fraction, said, progress.update_time)
        if spec is job.spec and result is job.result and errors is job.errors and progress is job.progress:
            return job
        return Job(
            name,
            spec,
            job.state,
            job.create_time,
            job.schedule_time,
            job.start_time,
            job.end_time,
            job.attempt,
            job.failures,
            job.crashes,
            job.revision,
            job.arrival,
            errors,
            progress,
            result,
            job.cancel,
            job.fired,
            job.held,
            job.watched,
            job.parents,
        )

    def _error(self, queue: str, name: str, error: JobError, strict: bool) -> JobError:
        message = self.text(message_field(error.attempt), queue, name, error.message, strict=strict)
        trace = self.text(trace_field(error.attempt), queue, name, error.trace, strict=strict)
        return JobError(error.type, message, trace, error.time, error.attempt)

    def line(self, queue: str, name: str, line: LoggedLine, *, strict: bool = False) -> LoggedLine:
        """A line of log."""
        if line.dropped or not line.text:
            return line
        text = self.text(line_field(line.attempt, line.level), queue, name, line.text, strict=strict)
        return LoggedLine(line.time, line.attempt, line.level, text)

    def schedule(self, schedule: Schedule) -> Schedule:
        """A schedule. CannotDecrypt."""
        spec = schedule.spec
        queue, job = spec.queue, spec.job
        note = self.text(SCHEDULE_NOTE, queue, spec.schedule_id, spec.note, strict=True)
        if job.payload is not None and job.payload.kind == KIND:
            name = bound_name(job, f"{spec.schedule_id}@")
            job = with_payload(job, self.payload(queue, name, job.payload))
        if job is spec.job and note is spec.note:
            return schedule
        return replace(schedule, spec=replace(spec, job=job, note=note))


def as_it_stands(sealed: Job, job: Job, stands: Job, opened: Job) -> Job:
    """The sealed form of a job, but with each part as it stands where that is sealed and holds the same, so that it is
    found to be the same: nothing is sealed twice the same way. `opened` is what stands, opened, `job` the clear one."""
    spec, result, progress = sealed.spec, sealed.result, sealed.progress
    if spec.payload is not None and _is_sealed(stands.spec.payload) and opened.spec.payload == job.spec.payload:
        spec = with_payload(spec, stands.spec.payload)
    if result is not None and stands.result is not None and opened.result == job.result:
        result = stands.result if is_sealed(stands.result) else result
    if progress and stands.progress and opened.progress and job.progress:
        said = _same_text(progress.message, job.progress.message, stands.progress.message, opened.progress.message)
        progress = replace(progress, message=said)
    errors = sealed.errors
    clear = kept_errors(job)
    if len(errors) == len(stands.errors):
        errors = tuple(map(_same_error, errors, clear, stands.errors, opened.errors))
    return replace(sealed, spec=spec, result=result, progress=progress, errors=errors)


def _is_sealed(payload: Payload | None) -> bool:
    return payload is not None and payload.kind == KIND


def _same_text(sealed: str, clear: str, stands: str, opened: str) -> str:
    return stands if clear == opened and from_text(stands) is not None else sealed


def _same_error(sealed: JobError, clear: JobError, stands: JobError, opened: JobError) -> JobError:
    if clear.attempt != opened.attempt:  # it is bound to that
        return sealed
    message = _same_text(sealed.message, clear.message, stands.message, opened.message)
    return replace(sealed, message=message, trace=_same_text(sealed.trace, clear.trace, stands.trace, opened.trace))
