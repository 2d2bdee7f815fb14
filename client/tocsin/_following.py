"""The calls that follow a job: why it does not run, and what its attempts wrote, also as they go on writing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from tocsin import _calls
from tocsin._calls import PreparedCall
from tocsin._checking import put
from tocsin._connection import Connection
from tocsin._fields import put_name
from tocsin._times import Span, put_duration
from tocsin.dependencies import WaitedFor
from tocsin.enums import View
from tocsin.errors import NotFound
from tocsin.following import Explanation, LogLine
from tocsin.jobs import Job, JobLike
from tocsin.v1 import following_pb2 as pb
from tocsin.v1 import job_pb2

_PAUSE = 1.0  # seconds between two questions for new lines; the job's end cuts it short


@dataclass(frozen=True, slots=True)
class LinesPage:
    """Some lines, and where to go on after them."""

    lines: list[LogLine]
    cursor: str
    more: bool


async def parents(connection: Connection, job: JobLike, queue: str, deadline: Span | None) -> list[Job | None]:
    """The jobs that one waits for or waited for; None for what is gone."""
    clock = connection.clock(deadline)
    child = await connection.invoke(_calls.get(job, queue), clock.left)

    async def read(parent: WaitedFor) -> Job | None:
        try:
            return await connection.invoke(_calls.get(parent), clock.left)
        except NotFound:
            return None

    return [await read(parent) for parent in child.parents]


def explain(job: JobLike, queue: str = "") -> PreparedCall[pb.ExplainJobResponse, Explanation]:
    """ExplainJob."""
    request = pb.ExplainJobRequest()
    put_name(request, job, queue)
    return _calls.job_call(
        "ExplainJob", request, pb.ExplainJobResponse, lambda answer: Explanation.read(answer.explanation), True
    )


def log_page(
    job: JobLike, queue: str = "", attempt: int = 0, cursor: str = ""
) -> PreparedCall[pb.ListJobLogsResponse, LinesPage]:
    """ListJobLogs, one page."""
    request = pb.ListJobLogsRequest(cursor=cursor)
    put_name(request, job, queue)
    put(request, "attempt", attempt, "attempt")

    def read(answer: pb.ListJobLogsResponse) -> LinesPage:
        return LinesPage([LogLine.read(entry) for entry in answer.lines], answer.next_cursor, answer.more)

    return _calls.job_call("ListJobLogs", request, pb.ListJobLogsResponse, read, True)


def wait(job: JobLike, queue: str, wait: Span) -> PreparedCall[pb.WaitJobResponse, Job]:
    """WaitJob, view BASIC."""
    request = pb.WaitJobRequest(view=job_pb2.Job.View.Value(View.BASIC))
    put_name(request, job, queue)
    put_duration(request.wait, wait, "wait")
    return _calls.job_call("WaitJob", request, pb.WaitJobResponse, lambda answer: Job(answer.job), True)


async def log_pages(
    connection: Connection, job: JobLike, queue: str, attempt: int, *, follow: bool, deadline: Span | None
) -> AsyncGenerator[list[LogLine], None]:
    """The lines there are, page by page; with `follow` also those to come, until the job has ended."""
    cursor, ended = "", not follow
    while True:
        page = await connection.invoke(log_page(job, queue, attempt, cursor), deadline)
        if page.lines:
            yield page.lines
        cursor = page.cursor
        if page.more:
            continue
        if ended:  # and what it wrote last was read after that
            return
        ended = (await connection.invoke(wait(job, queue, _PAUSE), deadline)).state.ended
