"""Dead letters: those of a queue, counted and looked at before many of them are made due again or deleted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from starlette.responses import Response
from tocsin import InvalidArgument, TocsinError
from tocsin.v1 import bulk_pb2, job_pb2, job_service_pb2

from tocsin_server.web.commands import CommandLines
from tocsin_server.web.pages.jobs import WrongFilter, queue_names, tags_of
from tocsin_server.web.visit import Visit

_PAGE = 50
#: Types that are counted each by itself, those of the latest dead letters; and a sample of what would be touched.
_TYPES, _SAMPLE = 12, 10

_FAILED = job_pb2.Job.State.FAILED


async def failed(visit: Visit, *, trouble: str = "", status: int = 200) -> Response:
    """The page. With `do` in its address it shows what would be touched, and asks once more."""
    queue, types, tag = _chosen(visit)
    do = visit.query("do") or visit.field("do")
    request = job_service_pb2.ListJobsRequest(
        queue=queue,
        states=[_FAILED],
        types=types,
        page_size=_SAMPLE if do else _PAGE,
        page_token=visit.query("page"),
    )
    found, touched, asked = job_service_pb2.ListJobsResponse(), None, do in ("retry", "delete")
    try:
        request.tags.update(tags_of(tag))
        found = await visit.ask(visit.backend.jobs.ListJobs, request)
        if asked and visit.visitor.may("operate"):
            touched = await _bulk(visit, do, queue, types, tag, dry_run=True)
    except (InvalidArgument, WrongFilter) as error:
        trouble, status = str(error), 400
    names, by_type = await asyncio.gather(queue_names(visit), _by_type(visit, queue, found.jobs))
    return visit.page(
        "failed.html",
        f"Dead letters of {queue}",
        trouble=trouble,
        status=status,
        queue=queue,
        names=names,
        types=types,
        tag=tag,
        found=found,
        by_type=by_type,
        do=do if asked else "",
        touched=touched,
        lines={name: _lines(visit, name, queue, types, tag) for name in ("retry", "delete")},
        paged=bool(visit.query("page")),
        live="",
    )


async def act(visit: Visit) -> Response:
    """Do what was asked twice."""
    queue, types, tag = _chosen(visit)
    do = "delete" if visit.field("do") == "delete" else "retry"
    try:
        number = await _bulk(visit, do, queue, types, tag, dry_run=False)
    except (TocsinError, WrongFilter) as error:
        return await failed(visit, trouble=str(error), status=409)
    said = "deleted-many" if do == "delete" else "retried-many"
    return visit.go("/failed", queue=queue, said=said, n=number)


def _chosen(visit: Visit) -> tuple[str, list[str], str]:
    """Queue, types and tags."""
    queue = visit.field("queue") or visit.query("queue") or "default"
    types = visit.field("type") or visit.query("type")
    return queue, [name.strip() for name in types.split(",") if name.strip()], visit.field("tag") or visit.query("tag")


async def _bulk(visit: Visit, do: str, queue: str, types: Sequence[str], tag: str, *, dry_run: bool) -> int:
    """Make them due again or delete them, or only count them; how many. WrongFilter."""
    jobs, tags = visit.backend.jobs, tags_of(tag)
    if do == "delete":
        deleting = bulk_pb2.BatchDeleteJobsRequest(
            queue=queue, states=[_FAILED], types=types, tags=tags, dry_run=dry_run
        )
        return int((await visit.ask(jobs.BatchDeleteJobs, deleting, many=True)).deleted)
    retrying = bulk_pb2.BatchRetryJobsRequest(queue=queue, states=[_FAILED], types=types, tags=tags, dry_run=dry_run)
    return int((await visit.ask(jobs.BatchRetryJobs, retrying, many=True)).retried)


async def _by_type(visit: Visit, queue: str, jobs: Sequence[job_pb2.Job]) -> Sequence[tuple[str, int]]:
    """How many dead letters the types of these jobs have, the most first."""
    types = [name for name, _ in Counter(job.spec.type for job in jobs).most_common(_TYPES)]
    asked = [
        visit.ask(
            visit.backend.jobs.ListJobs,
            job_service_pb2.ListJobsRequest(queue=queue, states=[_FAILED], types=[name], page_size=1),
        )
        for name in types
    ]
    counts = [page.total_size for page in await asyncio.gather(*asked)]
    return sorted(zip(types, counts, strict=True), key=lambda pair: -pair[1])


def _lines(visit: Visit, do: str, queue: str, types: Sequence[str], tag: str) -> CommandLines:
    try:
        tags = tags_of(tag)
    except WrongFilter:
        tags = {}
    options = ["--state", "failed"]
    for name in types:
        options += ["--type", name]
    for key, value in tags.items():
        options += ["--tag", f"{key}={value}"]
    request = {"states": ["FAILED"], **({"types": list(types)} if types else {}), **({"tags": tags} if tags else {})}
    method = f"JobService/Batch{do.capitalize()}Jobs"
    return visit.site.commands.lines(["jobs", do], method, request, options=options, queue=queue)
