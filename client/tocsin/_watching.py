"""Watches that outlive a cut connection, and waiting for a job's end.

A watch of one job shows its present state first, so that after a cut nothing is missed that still holds. A watch by
filter goes on after its last cursor; where there is none, or the server no longer has what follows it, a gap is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from tocsin import _calls
from tocsin._connection import Connection
from tocsin._repeats import Waits, may_repeat
from tocsin._times import Span, span
from tocsin.enums import View
from tocsin.errors import NotFound, TocsinError, Unavailable, WaitTimeout
from tocsin.jobs import Job, JobChange
from tocsin.v1 import job_service_pb2 as pb

_PATH = f"/{_calls.JOB_SERVICE}/WatchJobs"


async def watch(connection: Connection, request: pb.WatchJobsRequest) -> AsyncGenerator[JobChange, None]:
    """Changes, until the watched job has ended or is gone; those of a filter for as long as the caller reads.

    Raises NotFound for a job that does not stand, and Unavailable where no server is reached within the client's
    deadline at the start. Later cuts are mended for as long as it takes.
    """
    follow = _follow_job if request.job_id else _follow_filter
    async with aclosing(follow(connection, request)) as changes:
        async for change in changes:
            yield change


async def wait(connection: Connection, queue: str, job_id: str, timeout: Span | None) -> Job:
    """The job after its end, in view FULL (BASIC where it was trimmed at once). Raises WaitTimeout, NotFound."""
    last: Job | None = None
    try:
        async with asyncio.timeout(None if timeout is None else span(timeout, "timeout").total_seconds()):
            async with aclosing(watch(connection, _calls.watch_request(job_id, queue))) as changes:
                async for change in changes:
                    if change.deleted:
                        raise NotFound(f"job {job_id!r} was deleted while it was waited for", reason="JOB_NOT_FOUND")
                    last = change.job or last
            return await _read_ended(connection, queue, job_id, last)
    except TimeoutError as error:
        if isinstance(error, TocsinError):
            raise
        state = "" if last is None else f"; it was {last.state}"
        raise WaitTimeout(f"job {job_id!r} did not end in time{state}", last) from None


async def _read_ended(connection: Connection, queue: str, job_id: str, last: Job | None) -> Job:
    try:
        return await connection.invoke(_calls.get(job_id, queue, View.FULL))
    except NotFound:
        if last is None:
            raise
        return last


async def _follow_job(connection: Connection, request: pb.WatchJobsRequest) -> AsyncGenerator[JobChange, None]:
    last: Job | None = None
    async with aclosing(_messages(connection, request)) as messages:
        while True:
            try:
                message = await anext(messages)
            except NotFound:
                if last is None:
                    raise
                yield JobChange(last, deleted=True)  # it went while the connection was cut
                return
            if message.HasField("gap"):  # what was missed shows in the job as it stands
                now = await _read_now(connection, request)
                change = JobChange(now or last, deleted=now is None, cursor=message.cursor)
            else:
                change = _change(message)
            if change.deleted or _is_news(change.job, last):
                yield change
                last = change.job
            if change.deleted or (last is not None and last.state.ended):
                return


async def _follow_filter(connection: Connection, request: pb.WatchJobsRequest) -> AsyncGenerator[JobChange, None]:
    async with aclosing(_messages(connection, request)) as messages:
        async for message in messages:
            yield _change(message)


async def _messages(connection: Connection, request: pb.WatchJobsRequest) -> AsyncGenerator[pb.WatchJobsResponse, None]:
    """What the server says, over as many streams as it takes. Ends only where repeats are switched off."""
    wanted = pb.WatchJobsRequest()
    wanted.CopyFrom(request)
    wanted.send_start = not wanted.job_id
    waits = Waits()
    clock = connection.clock(None)
    reached = missed = False
    while True:
        try:
            async with aclosing(connection.stream(_PATH, wanted, pb.WatchJobsResponse, patient=reached)) as stream:
                async for message in stream:
                    reached = True
                    waits.reset()
                    if message is not None:
                        if not wanted.job_id:
                            wanted.cursor = message.cursor or wanted.cursor
                        if wanted.job_id or message.HasField("job") or message.HasField("gap"):
                            yield message
                    elif missed:
                        yield pb.WatchJobsResponse(gap=pb.WatchJobsResponse.Gap())
                        missed = False
            cut: TocsinError = Unavailable("the server ended the watch")
        except TocsinError as error:
            if not may_repeat(error, repeatable=True) or not (reached or clock.left > 0) or not connection.retries:
                raise
            cut = error
        if not connection.retries:
            return
        # Without a cursor nobody knows what happens until the next stream stands.
        missed = reached and not wanted.job_id and not wanted.cursor
        await asyncio.sleep(waits.next_wait(cut))


async def _read_now(connection: Connection, request: pb.WatchJobsRequest) -> Job | None:
    try:
        return await connection.invoke(_calls.get(request.job_id, request.queue, View.BASIC))
    except NotFound:
        return None


def _change(message: pb.WatchJobsResponse) -> JobChange:
    if message.HasField("gap"):
        return JobChange(None, gap=True, cursor=message.cursor)
    return JobChange(Job(message.job), message.deleted, cursor=message.cursor)


def _is_news(job: Job | None, last: Job | None) -> bool:
    """Whether `job` is later than `last`, or another job of the same id."""
    return job is not None and (last is None or job.create_time != last.create_time or job.revision > last.revision)
