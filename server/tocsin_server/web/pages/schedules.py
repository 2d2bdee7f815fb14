"""The schedules of a queue, and one of them: its rule, its next times, and running it now."""

from __future__ import annotations

from starlette.responses import Response
from tocsin import InvalidArgument, NotFound, TocsinError
from tocsin.v1 import schedule_pb2, schedule_service_pb2

from tocsin_server.web.fields import WrongFilter, moment
from tocsin_server.web.pages.jobs import queue_names
from tocsin_server.web.rendering import iso, payload_of, span
from tocsin_server.web.visit import Visit

_PAGE = 50
#: Times that are shown beforehand, and as many as may be asked for.
_TIMES, _MOST = 10, 200


async def schedules(visit: Visit) -> Response:
    """A page of the list."""
    queue = visit.query("queue") or "default"
    request = schedule_service_pb2.ListSchedulesRequest(queue=queue, page_size=_PAGE, page_token=visit.query("page"))
    found = await visit.ask(visit.backend.schedules.ListSchedules, request)
    return visit.page(
        "schedules.html",
        f"Schedules of {queue}",
        queue=queue,
        names=await queue_names(visit),
        found=found,
        rule=rule_of,
    )


async def schedule(visit: Visit, *, trouble: str = "", status: int = 200) -> Response:
    """One schedule. NotFound."""
    queue, schedule_id = _asked(visit)
    which = {"queue": queue, "schedule_id": schedule_id}
    found = await visit.ask(visit.backend.schedules.GetSchedule, schedule_service_pb2.GetScheduleRequest(**which))
    kept: schedule_pb2.Schedule = found.schedule
    asked = visit.query("count")
    count = min(max(int(asked), 1), _MOST) if asked.isdecimal() and len(asked) < 6 else _TIMES
    request = schedule_service_pb2.PreviewScheduleRequest(queue=queue, schedule_id=schedule_id, count=count)
    preview = schedule_service_pb2.PreviewScheduleResponse()
    try:
        if after := visit.query("after"):
            request.after.CopyFrom(moment(after, ahead=True))
        preview = await visit.ask(visit.backend.schedules.PreviewSchedule, request)
    except (InvalidArgument, WrongFilter) as error:
        trouble, status = str(error), 400
    return visit.page(
        "schedule.html",
        schedule_id,
        status=status,
        trouble=trouble,
        schedule=kept,
        rule=rule_of(kept),
        last_job=f"{schedule_id}@{_job_time(kept)}" if _job_time(kept) else "",
        occurrences=preview.occurrences,
        count=count,
        after=visit.query("after"),
        payload_text=payload_of(kept.job),
    )


async def act(visit: Visit, do: str) -> Response:
    """Trigger, pause or resume it."""
    queue, schedule_id = _asked(visit)
    which, schedules = {"queue": queue, "schedule_id": schedule_id}, visit.backend.schedules
    try:
        match do:
            case "trigger":
                request = schedule_service_pb2.TriggerScheduleRequest(**which)
                made = await visit.ask(schedules.TriggerSchedule, request)
                return visit.go("/job", queue=queue, id=made.job_id, said="triggered")
            case "pause":
                reason = visit.field("reason")
                pausing = schedule_service_pb2.PauseScheduleRequest(queue=queue, schedule_id=schedule_id, reason=reason)
                await visit.ask(schedules.PauseSchedule, pausing)
            case "resume":
                await visit.ask(schedules.ResumeSchedule, schedule_service_pb2.ResumeScheduleRequest(**which))
    except NotFound:
        raise
    except TocsinError as error:
        return await schedule(visit, trouble=error.message, status=409)
    return visit.go("/schedule", queue=queue, id=schedule_id, said=f"schedule-{do}d")


def rule_of(schedule: schedule_pb2.Schedule) -> str:
    """When it runs, in a line."""
    if schedule.HasField("every"):
        return f"every {span(schedule.every.interval)}"
    return "; ".join(schedule.cron.lines)


def _asked(visit: Visit) -> tuple[str, str]:
    return visit.query("queue") or visit.field("queue") or "default", visit.query("id") or visit.field("id")


def _job_time(schedule: schedule_pb2.Schedule) -> str:
    """The end of the id of the job that was made last."""
    text = iso(schedule.last_time)
    return f"{text[:19]}Z" if text.endswith(".000Z") else text
