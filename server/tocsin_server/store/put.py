"""What both stores ask of jobs that come from elsewhere, before they place any."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from tocsin_server.domain import limits
from tocsin_server.domain.errors import TocsinError, TooLarge
from tocsin_server.domain.job import Job, JobError, Put
from tocsin_server.domain.sealed import clear_size, clear_text_size, payload_size
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.batching import by_queue

Placed = Put | TocsinError

#: Arrival numbers have 48 bits. A job that brings one of the upper half, which nobody has ever come to by adding, takes
#: the next one: else one file could use up a queue's numbers.
_MAX_ARRIVAL = 1 << 47
_MAX_ERRORS = 10  # as of jobs that failed here
_UINT48, _UINT32, _UINT16, _UINT8 = (1 << 48) - 1, (1 << 32) - 1, (1 << 16) - 1, (1 << 8) - 1


async def placed(
    jobs: Sequence[Job], put_into: Callable[[str, Sequence[Job]], Awaitable[list[Placed]]]
) -> list[Placed]:
    """Let `put_into` place each queue's jobs, all but those that are refused here. ValueError as `check_placeable`."""
    check_placeable(jobs)
    answers: dict[int, Placed] = {at: refusal for at, job in enumerate(jobs) if (refusal := too_large(job))}
    places = [at for at in range(len(jobs)) if at not in answers]
    sent = [jobs[at] if jobs[at].arrival <= _MAX_ARRIVAL else replace(jobs[at], arrival=0) for at in places]
    found = await by_queue(sent, lambda job: job.queue, put_into)
    answers.update(zip(places, found, strict=True))
    return [answers[at] for at in range(len(jobs))]


def check_placeable(jobs: Sequence[Job]) -> None:
    """ValueError names the first job that no store can hold: a caller must not ask for it."""
    for job in jobs:
        if wrong := next(_wrong(job), None):
            raise ValueError(f"job {job.job_id!r} in queue {job.queue!r} cannot be placed: {wrong}")


def too_large(job: Job) -> TooLarge | None:
    """The refusal of a job of which a part is larger than any that came about here."""
    payload = job.spec.payload
    parts = [
        ("job", 0 if payload is None else payload_size(payload.kind, payload.body), limits.JOB_SPEC_BYTES),
        ("result", clear_size(job.result or b""), limits.RESULT_BYTES),
    ]
    for error in kept_errors(job):
        parts.append(("errors.type", clear_text_size(_bytes(error.type)), limits.ERROR_MESSAGE_BYTES))
        parts.append(("errors.message", clear_text_size(_bytes(error.message)), limits.ERROR_MESSAGE_BYTES))
        parts.append(("errors.trace", clear_text_size(_bytes(error.trace)), limits.ERROR_TRACE_BYTES))
    if job.progress is not None:
        parts.append(("progress.message", clear_text_size(_bytes(job.progress.message)), limits.PROGRESS_MESSAGE_BYTES))
    if job.cancel is not None:
        parts.append(("cancel.reason", clear_text_size(_bytes(job.cancel.reason)), limits.REASON_BYTES))
        parts.append(("cancel.by", clear_text_size(_bytes(job.cancel.by)), limits.REASON_BYTES))
    return next((TooLarge(name, size, most) for name, size, most in parts if size > most), None)


def kept_errors(job: Job) -> Sequence[JobError]:
    """Its errors; of more than 10 the first and the last 9, as of a job that failed here so often."""
    return job.errors if len(job.errors) <= _MAX_ERRORS else (job.errors[0], *job.errors[1 - _MAX_ERRORS :])


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _wrong(job: Job) -> Iterator[str]:
    if job.state is State.ACTIVE:
        yield "it is ACTIVE, and its lease is not here"
    if job.state in ENDED and job.end_time is None:
        yield f"it is {job.state.name} and has no end_time"
    if any(error.time is None for error in job.errors) or (job.progress and job.progress.update_time is None):
        yield "an error, or its progress, has no time"
    if any(not limits.FIRST_TIME <= time <= limits.LAST_TIME for time in _times(job)):
        yield "a time is not in the years 1970 to 9999"
    counts = [(job.attempt, _UINT32), (job.revision, _UINT32), (job.failures, _UINT16), (job.crashes, _UINT8)]
    counts += [(error.attempt, _UINT32) for error in job.errors]
    counts += [
        (job.arrival, _UINT48),
        (job.spec.priority + (1 << 31), _UINT32),
        (job.spec.terms.retry.max_attempts, _UINT16),
    ]
    if any(not 0 <= count <= most for count, most in counts):
        yield "a count, its priority or its arrival is out of range"
    if any(len(_bytes(text)) > most for text, most in _names(job)) or len(job.spec.tags) > limits.TAGS:
        yield "its id, type or tags are longer than they may be"


def _names(job: Job) -> Iterator[tuple[str, int]]:
    """Each text that has a place of a fixed size, and the most bytes that it may have."""
    yield job.job_id, limits.JOB_ID_BYTES
    yield job.spec.type, limits.NAME_CHARACTERS
    for name, value in job.spec.tags.items():
        yield name, limits.TAG_KEY_CHARACTERS
        yield value, limits.TAG_VALUE_BYTES


def _times(job: Job) -> Iterator[datetime]:
    cancel, progress = job.cancel, job.progress
    times = [job.create_time, job.schedule_time, job.start_time, job.end_time, *(error.time for error in job.errors)]
    times += [progress.update_time] if progress else []
    times += [cancel.ask_time, cancel.deliver_time, cancel.obey_time] if cancel else []
    yield from (time for time in times if time is not None)
