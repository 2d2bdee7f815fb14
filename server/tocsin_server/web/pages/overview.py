"""The first page: what all queues do, live."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from tocsin import TocsinError
from tocsin.v1 import job_pb2, job_service_pb2, queue_pb2, queue_service_pb2

from tocsin_server.web.visit import Visit

#: Queues whose counts are added up; those that are shown, the busiest; and dead letters that are shown.
_COUNTED, _SHOWN, _DEAD = 1_000, 20, 5


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue as the tables show it."""

    queue: queue_pb2.Queue
    counts: queue_pb2.StateCounts
    health: queue_service_pb2.GetQueueHealthResponse


async def overview(visit: Visit) -> Response:
    """The page."""
    return visit.page(
        "overview.html", "Overview", live=visit.site.templates.url("/live/overview"), **await _seen(visit)
    )


async def draw_overview(visit: Visit) -> str:
    """The part of it that is kept up to date."""
    return visit.draw("parts/overview.html", **await _seen(visit))


async def _seen(visit: Visit) -> dict[str, Any]:
    entries, more = await queue_entries(visit, _COUNTED)
    busiest = sorted(entries, key=_to_do, reverse=True)
    rows = await with_health(visit, busiest[:_SHOWN])
    total = queue_pb2.StateCounts()
    for entry in entries:
        for name in _FIELDS:
            setattr(total, name, getattr(total, name) + getattr(entry.counts, name))
    health = [row.health for row in rows]
    return {
        "rows": rows,
        "queues": len(entries),
        "partly": len(entries) > len(rows),
        "more": more,
        "total": total,
        "done": sum(one.completed_per_second for one in health),
        "failing": sum(one.failed_per_second for one in health),
        "lag": max((one.lag.ToTimedelta().total_seconds() for one in health), default=0.0),
        "workers": len({worker.worker for one in health for worker in one.workers}),
        "dead": await _dead(visit, [entry for entry in busiest if entry.counts.failed][:3]),
    }


_FIELDS = tuple(field.name for field in queue_pb2.StateCounts.DESCRIPTOR.fields)


def _to_do(entry: queue_service_pb2.ListQueuesResponse.Entry) -> tuple[int, int, int]:
    counts = entry.counts
    return counts.waiting + counts.active, counts.failed, counts.scheduled


async def queue_entries(
    visit: Visit, most: int, page_token: str = ""
) -> tuple[Sequence[queue_service_pb2.ListQueuesResponse.Entry], str]:
    """The first queues by name, and the token of the next page."""
    page = await visit.ask(
        visit.backend.queues.ListQueues, queue_service_pb2.ListQueuesRequest(page_size=most, page_token=page_token)
    )
    return page.queues, page.next_page_token


async def with_health(
    visit: Visit, entries: Sequence[queue_service_pb2.ListQueuesResponse.Entry]
) -> Sequence[QueueRow]:
    """The same, each with its health."""
    found = await asyncio.gather(
        *(
            visit.ask(
                visit.backend.queues.GetQueueHealth,
                queue_service_pb2.GetQueueHealthRequest(queue=entry.queue.queue),
            )
            for entry in entries
        )
    )
    return [QueueRow(entry.queue, entry.counts, health) for entry, health in zip(entries, found, strict=True)]


async def _dead(visit: Visit, entries: Sequence[queue_service_pb2.ListQueuesResponse.Entry]) -> Sequence[job_pb2.Job]:
    """The latest dead letters of some queues."""
    asked = [
        visit.ask(
            visit.backend.jobs.ListJobs,
            job_service_pb2.ListJobsRequest(
                queue=entry.queue.queue, states=[job_pb2.Job.State.FAILED], page_size=_DEAD
            ),
        )
        for entry in entries
    ]
    try:
        pages = await asyncio.gather(*asked)
    except TocsinError:  # the rest of the page is worth more than these
        return []
    jobs = [job for page in pages for job in page.jobs]
    return sorted(jobs, key=lambda job: job.end_time.ToNanoseconds(), reverse=True)[:_DEAD]
