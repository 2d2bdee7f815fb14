"""The jobs of a queue, by state, type, tag and time, newest first; and the way to one by its id."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response
from tocsin import InvalidArgument
from tocsin.v1 import job_pb2, job_service_pb2, queue_service_pb2

from tocsin_server.settings import duration
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
    )


async def queue_names(visit: Visit) -> list[str]:
    """The first queues by name."""
    entries, _ = await queue_entries(visit, _OFFERED)
    return [entry.queue.queue for entry in entries]


class WrongFilter(Exception):
    """A field of the filter cannot be read. The message says how it is written."""


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


def tags_of(text: str) -> dict[str, str]:
    """ "city=Bern, vip=yes" as a table. WrongFilter."""
    found = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise WrongFilter(f"write a tag as key=value, not {part!r}")
        found[key.strip()] = value.strip()
    return found


def moment(text: str, *, ahead: bool = False) -> Timestamp:
    """ "2h" is two hours ago, or `ahead` of now; else a time, as 2030-12-24T18:00 in UTC or with its zone. Raises
    WrongFilter."""
    found = Timestamp()
    try:
        away = duration(text)
    except ValueError:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise WrongFilter(f"write a time as 2h, or as 2030-12-24T18:00Z, not {text!r}") from None
        found.FromDatetime(time if time.tzinfo else time.replace(tzinfo=UTC))
        return found
    try:
        found.FromDatetime(datetime.now(UTC) + (away if ahead else -away))
    except (OverflowError, ValueError):
        raise WrongFilter(f"{text!r} is too far away") from None
    return found


def span_of(text: str) -> timedelta | None:
    """ "10m" as a span of time; None: it is none."""
    try:
        return duration(text)
    except ValueError:
        return None
