"""What a spec says of jobs that it waits for. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from tocsin.v1 import dependencies_pb2, job_pb2, job_service_pb2

from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span
from tocsin_server.domain import limits
from tocsin_server.domain.dependencies import (
    DependsOn,
    JobRef,
    ParentEnd,
    ParentJob,
    ParentRequest,
    WhenParentFails,
)
from tocsin_server.domain.job import OnConflict
from tocsin_server.domain.times import MILLISECOND

_RULES = {int(rule): rule.name for rule in WhenParentFails}
_ENDS = {int(end): end.name for end in ParentEnd}
_TIMEOUT = "1 ms to 366 days"
_NO_REPLACE = "does not go with on_conflict REPLACE: a job can only wait for jobs that stood before it"
_NO_COLLAPSE = "does not go with collapse, by which the job may become another that stands"


def check_depends_on(wrong: Violations, field: str, spec: job_pb2.JobSpec) -> None:
    """Whom a spec's job waits for."""
    depends = spec.depends_on
    if wrong.count(f"{field}.parents", depends.parents, limits.PARENTS, least=1):
        for i, parent in enumerate(depends.parents):
            _check_parent(wrong, f"{field}.parents[{i}]", parent)
    if depends.when_parent_fails == 0:
        wrong.add(
            f"{field}.when_parent_fails", f"is needed, and has no default: choose one of {', '.join(_RULES.values())}"
        )
    else:
        wrong.enum(f"{field}.when_parent_fails", depends.when_parent_fails, _RULES)
    if depends.HasField("block_timeout"):
        wrong.span(f"{field}.block_timeout", depends.block_timeout, MILLISECOND, limits.MAX_BLOCK_TIMEOUT, _TIMEOUT)


def _check_parent(wrong: Violations, field: str, parent: dependencies_pb2.DependsOn.Parent) -> None:
    wrong.queue(f"{field}.queue", parent.queue)
    match parent.WhichOneof("which"):
        case "job_id":
            wrong.job_id(f"{field}.job_id", parent.job_id)
        case "batch_item":
            wrong.number(f"{field}.batch_item", parent.batch_item, 0, limits.BATCH_ITEMS - 1)
        case _:
            wrong.add(field, "needs job_id or, in a batch, batch_item")


def check_beside_dependencies(wrong: Violations, request: job_service_pb2.ScheduleJobRequest) -> None:
    """What a request says beside depends_on, or on_end."""
    for name in ("depends_on", "on_end"):
        if request.job.HasField(name):
            if request.on_conflict == int(OnConflict.REPLACE):
                wrong.add(f"job.{name}", _NO_REPLACE)
            if request.job.HasField("collapse"):
                wrong.add(f"job.{name}", _NO_COLLAPSE)


def refuse_dependencies(wrong: Violations, field: str, spec: job_pb2.JobSpec, why: str) -> None:
    """Refuse both where they have no meaning."""
    for name in ("depends_on", "on_end"):
        if spec.HasField(name):
            wrong.add(f"{field}.{name}", why)


def to_depends(spec: job_pb2.JobSpec) -> DependsOn | None:
    """By which rule its job waits."""
    if not spec.HasField("depends_on"):
        return None
    said = spec.depends_on
    longest = to_span(said.block_timeout) if said.HasField("block_timeout") else None
    return DependsOn(WhenParentFails(said.when_parent_fails), longest)


def to_parents(spec: job_pb2.JobSpec) -> tuple[ParentRequest, ...]:
    """Whom it waits for, each once."""
    found = (
        ParentRequest(parent.queue, parent.job_id, parent.batch_item if parent.HasField("batch_item") else None)
        for parent in spec.depends_on.parents
    )
    return tuple(dict.fromkeys(found))


# --- of a job that is brought in ---


def check_kept(wrong: Violations, field: str, job: job_pb2.Job) -> None:
    """What an import says of it."""
    if job.spec.HasField("depends_on"):
        check_depends_on(wrong, f"{field}.spec.depends_on", job.spec)
        for i, parent in enumerate(job.spec.depends_on.parents):
            if parent.HasField("batch_item"):
                wrong.add(f"{field}.spec.depends_on.parents[{i}].batch_item", "has no meaning here: give job_id")
            wrong.enum(f"{field}.spec.depends_on.parents[{i}].end", parent.end, _ENDS)
    if job.HasField("on_end"):
        wrong.queue(f"{field}.on_end.queue", job.on_end.queue)
        wrong.job_id(f"{field}.on_end.job_id", job.on_end.job_id)


def kept_parents(job: job_pb2.Job) -> tuple[ParentJob, ...]:
    """Its parents, each once. Under which arrival they stand here is not known."""
    own = job.queue or limits.DEFAULT_QUEUE
    found = {
        (parent.queue or own, parent.job_id): ParentJob(parent.queue or own, parent.job_id, 0, ParentEnd(parent.end))
        for parent in job.spec.depends_on.parents
    }
    return tuple(found.values())


def kept_on_end(job: job_pb2.Job) -> JobRef | None:
    """The job that its end lets go."""
    if not job.HasField("on_end"):
        return None
    return JobRef(job.on_end.queue or job.queue or limits.DEFAULT_QUEUE, job.on_end.job_id)
