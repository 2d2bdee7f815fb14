"""What can be done with a job, each with the lines that do the same in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from tocsin import NotFound, TocsinError
from tocsin.v1 import holding_pb2, job_pb2, job_service_pb2

from tocsin_server.web.commands import CommandLines
from tocsin_server.web.fields import WrongFilter, moment, span_of
from tocsin_server.web.visit import Visit

_S = job_pb2.Job.State
_ENDED = (_S.COMPLETED, _S.FAILED, _S.CANCELLED)
_NOT_BEGUN = (_S.SCHEDULED, _S.BLOCKED, _S.WAITING)


@dataclass(frozen=True, slots=True)
class ActionKind:
    """One of them."""

    name: str  # in addresses, and said once it is done
    title: str
    sentence: str
    button: str
    scope: str
    states: Sequence[int]
    danger: bool = False
    held: bool | None = None  # of jobs that are held, or are not; None: of both
    asks: tuple[str, str, str] | None = None  # a field: its name, its label, what stands in it as an example


@dataclass(frozen=True, slots=True)
class OfferedAction:
    """An action as a page offers it."""

    kind: ActionKind
    lines: CommandLines
    path: str


RETRY = ActionKind(
    "retry", "Retry", "Makes it due again, now, with its failures counted anew.", "Retry", "operate",
    (_S.FAILED, _S.CANCELLED),
)  # fmt: skip
RUN = ActionKind("run", "Run now", "Makes it due now, whatever its time was.", "Run now", "operate", (_S.SCHEDULED,))
RETIME = ActionKind(
    "retime", "Change its time", "Sets another time at which it is due.", "Set the time", "schedule", _NOT_BEGUN,
    asks=("when", "In so long, or at a time in UTC", "10m, 2h30m, 2030-12-24T18:00"),
)  # fmt: skip
CANCEL = ActionKind(
    "cancel", "Cancel", "Ends it before it has run; one that runs is asked to stop within 30 s.", "Cancel the job",
    "operate", (*_NOT_BEGUN, _S.ACTIVE), danger=True, asks=("reason", "Why (kept with the job)", ""),
)  # fmt: skip
DELETE = ActionKind(
    "delete", "Delete", "Takes it out of the store, with all that is known of it.", "Delete the job", "operate", _ENDED,
    danger=True,
)  # fmt: skip
HOLD = ActionKind(
    "hold", "Hold", "No attempt of it begins until it is released; its state and its time stay.", "Hold it", "operate",
    _NOT_BEGUN, held=False,
)  # fmt: skip
RELEASE = ActionKind(
    "release", "Release", "It is due when it is due, or now.", "Release it", "operate", _NOT_BEGUN, held=True
)
KINDS: Mapping[str, ActionKind] = {kind.name: kind for kind in (RETRY, RUN, RELEASE, RETIME, HOLD, CANCEL, DELETE)}


def job_actions(visit: Visit, job: job_pb2.Job) -> Sequence[OfferedAction]:
    """Those that the job's state allows, also where the visitor lacks the scope."""
    return [
        OfferedAction(kind, _lines(visit, kind, job), f"/job/{kind.name}")
        for kind in KINDS.values()
        if job.state in kind.states and kind.held in (None, job.held)
    ]


def _lines(visit: Visit, kind: ActionKind, job: job_pb2.Job) -> CommandLines:
    make, asked = visit.site.commands.lines, {"job_id": job.job_id}
    match kind.name:
        case "retime":
            request = {**asked, "delay": "600s"}
            return make(
                ["jobs", "update", job.job_id],
                "JobService/UpdateJob",
                request,
                queue=job.queue,
                options=["--delay", "10m"],
            )
        case "run":
            return make(["jobs", "run", job.job_id], "JobService/RunJob", asked, queue=job.queue)
        case name:
            method = f"JobService/{name.capitalize()}Job"
            return make(["jobs", name, job.job_id], method, asked, queue=job.queue)


async def act(visit: Visit, name: str, show: Callable[..., Any]) -> Response:
    """Do it, and show the job again; `show` shows it where it was refused."""
    queue, job_id = visit.field("queue"), visit.field("id")
    jobs = visit.backend.jobs
    which: dict[str, Any] = {"queue": queue, "job_id": job_id}
    try:
        match name:
            case "retry":
                await visit.ask(jobs.RetryJob, job_service_pb2.RetryJobRequest(**which))
            case "run":
                await visit.ask(jobs.RunJob, job_service_pb2.RunJobRequest(**which))
            case "hold":
                await visit.ask(jobs.HoldJob, holding_pb2.HoldJobRequest(**which))
            case "release":
                await visit.ask(jobs.ReleaseJob, holding_pb2.ReleaseJobRequest(**which))
            case "cancel":
                reason = visit.field("reason")
                await visit.ask(jobs.CancelJob, job_service_pb2.CancelJobRequest(reason=reason, **which))
            case "delete":
                await visit.ask(jobs.DeleteJob, job_service_pb2.DeleteJobRequest(**which))
                return visit.go("/jobs", queue=queue, said="deleted")
            case "retime":
                await visit.ask(jobs.UpdateJob, _retimed(visit.field("when"), which))
    except NotFound:
        raise
    except (TocsinError, WrongFilter) as error:
        answer: Response = await show(visit, trouble=str(error), status=409)
        return answer
    return visit.go("/job", queue=queue, id=job_id, said=KINDS[name].name)


def _retimed(when: str, which: Mapping[str, Any]) -> job_service_pb2.UpdateJobRequest:
    """WrongFilter."""
    request = job_service_pb2.UpdateJobRequest(**which)
    request.update_mask.paths.append("schedule_time")
    if (delay := span_of(when)) is not None:
        request.delay.FromTimedelta(delay)
    else:
        request.schedule_time.CopyFrom(moment(when, ahead=True))
    return request
