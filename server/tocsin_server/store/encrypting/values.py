"""Which parts of jobs, outcomes and schedules are sealed, and how each is named in what is authenticated with it.

Sealed are payload and result, messages and traces of errors, words of progress, lines of log, notes, and a schedule's
payload and note. An empty text has nothing to hide, and stays. What the store sorts, filters and decides by is clear:
queue, id, type, tags, priority, times, states, counts, names of errors, reasons.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from tocsin_server.domain.commands import Change, UpdateJob
from tocsin_server.domain.conditions import NO_CONDITIONS
from tocsin_server.domain.job import Draft, Job, JobError, JobSpec, OnConflict, Payload
from tocsin_server.domain.lease import AttemptOutcome, Extension
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.sealed import KIND
from tocsin_server.store.encrypting.keyring import Key
from tocsin_server.store.encrypting.sealing import OF_KEY, OF_SCHEDULE, OWN, as_text, from_text, nonces, seal, sealing
from tocsin_server.store.put import kept_errors

PAYLOAD, RESULT, PROGRESS, NOTE, SCHEDULE_NOTE = "payload", "result", "progress", "note", "schedule note"


def message_field(attempt: int) -> str:
    """The message of an attempt's error."""
    return f"error {attempt} message"


def trace_field(attempt: int) -> str:
    """The trace of an attempt's error."""
    return f"error {attempt} trace"


def line_field(attempt: int, level: int) -> str:
    """A line of log of an attempt."""
    return f"log {attempt} {level}"


#: Of the last 64 bits of a UUID those that are random, and the variant before them.
_RANDOM, _VARIANT = b"\x3f" + b"\xff" * 7, b"\x80" + bytes(7)


