"""Who runs jobs, and what each holds."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from tocsin.v1 import worker_service_pb2

from tocsin_server.web.pages.jobs import queue_names
from tocsin_server.web.visit import Visit

_PAGE = 100


async def workers(visit: Visit) -> Response:
    """A page of the list."""
    seen = await _seen(visit)
    query = {"queue": visit.query("queue"), "type": visit.query("type"), "page": visit.query("page")}
    live = visit.site.templates.url("/live/workers", **query)
    return visit.page("workers.html", "Workers", live=live, names=await queue_names(visit), **seen)


async def draw_workers(visit: Visit) -> str:
    """The list alone."""
    return visit.draw("parts/workers.html", **await _seen(visit))


async def _seen(visit: Visit) -> dict[str, Any]:
    queue, type_ = visit.query("queue"), visit.query("type")
    if not queue and not visit.visitor.all_queues:  # to ask for all is not theirs
        queue = next((name for name in visit.visitor.queues if not name.endswith("*")), "default")
    request = worker_service_pb2.ListWorkersRequest(
        queue=queue, type=type_, page_size=_PAGE, page_token=visit.query("page")
    )
    found = await visit.ask(visit.backend.workers.ListWorkers, request)
    return {"queue": queue, "type": type_, "found": found}
