"""What scheduling answers. The messages are the shadow ones of wire.py.

This is the hot path of scheduling. Of a batch, new jobs' answers are put together as bytes: they are all the same but
for the jobs' ids, and as messages they cost five times as much.
"""

from __future__ import annotations

from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as pb

from tocsin_server.api import wire
from tocsin_server.api.answers.job import fill, fill_conditions, fill_on_end, terms_written
from tocsin_server.api.times import set_time
from tocsin_server.api.wire_fields import tag, varint
from tocsin_server.domain.conditions import NO_CONDITIONS
from tocsin_server.domain.job import Added, Draft, JobSpec, New, Replaced, Terms, View

_Job = wire.shadow(job_pb2.Job)
_ScheduleJobResponse = wire.shadow(pb.ScheduleJobResponse)
_CREATED = pb.ScheduleJobResponse.CREATED
_KEPT, _REPLACED = pb.ScheduleJobResponse.KEPT, pb.ScheduleJobResponse.REPLACED

_ID = tag(job_pb2.Job.DESCRIPTOR, "job_id")
_JOB = tag(pb.ScheduleJobResponse.DESCRIPTOR, "job")
_RESPONSE = tag(pb.BatchScheduleJobsResponse.Result.DESCRIPTOR, "response")
_IS_CREATED = pb.ScheduleJobResponse(outcome=_CREATED).SerializeToString()


def scheduled(draft: Draft, added: Added) -> pb.ScheduleJobResponse:
    """The answer to a scheduled job."""
    answer = _ScheduleJobResponse()
    fill_scheduled(answer, draft, added)
    return answer


def new_job_result(spec: JobSpec, new: New) -> bytes | None:
    """A BatchScheduleJobsResponse.Result for a new job; None where more than its id may be its own."""
    if spec.priority or spec.tags or spec.conditions is not NO_CONDITIONS:
        return None
    job_id, alike = new.job_id.encode(), _alike.raw(spec, new)
    id_size = varint(len(job_id))
    job_size = len(alike) + 1 + len(id_size) + len(job_id)
    job_head = varint(job_size)
    response_size = 1 + len(job_head) + job_size + len(_IS_CREATED)
    return b"".join((_RESPONSE, varint(response_size), _JOB, job_head, alike, _ID, id_size, job_id, _IS_CREATED))


def fill_scheduled(target: pb.ScheduleJobResponse, draft: Draft, added: Added) -> None:
    """Write the answer to a scheduled job."""
    if isinstance(added, New):
        spec, job = draft.spec, target.job
        job.CopyFrom(_alike(spec, added))
        job.job_id = added.job_id
        if spec.priority:
            job.spec.priority = spec.priority
        if spec.tags:
            job.spec.tags.update(spec.tags)
        if spec.conditions is not NO_CONDITIONS:
            fill_conditions(job.spec, spec.conditions)
            fill_on_end(job, spec.conditions)
            if (expire_time := spec.conditions.begin_by(added.schedule_time)) is not None:
                set_time(job.expire_time, expire_time)
        target.outcome = _CREATED
        return
    fill(target.job, added.job, View.BASIC)
    target.outcome = _REPLACED if isinstance(added, Replaced) else _KEPT


class _Alike:
    """What the answers to new jobs share, which of a batch is mostly all but their ids: to copy it costs a third of
    writing it. It is kept for the job that was answered last."""

    __slots__ = ("_job", "_new", "_queue", "_raw", "_terms", "_type")

    def __init__(self) -> None:
        self._new: New | None = None
        self._terms: Terms | None = None
        self._queue = self._type = ""
        self._job = _Job()
        self._raw: bytes | None = None

    def raw(self, spec: JobSpec, new: New) -> bytes:
        """The same as its bytes."""
        job = self(spec, new)
        if self._raw is None:
            self._raw = job.SerializeToString()
        return self._raw

    def __call__(self, spec: JobSpec, new: New) -> job_pb2.Job:
        """A job like this new one, without id, priority, tags and conditions. It is not to be changed."""
        last = self._new
        if (
            last is None
            or new.create_time is not last.create_time
            or new.schedule_time is not last.schedule_time
            or new.state is not last.state
            or spec.terms is not self._terms
            or spec.type != self._type
            or spec.queue != self._queue
        ):
            self._new, self._terms, self._queue, self._type = new, spec.terms, spec.queue, spec.type
            self._job, self._raw = _Job(), None
            _fill_new(self._job, spec, new)
        return self._job


_alike = _Alike()


def _fill_new(target: job_pb2.Job, spec: JobSpec, new: New) -> None:
    target.queue = spec.queue
    target.spec.CopyFrom(terms_written(spec.terms))
    target.spec.queue = spec.queue
    target.spec.type = spec.type
    target.state = job_pb2.Job.State.ValueType(new.state)
    set_time(target.create_time, new.create_time)
    if new.schedule_time is new.create_time:
        target.schedule_time.CopyFrom(target.create_time)
    else:
        set_time(target.schedule_time, new.schedule_time)
    target.revision = 1