class MadeIds:
    """Ids of jobs that come without: a value can be bound to its job only where the id is known before it is stored.

    UUIDv7, of the server's clock; those of one process grow, whatever the clock does.
    """

    def __init__(self) -> None:
        self._last = 0  # milliseconds, and 12 bits that count within one

    def take(self, number: int) -> list[str]:
        """So many new ones, in order."""
        bits = int.from_bytes(os.urandom(8 * number), "big") & int.from_bytes(_RANDOM * number, "big")
        random = (bits | int.from_bytes(_VARIANT * number, "big")).to_bytes(8 * number, "big").hex()
        first = max(time.time_ns() // 1_000_000 << 12, self._last + 1)
        self._last = first + number - 1
        ids, ms, head = [], -1, ""
        for stamp, at in zip(range(first, first + number), range(0, 16 * number, 16), strict=True):
            if stamp >> 12 != ms:
                ms = stamp >> 12
                moment = f"{ms:012x}"
                head = f"{moment[:8]}-{moment[8:]}-7"
            ids.append(f"{head}{stamp & 0xFFF:03x}-{random[at : at + 4]}-{random[at + 4 : at + 16]}")
        return ids


def sealed_payload(key: Key, queue: str, name: str, payload: Payload, binding: int = OWN) -> Payload:
    """A payload, its kind sealed with it."""
    clear = b"%c%b" % (payload.kind, payload.body)
    return Payload(KIND, seal(key, PAYLOAD, queue, name, clear, binding))


def key_name(spec: JobSpec) -> str | None:
    """What the payload of a job that collapses is bound to; None: it does not."""
    collapse = spec.conditions.collapse
    return None if collapse is None else f"{spec.type}:{collapse.key}"


def bound_name(spec: JobSpec, name: str) -> str:
    """What the sealed payload of a job of this name is bound to."""
    if spec.payload is not None and spec.payload.body[1:2] == bytes((OF_KEY,)):
        return key_name(spec) or name
    return name


def with_payload(spec: JobSpec, payload: Payload | None) -> JobSpec:
    """The spec with another payload."""
    return JobSpec(spec.queue, spec.type, payload, spec.priority, spec.terms, spec.tags, spec.conditions)


def sealed_drafts(key: Key, drafts: Sequence[Draft], ids: MadeIds) -> list[Draft]:
    """Jobs to be added. One that has a payload has an id of its own then. A payload that is sealed already, of a
    schedule that could not be opened, passes as it is."""
    # Each job of each batch passes here: what it takes is a tenth of what adding it takes.
    wanted = [draft.job_id for draft in drafts].count(None)  # at most
    made = iter(ids.take(wanted) if wanted else ())
    seal_one, queue, unique = None, None, OnConflict.UNIQUE
    sealed = []
    for draft, nonce in zip(drafts, nonces(len(drafts)), strict=True):
        spec, job_id, on_conflict = draft.spec, draft.job_id, draft.on_conflict
        if (payload := spec.payload) is not None and payload.kind != KIND:
            if spec.conditions is not NO_CONDITIONS and (of_key := key_name(spec)) is not None:
                shut = sealed_payload(key, spec.queue, of_key, payload, OF_KEY)
                sealed.append(
                    Draft(with_payload(spec, shut), job_id, draft.when, on_conflict, draft.fired, draft.parents)
                )
                continue
            if job_id is None:
                job_id, on_conflict = next(made), unique
            if seal_one is None or spec.queue != queue:
                queue = spec.queue
                seal_one = sealing(key, PAYLOAD, queue)
            body = seal_one(nonce, job_id, b"%c%b" % (payload.kind, payload.body))
            spec = JobSpec(queue, spec.type, Payload(KIND, body), spec.priority, spec.terms, spec.tags, spec.conditions)
            draft = Draft(spec, job_id, draft.when, on_conflict, draft.fired, draft.parents)
        sealed.append(draft)
    return sealed


def sealed_text(key: Key, field: str, queue: str, name: str, text: str) -> str:
    """A text that is not empty, sealed."""
    return as_text(seal(key, field, queue, name, text.encode(errors="replace"))) if text else text


def sealed_job(key: Key, job: Job) -> Job:
    """A job that is to be placed."""
    queue, name, payload = job.queue, job.job_id, job.spec.payload
    spec = job.spec if payload is None else with_payload(job.spec, sealed_payload(key, queue, name, payload))
    errors = tuple(_sealed_error(key, queue, name, error, error.attempt) for error in kept_errors(job))
    progress, result = job.progress, job.result
    if progress is not None:
        progress = replace(progress, message=sealed_text(key, PROGRESS, queue, name, progress.message))
    if result is not None:
        result = seal(key, RESULT, queue, name, result)
    return replace(job, spec=spec, errors=errors, progress=progress, result=result)


def _sealed_error(key: Key, queue: str, name: str, error: JobError, attempt: int) -> JobError:
    message = sealed_text(key, message_field(attempt), queue, name, error.message)
    trace = sealed_text(key, trace_field(attempt), queue, name, error.trace)
    return JobError(error.type, message, trace, error.time, error.attempt)


def sealed_change(key: Key, queue: str, change: Change) -> Change:
    """A change of a standing job."""
    if not isinstance(change, UpdateJob) or change.payload is None:
        return change
    return replace(change, payload=sealed_payload(key, queue, change.job_id, change.payload))


def sealed_outcome(key: Key, outcome: AttemptOutcome) -> AttemptOutcome:
    """How an attempt ended."""
    lease, result, error = outcome.lease, outcome.result, outcome.error
    if result is None and error is None:
        return outcome
    if result is not None:
        result = seal(key, RESULT, lease.queue, lease.job_id, result)
    if error is not None:
        error = _sealed_error(key, lease.queue, lease.job_id, error, lease.attempt)
    return replace(outcome, result=result, error=error)


def sealed_extension(key: Key, extension: Extension) -> Extension:
    """What an attempt has to say with a heartbeat."""
    lease, progress, log = extension.lease, extension.progress, extension.log
    if progress is None and not log:
        return extension
    queue, name = lease.queue, lease.job_id
    if progress is not None:
        progress = progress[0], sealed_text(key, PROGRESS, queue, name, progress[1])
    lines = tuple(_sealed_line(key, queue, name, lease.attempt, line) for line in log)
    return Extension(lease, progress, lines)


def _sealed_line(key: Key, queue: str, name: str, attempt: int, line: LogLine) -> LogLine:
    kept = line.kept  # cut before, for what is sealed cannot be
    if not kept:
        return line
    return LogLine(line.level, as_text(seal(key, line_field(attempt, line.level), queue, name, kept)))


def sealed_schedule(key: Key, schedule: Schedule) -> Schedule:
    """A schedule; what could not be opened of it passes as it is. Its payload is bound to it, also in the jobs that the
    store makes of it."""
    spec = schedule.spec
    queue, name, job = spec.queue, spec.schedule_id, spec.job
    if job.payload is not None and job.payload.kind != KIND:
        of_key = key_name(job)
        bound = (name, OF_SCHEDULE) if of_key is None else (of_key, OF_KEY)
        job = with_payload(job, sealed_payload(key, queue, bound[0], job.payload, bound[1]))
    note = spec.note if from_text(spec.note) is not None else sealed_text(key, SCHEDULE_NOTE, queue, name, spec.note)
    return replace(schedule, spec=replace(spec, job=job, note=note))
