"""The queues, and one of them: figures, settings, who runs its jobs; pause and resume."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.responses import Response
from tocsin import TocsinError
from tocsin.v1 import queue_service_pb2

from tocsin_server.web.fields import WrongFilter, moment
from tocsin_server.web.pages.overview import queue_entries, with_health
from tocsin_server.web.pages.queue_limits import ON_FULL, SCOPES, LimitForm, limit_forms, turns_lines
from tocsin_server.web.visit import Visit

_PAGE = 50


async def queues(visit: Visit) -> Response:
    """A page of the list."""
    entries, more = await queue_entries(visit, _PAGE, visit.query("page"))
    if name := visit.query("queue"):
        return visit.go("/queue", queue=name)
    live = visit.site.templates.url("/live/queues", page=visit.query("page"))
    return visit.page("queues.html", "Queues", live=live, rows=await with_health(visit, entries), more=more)


async def draw_queues(visit: Visit) -> str:
    """The list alone."""
    entries, more = await queue_entries(visit, _PAGE, visit.query("page"))
    return visit.draw("parts/queues.html", rows=await with_health(visit, entries), more=more)


async def queue(visit: Visit, *, trouble: str = "", status: int = 200, refused: LimitForm | None = None) -> Response:
    """One queue. `refused`: a limit that was not set, to be typed anew."""
    name = visit.query("queue") or visit.field("queue") or "default"
    seen = await _seen(visit, name)
    live = visit.site.templates.url("/live/queue", queue=name)
    return visit.page(
        "queue.html",
        name,
        status=status,
        trouble=trouble,
        live=live,
        forms=limit_forms(visit, seen["queue"], refused),
        turns=turns_lines(visit, seen["queue"]),
        scopes=SCOPES,
        on_full=ON_FULL,
        **seen,
    )


async def draw_queue(visit: Visit) -> str:
    """What changes of it."""
    return visit.draw("parts/queue.html", **await _seen(visit, visit.query("queue") or "default"))


async def _seen(visit: Visit, name: str) -> dict[str, Any]:
    queues = visit.backend.queues
    health = await visit.ask(queues.GetQueueHealth, queue_service_pb2.GetQueueHealthRequest(queue=name))
    kept = await visit.ask(queues.GetQueue, queue_service_pb2.GetQueueRequest(queue=name))
    settings = MessageToDict(kept.queue, preserving_proto_field_name=True)
    for shown_elsewhere in (
        "queue",
        "paused",
        "pause_time",
        "pause_reason",
        "pause_until",
        "limits",
        "draining",
        "fair_turns",
        "priority_ageing",
    ):
        settings.pop(shown_elsewhere, None)
    return {"name": name, "health": health, "queue": kept.queue, "settings": settings}


async def pause(visit: Visit) -> Response:
    """Let no attempt begin."""
    name, reason = visit.field("queue"), visit.field("reason")
    request = queue_service_pb2.PauseQueueRequest(queue=name, reason=reason)
    try:
        if until := visit.field("until"):
            request.until.CopyFrom(moment(until, ahead=True))
        await visit.ask(visit.backend.queues.PauseQueue, request)
    except (TocsinError, WrongFilter) as error:
        return await queue(visit, trouble=str(error), status=409)
    return visit.go("/queue", queue=name, said="paused")


async def drain_or_resume(visit: Visit, do: str) -> Response:
    """Take no new jobs; or let attempts begin again, and new jobs in."""
    name, queues = visit.field("queue"), visit.backend.queues
    try:
        if do == "drain":
            await visit.ask(queues.DrainQueue, queue_service_pb2.DrainQueueRequest(queue=name))
        else:
            await visit.ask(queues.ResumeQueue, queue_service_pb2.ResumeQueueRequest(queue=name))
    except TocsinError as error:
        return await queue(visit, trouble=error.message, status=409)
    return visit.go("/queue", queue=name, said="draining" if do == "drain" else "resumed")
