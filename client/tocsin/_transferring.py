"""Exports read as they come, imports sent in parts.

An import is made in calls of at most 1,000 records: each can be repeated by itself where the server goes away in the
midst of it, and each names all that it refuses. On the wire a call with one request is the same whether its method
takes one or a stream of them, so that it is sent like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from datetime import timedelta

from tocsin._calls import JOB_SERVICE, PreparedCall
from tocsin._checking import listed, word
from tocsin._connection import Connection
from tocsin._gathering import MAX_BYTES, MAX_ITEMS
from tocsin._refusals import from_status
from tocsin._repeats import Waits, may_repeat
from tocsin.enums import Over
from tocsin.errors import InvalidArgument, TocsinError, WrongType
from tocsin.transfer import Imported, OverName, RefusedRecord
from tocsin.v1 import transfer_pb2 as pb

#: Hears what each part of an import did.
Report = Callable[[Imported], None]

#: What an import takes, here and in a coroutine.
Records = Iterable[pb.TransferRecord]
AsyncRecords = Iterable[pb.TransferRecord] | AsyncIterable[pb.TransferRecord]

_EXPORT, _IMPORT = f"/{JOB_SERVICE}/ExportJobs", f"/{JOB_SERVICE}/ImportJobs"
_AROUND_RECORD = 6  # its tag and length in a request
_MOST_BYTES = 2 * MAX_BYTES - 1024  # of the only record of a request


def export_request(queues: Iterable[str], decrypt: bool) -> pb.ExportJobsRequest:
    """The request of ExportJobs. Raises InvalidArgument, WrongType."""
    names = listed(queues, "queues")
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise WrongType.of(f"queues[{i}]", f"is the name of a queue, not of type {type(name).__name__}")
    return pb.ExportJobsRequest(queues=names, decrypt=decrypt)


async def exported(
    connection: Connection, request: pb.ExportJobsRequest
) -> AsyncGenerator[Sequence[pb.TransferRecord], None]:
    """What stands, some records at a time. A server that is away is waited for, within the client's deadline, before
    the first of them; later an export that is cut has to be begun anew by who reads it."""
    waits, clock, begun = Waits(), connection.clock(None), False
    while True:
        try:
            async with aclosing(connection.stream(_EXPORT, request, pb.ExportJobsResponse)) as answers:
                async for answer in answers:
                    if answer is not None:
                        begun = True
                        yield answer.records
            return
        except TocsinError as error:
            if begun or not connection.retries or not may_repeat(error, repeatable=True):
                raise
            wait = waits.next_wait(error)
            if clock.left <= wait:
                raise
        await asyncio.sleep(wait)


def parts(records: Records, over: OverName) -> Iterator[PreparedCall[pb.ImportJobsResponse, Imported]]:
    """The calls of an import. Raises WrongType for what is no record, once it comes to it."""
    collected = _Part(over)
    for record in records:
        if collected.is_full_for(record):
            yield collected.taken()
        collected.add(record)
    if collected:
        yield collected.taken()


async def parts_of(
    records: AsyncRecords, over: OverName
) -> AsyncGenerator[PreparedCall[pb.ImportJobsResponse, Imported], None]:
    """The same, also of records that come one by one."""
    if isinstance(records, Iterable):
        for call in parts(records, over):
            yield call
        return
    collected = _Part(over)
    async for record in records:
        if collected.is_full_for(record):
            yield collected.taken()
        collected.add(record)
    if collected:
        yield collected.taken()


class Tally:
    """What all parts did."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self.total = Imported()

    def add(self, part: Imported) -> None:
        """One part more."""
        self.total = self.total.plus(part)
        if self._report is not None:
            self._report(part)


class _Part:
    """Records until they are enough for a call."""

    def __init__(self, over: OverName) -> None:
        self._over = word(Over, over, "over")
        self._index = 0  # of the first of them
        self._records: list[pb.TransferRecord] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._records)

    def is_full_for(self, record: object) -> bool:
        """Whether this one has to go with the next part. WrongType, InvalidArgument where it cannot go at all."""
        path = f"records[{self._index + len(self._records)}]"
        if not isinstance(record, pb.TransferRecord):
            raise WrongType.of(path, f"is a TransferRecord, not of type {type(record).__name__}")
        if (size := record.ByteSize()) > _MOST_BYTES:
            raise InvalidArgument.of(path, f"has {size:,} bytes, more than a request may have")
        full = len(self._records) == MAX_ITEMS or self._bytes + size > MAX_BYTES
        return full and bool(self._records)

    def add(self, record: pb.TransferRecord) -> None:
        self._records.append(record)
        self._bytes += record.ByteSize() + _AROUND_RECORD

    def taken(self) -> PreparedCall[pb.ImportJobsResponse, Imported]:
        """The call that brings them; then there are none."""
        request = pb.ImportJobsRequest(
            over=pb.ImportJobsRequest.Over.Value(self._over), records=self._records, first_index=self._index
        )
        self._index += len(self._records)
        self._records, self._bytes = [], 0
        return PreparedCall(
            _IMPORT,
            request,
            pb.ImportJobsResponse,
            _imported,
            # What was taken is kept the second time. REPLACE could undo what a job has done meanwhile.
            repeatable=self._over is Over.KEEP,
            patience=timedelta(minutes=2),
        )


def _imported(answer: pb.ImportJobsResponse) -> Imported:
    refusals = (RefusedRecord(r.index, r.queue, r.job_id, from_status(r.error)) for r in answer.refused_items)
    return Imported(
        answer.created,
        answer.kept,
        answer.same,
        answer.replaced,
        answer.refused,
        answer.released,
        tuple(refusals),
    )
