"""Puts what users give into the fields of a request, and says which field was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from tocsin._checking import listed, put, put_priority, put_texts, word
from tocsin._times import Span, put_duration, put_time
from tocsin.dependencies import JobRef
from tocsin.enums import State
from tocsin.errors import InvalidArgument, WrongType
from tocsin.jobs import Job, JobLike
from tocsin.requests import StateName
from tocsin.v1 import bulk_pb2, job_pb2, payloads_pb2
from tocsin.v1 import job_service_pb2 as pb

_TIMES = tuple(f"{time}_time_{end}" for time in ("schedule", "create", "end") for end in ("from", "to"))


def name_of(job: JobLike, queue: str = "") -> tuple[str, str]:
    """Queue and id of a job, or of an id in `queue`. Raises InvalidArgument for an empty id."""
    if isinstance(job, Job | JobRef):
        return job.queue, job.job_id
    check_id(job)
    return queue, job


def put_name(message: Message, job: JobLike, queue: str) -> None:
    found_queue, job_id = name_of(job, queue)
    put(message, "queue", found_queue, "queue")
    put(message, "job_id", job_id, "job_id")


def check_id(job_id: object) -> None:
    if not isinstance(job_id, str):
        raise WrongType.of("job_id", f"a job is named by a Job or its id, not by {type(job_id).__name__}")
    if not job_id:
        raise InvalidArgument.of("job_id", "is empty")


def put_when(request: pb.ScheduleJobRequest | pb.UpdateJobRequest, at: datetime | None, delay: Span | None) -> None:
    if at is not None and delay is not None:
        raise InvalidArgument.of("delay", "is given beside at; give one of them")
    if at is not None:
        put_time(request.schedule_time, at, "at")
    elif delay is not None:
        put_duration(request.delay, delay, "delay")


def put_filter(
    request: pb.ListJobsRequest
    | pb.BatchCancelJobsRequest
    | bulk_pb2.BatchRetryJobsRequest
    | bulk_pb2.BatchDeleteJobsRequest,
    states: Sequence[StateName],
    types: Sequence[str],
    tags: Mapping[str, str],
) -> None:
    put_states(request.states, states)
    request.types.extend(listed(types, "types"))
    put_texts(request.tags, tags, "tags")


def put_bounds(message: pb.ListJobsRequest | payloads_pb2.BulkFilter, given: Mapping[str, Any]) -> None:
    """Set the priorities and times between which a filter's jobs are. Raises WrongType, InvalidArgument."""
    for name in ("priority_min", "priority_max"):
        if (value := given.get(name)) is not None:
            put_priority(message, name, value, name)
    for name in _TIMES:
        if (value := given.get(name)) is not None:
            put_time(getattr(message, name), value, name)


def put_states(field: MutableSequence[job_pb2.Job.State.ValueType], states: Iterable[StateName]) -> None:
    """Set the states of a filter. Raises InvalidArgument for a word that is no state."""
    for i, state in enumerate(listed(states, "states")):
        field.append(job_pb2.Job.State.Value(word(State, state, f"states[{i}]")))


def refuse_unknown(method: str, given: Mapping[str, object], known: Mapping[str, object]) -> None:
    unknown = given.keys() - known.keys()
    if unknown:
        names = ", ".join(sorted(unknown))
        raise WrongType.of(names, f"{method} takes no {names}; it takes {', '.join(known)}")
