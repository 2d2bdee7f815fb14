"""Reads a page of jobs that fits into one answer."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from tocsin.v1 import job_pb2

from tocsin_server.api.convert.job import fill
from tocsin_server.domain import limits
from tocsin_server.domain.filters import ListQuery, Order, Position
from tocsin_server.domain.job import Job, View
from tocsin_server.store.interface import JobStore

# What an answer has beside its jobs: token, total; and a tag and a length for each job.
_ROOM = limits.RESPONSE_BYTES - 4_096
_AROUND_JOB = 6
# Full jobs may have more than 1 MiB each: they are read a few at a time, so that a page of a thousand does not bring
# a gigabyte of which 3.5 MiB are given.
_FULL_AT_ONCE = 16


async def read_page(
    store: JobStore, query: ListQuery, target: RepeatedCompositeFieldContainer[job_pb2.Job]
) -> tuple[Position | None, int | None]:
    """Write a page of jobs into `target`, which ends early before it passes the limit of an answer.

    Says where the list goes on (None: nowhere), and how many match in all where the store counts that.
    """
    total: int | None = None
    room, wanted = _ROOM, query.limit
    while True:
        at_once = min(wanted, _FULL_AT_ONCE) if query.view is View.FULL else wanted
        page = await store.page(replace(query, limit=at_once))
        total = page.total if total is None else total
        for job in page.jobs:
            proto = target.add()
            fill(proto, job, query.view)
            room -= proto.ByteSize() + _AROUND_JOB
            if room < 0 and len(target) > 1:
                del target[-1]
                return query.after, total
            query = replace(query, after=_behind(query.order, job), skip=0)
        wanted -= len(page.jobs)
        # A short page has met the bound of what the store looks at in a call: what it left is the next call's.
        if page.next is None or wanted <= 0 or len(page.jobs) < at_once:
            return page.next, total
        query = replace(query, after=page.next, skip=0)


def _behind(order: Order, job: Job) -> Position:
    return Position(job.arrival, job.schedule_time if order is Order.SOONEST else None)
