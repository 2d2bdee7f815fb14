"""The jobs of a queue, by state, type, tag and time, newest first; and the way to one by its id."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from tocsin import InvalidArgument
from tocsin.v1 import job_pb2, job_service_pb2, queue_service_pb2

from tocsin_server.web.fields import WrongFilter, moment, tags_of
from tocsin_server.web.pages.bulk import kinds_of
from tocsin_server.web.pages.overview import queue_entries
from tocsin_server.web.visit import Visit

_PAGE = 50
#: Names of queues and types that are offered while somebody types.
_OFFERED = 100

#: What "when" filters by: the fields of ListJobsRequest that begin so.
_TIMES = ("create_time", "schedule_time", "end_time")


async def jobs(visit: Visit) -> Response:
    """A page of the list."""
    queue = visit.query("queue") or "default"
    if job_id := visit.query("id"):
        return visit.go("/job", queue=queue, id=job_id)
    trouble, request = "", job_service_pb2.ListJobsRequest(queue=queue, page_size=_PAGE)
    try:
        _filter(visit, request)
        found = await visit.ask(visit.backend.jobs.ListJobs, request)
    except (InvalidArgument, WrongFilter) as error:
        trouble, found = str(error), job_service_pb2.ListJobsResponse()
    health, names = await asyncio.gather(
        visit.ask(visit.backend.queues.GetQueueHealth, queue_service_pb2.GetQueueHealthRequest(queue=queue)),
        queue_names(visit),
    )
    known = {job.spec.type for job in found.jobs} | {name for worker in health.workers for name in worker.types}
    return visit.page(
        "jobs.html",
        f"Jobs of {queue}",
        trouble=trouble,
        status=400 if trouble else 200,
        queue=queue,
        names=names,
        types=sorted({*known, *health.unserved_types})[:_OFFERED],
        counts=health.counts,
        found=found,
        chosen={name: visit.query(name) for name in ("state", "type", "tag", "time", "from", "to")},
        paged=bool(visit.query("page")),
        times=_TIMES,
        kinds=kinds_of(visit.query("state")),
    )


async def queue_names(visit: Visit) -> list[str]:
    """The first queues by name."""
    entries, _ = await queue_entries(visit, _OFFERED)
    return [entry.queue.queue for entry in entries]


def _filter(visit: Visit, request: job_service_pb2.ListJobsRequest) -> None:
    """Fill in what the address says. WrongFilter."""
    if state := visit.query("state"):
        try:
            request.states.append(job_pb2.Job.State.Value(state.upper()))
        except ValueError:
            raise WrongFilter(f"there is no state {state!r}") from None
    request.types.extend(name.strip() for name in visit.query("type").split(",") if name.strip())
    request.tags.update(tags_of(visit.query("tag")))
    by = visit.query("time") if visit.query("time") in _TIMES else _TIMES[0]
    for end in ("from", "to"):
        if text := visit.query(end):
            getattr(request, f"{by}_{end}").CopyFrom(moment(text))
    request.page_token = visit.query("page")
