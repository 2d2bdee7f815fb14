"""Dead letters: the failed jobs of a queue, by type and tag, and the way to do something to all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from starlette.responses import Response
from tocsin import InvalidArgument
from tocsin.v1 import job_pb2, job_service_pb2

from tocsin_server.web.fields import WrongFilter, tags_of
from tocsin_server.web.pages.jobs import queue_names
from tocsin_server.web.visit import Visit

_PAGE = 50
#: Types that are counted each by itself: those of the latest dead letters.
_TYPES = 12

_FAILED = job_pb2.Job.State.FAILED


async def failed(visit: Visit) -> Response:
    """The page."""
    queue, tag, trouble = visit.query("queue") or "default", visit.query("tag"), ""
    types = [name.strip() for name in visit.query("type").split(",") if name.strip()]
    found = job_service_pb2.ListJobsResponse()
    try:
        request = job_service_pb2.ListJobsRequest(
            queue=queue,
            states=[_FAILED],
            types=types,
            tags=tags_of(tag),
            page_size=_PAGE,
            page_token=visit.query("page"),
        )
        found = await visit.ask(visit.backend.jobs.ListJobs, request)
    except (InvalidArgument, WrongFilter) as error:
        trouble = str(error)
    names, by_type = await asyncio.gather(queue_names(visit), _by_type(visit, queue, found.jobs, tagged=bool(tag)))
    return visit.page(
        "failed.html",
        f"Dead letters of {queue}",
        trouble=trouble,
        status=400 if trouble else 200,
        queue=queue,
        names=names,
        types=types,
        tag=tag,
        found=found,
        by_type=by_type,
        paged=bool(visit.query("page")),
    )


async def _by_type(
    visit: Visit, queue: str, jobs: Sequence[job_pb2.Job], *, tagged: bool
) -> Sequence[tuple[str, int | None]]:
    """How many dead letters the types of these jobs have, the most first; None: with tags nobody has counted them."""
    types = [name for name, _ in Counter(job.spec.type for job in jobs).most_common(_TYPES)]
    if tagged:
        return [(name, None) for name in types]
    asked = [
        visit.ask(
            visit.backend.jobs.ListJobs,
            job_service_pb2.ListJobsRequest(queue=queue, states=[_FAILED], types=[name], page_size=1),
        )
        for name in types
    ]
    counts: list[int] = [page.total_size for page in await asyncio.gather(*asked)]
    return sorted(zip(types, counts, strict=True), key=lambda pair: -pair[1])
