"""Reads a page of jobs that fits into one answer."""

from __future__ import annotations

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from tocsin.v1 import job_pb2

from tocsin_server.api.convert.job import fill
from tocsin_server.domain import limits
from tocsin_server.domain.filters import ListQuery, Order, Position
from tocsin_server.domain.job import Job
from tocsin_server.store.interface import JobStore

# What an answer has beside its jobs: token and total; and a tag and a length for each job.
_ROOM = limits.RESPONSE_BYTES - 4_096
_AROUND_JOB = 6


async def read_page(
    store: JobStore, query: ListQuery, target: RepeatedCompositeFieldContainer[job_pb2.Job]
) -> tuple[Position | None, int | None]:
    """Write a page of jobs into `target`, which ends early before it passes the limit of an answer.

    Says where the list goes on (None: nowhere), and how many match in all where the store counts that.
    """
    page = await store.page(query)
    room = _ROOM
    for i, job in enumerate(page.jobs):
        proto = target.add()
        fill(proto, job, query.view)
        room -= proto.ByteSize() + _AROUND_JOB
        if room < 0 and i:
            del target[-1]
            return _behind(query.order, page.jobs[i - 1]), page.total
    return page.next, page.total


def _behind(order: Order, job: Job) -> Position:
    return Position(job.arrival, job.schedule_time if order is Order.SOONEST else None)
