"""Who runs jobs: workers, and servers that run handlers of their own, as `Client.workers` lists them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tocsin._calls import PreparedCall
from tocsin._checking import put
from tocsin._connection import Connection
from tocsin._times import Span, time_in
from tocsin.v1 import worker_service_pb2 as pb

_SERVICE = "tocsin.v1.WorkerService"


@dataclass(frozen=True, slots=True)
class HeldJob:
    """An attempt that a worker holds."""

    queue: str
    job_id: str
    type: str
    attempt: int


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A process that runs jobs, as its server said some seconds ago."""

    name: str
    version: str
    language: str
    labels: Mapping[str, str]
    embedded: bool  # a server that runs handlers of its own
    queues: tuple[str, ...]  # empty: all
    types: tuple[str, ...]
    since: datetime | None
    seen_time: datetime | None
    holds: int  # attempts
    held: tuple[HeldJob, ...]  # the first 100 of them
    free: int  # further attempts that it would take now
    message: pb.ListWorkersResponse.Entry = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: pb.ListWorkersResponse.Entry) -> WorkerEntry:
        """From its message."""
        return cls(
            name=message.worker.name,
            version=message.worker.version,
            language=message.worker.language,
            labels=dict(message.worker.labels),
            embedded=message.embedded,
            queues=tuple(message.queues),
            types=tuple(message.types),
            since=time_in(message, "since"),
            seen_time=time_in(message, "seen_time"),
            holds=message.holds,
            held=tuple(HeldJob(job.queue, job.job_id, job.type, job.attempt) for job in message.held),
            free=message.free,
            message=message,
        )


@dataclass(frozen=True, slots=True)
class WorkersPage:
    """One page of workers."""

    workers: list[WorkerEntry]
    next_page_token: str


def list_page(
    queue: str = "", type: str = "", page_token: str = ""
) -> PreparedCall[pb.ListWorkersResponse, WorkersPage]:
    """ListWorkers, one page."""
    request = pb.ListWorkersRequest(page_token=page_token)
    put(request, "queue", queue, "queue")
    put(request, "type", type, "type")

    def read(answer: pb.ListWorkersResponse) -> WorkersPage:
        return WorkersPage([WorkerEntry.read(entry) for entry in answer.workers], answer.next_page_token)

    return PreparedCall(f"/{_SERVICE}/ListWorkers", request, pb.ListWorkersResponse, read, repeatable=True)


async def pages(
    connection: Connection, queue: str, type: str, deadline: Span | None
) -> AsyncGenerator[list[WorkerEntry], None]:
    """Pages of workers, by name."""
    token = ""
    while True:
        page = await connection.invoke(list_page(queue, type, token), deadline)
        yield page.workers
        token = page.next_page_token
        if not token:
            return
