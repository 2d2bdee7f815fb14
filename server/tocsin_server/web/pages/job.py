"""One job: why it is not running, its attempts, what it wrote, what is in it, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response
from tocsin import PermissionDenied
from tocsin.v1 import following_pb2, job_pb2, job_service_pb2

from tocsin_server.web.pages.job_actions import job_actions
from tocsin_server.web.rendering import is_set
from tocsin_server.web.visit import Visit

#: Lines of log that are shown, the last ones.
_LINES = 200
#: Pages of lines that are read at most: a job keeps 1,000 lines.
_LOG_PAGES = 20


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """Something that happened to a job."""

    time: Timestamp
    title: str
    tone: str  # the class of its mark
    text: str = ""
    trace: str = ""


async def job(visit: Visit, *, trouble: str = "", status: int = 200) -> Response:
    """The page. NotFound."""
    queue, job_id = asked(visit)
    seen = await _seen(visit, queue, job_id)
    found: job_pb2.Job = seen["job"]
    ended = is_set(found.end_time)
    return visit.page(
        "job.html",
        job_id,
        status=status,
        trouble=trouble,
        live="" if ended else visit.site.templates.url("/live/job", queue=queue, id=job_id),
        actions=job_actions(visit, found),
        **seen,
    )


async def draw_job(visit: Visit) -> str:
    """What changes of it."""
    return visit.draw("parts/job.html", **await _seen(visit, *asked(visit)))


def asked(visit: Visit) -> tuple[str, str]:
    """The queue and the id that the address names, or the form."""
    return visit.query("queue") or visit.field("queue") or "default", visit.query("id") or visit.field("id")


async def _seen(visit: Visit, queue: str, job_id: str) -> dict[str, Any]:
    request = job_service_pb2.GetJobRequest(queue=queue, job_id=job_id)
    found = (await visit.ask(visit.backend.jobs.GetJob, request)).job
    lines, left_out = await _lines(visit, queue, job_id)
    return {"job": found, "steps": _timeline(found), "lines": lines, "left_out": left_out}


async def _lines(
    visit: Visit, queue: str, job_id: str
) -> tuple[Sequence[following_pb2.ListJobLogsResponse.Entry] | None, int]:
    """The last lines of log, and how many stand before them. None: they are not the visitor's to see."""
    if not visit.visitor.may("read_payload"):
        return None, 0
    entries: list[following_pb2.ListJobLogsResponse.Entry] = []
    cursor = ""
    try:
        for _ in range(_LOG_PAGES):
            page = await visit.ask(
                visit.backend.jobs.ListJobLogs,
                following_pb2.ListJobLogsRequest(queue=queue, job_id=job_id, cursor=cursor),
            )
            entries += page.lines
            cursor = page.next_cursor
            if not page.more:
                break
    except PermissionDenied:
        return None, 0
    return entries[-_LINES:], max(len(entries) - _LINES, 0)


def _timeline(job: job_pb2.Job) -> Sequence[TimelineStep]:
    """From the newest to the oldest."""
    steps = [TimelineStep(job.create_time, "scheduled", "plain", f"due {_due(job)}" if _due(job) else "")]
    for error in job.errors:
        title = f"attempt {error.attempt} failed: {error.type}"
        steps.append(TimelineStep(error.time, title, "bad", error.message, error.trace))
    if is_set(job.start_time) and not any(error.attempt == job.attempt for error in job.errors):
        steps.append(TimelineStep(job.start_time, f"attempt {job.attempt} began", "busy"))
    if job.HasField("cancel"):
        by = f" by {job.cancel.by}" if job.cancel.by else ""
        steps.append(TimelineStep(job.cancel.ask_time, f"cancel asked for{by}", "plain", job.cancel.reason))
    if is_set(job.end_time):
        tone = {job_pb2.Job.State.COMPLETED: "good", job_pb2.Job.State.FAILED: "bad"}.get(job.state, "plain")
        steps.append(TimelineStep(job.end_time, job_pb2.Job.State.Name(job.state).lower(), tone))
    steps.sort(key=lambda step: step.time.ToNanoseconds())
    return steps[::-1]


def _due(job: job_pb2.Job) -> str:
    later = job.schedule_time.ToNanoseconds() - job.create_time.ToNanoseconds()
    return f"{job.schedule_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC" if later > 1_000_000_000 else ""
