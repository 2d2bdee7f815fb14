"""Exports cut into answers, imports read from requests: a bounded number of records at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from tocsin.v1 import transfer_pb2

from tocsin_server.api import wire
from tocsin_server.api.aside import each_aside
from tocsin_server.api.convert.transfer import fill_record, to_record
from tocsin_server.api.errors import ITEM_STATUS_BYTES, to_status
from tocsin_server.api.reading import read
from tocsin_server.api.validation.transfer import check_import_jobs, check_record
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, TocsinError, Violation
from tocsin_server.domain.job import Put
from tocsin_server.operations.transfer.importing import Imported, Item
from tocsin_server.operations.transfer.records import Record

_Record = wire.shadow(transfer_pb2.TransferRecord)
_ExportJobsResponse = wire.shadow(transfer_pb2.ExportJobsResponse)

# What an answer has beside its records: a tag and a length for each.
_AROUND_RECORD = 6
# Records checked and put in place at once. While they are checked, some tens of microseconds each, no call is served.
_AT_ONCE = 200


async def answers(
    found: AsyncIterator[Sequence[Record]],
) -> AsyncGenerator[transfer_pb2.ExportJobsResponse, None]:
    """Answers with the records, none of them over the limit of an answer."""
    async for records in found:
        answer, room = _ExportJobsResponse(), limits.RESPONSE_BYTES
        for record in records:
            one = _Record()
            fill_record(one, record)
            room -= (size := one.ByteSize() + _AROUND_RECORD)
            if room < 0 and answer.records:
                yield answer
                answer, room = _ExportJobsResponse(), limits.RESPONSE_BYTES - size
            answer.records.append(one)
        yield answer


async def slices(
    requests: AsyncIterator[transfer_pb2.ImportJobsRequest],
) -> AsyncGenerator[tuple[bool, Sequence[Item]], None]:
    """What a stream of requests brings; each slice with whether it goes over what stands."""
    said: int | None = None
    index = 0
    async for request in requests:
        index = request.first_index if said is None else index
        said = check_import_jobs(request, said)
        over = said == transfer_pb2.ImportJobsRequest.REPLACE
        raws: Sequence[bytes] = request.records  # type: ignore[assignment]  # bytes in the shadow message
        for start in range(0, len(raws), _AT_ONCE):
            some = [(index + i, raw) for i, raw in enumerate(raws[start : start + _AT_ONCE])]
            yield over, await each_aside(sum(len(raw) for _, raw in some), some, _item)
            index += len(some)


def _item(indexed: tuple[int, bytes]) -> Item:
    index, raw = indexed
    at = f"records[{index}]"
    try:
        message = read(transfer_pb2.TransferRecord, _Record, raw)
    except InvalidFields as refusal:
        return Item(index, "", "", _within(at, refusal))
    queue, job_id = _names(message)
    try:
        check_record(at, message)
    except TocsinError as refusal:
        return Item(index, queue, job_id, refusal)
    return Item(index, queue, job_id, to_record(message))


def _within(at: str, refusal: InvalidFields) -> InvalidFields:
    return InvalidFields(
        [Violation(at if v.field == "request" else f"{at}.{v.field}", v.description) for v in refusal.violations]
    )


def _names(record: transfer_pb2.TransferRecord) -> tuple[str, str]:
    """Queue and job of a record that may say anything."""
    if record.HasField("job"):
        queue, job_id = record.job.job.queue, record.job.job.job_id
    else:
        queue, job_id = record.queue.queue.queue if record.HasField("queue") else record.note.queue, ""
    return (queue or limits.DEFAULT_QUEUE)[: limits.NAME_CHARACTERS], job_id[: limits.JOB_ID_CHARACTERS]


def fill_imported(target: transfer_pb2.ImportJobsResponse, done: Imported) -> None:
    """Write the answer to an import."""
    target.created, target.kept = done.counts[Put.CREATED], done.counts[Put.KEPT]
    target.same, target.replaced = done.counts[Put.SAME], done.counts[Put.REPLACED]
    target.refused, target.released = done.refused, done.released
    for one in done.refusals:
        refused = target.refused_items.add(index=one.index, queue=one.queue, job_id=one.job_id)
        # google.rpc.Status is another class in the shadow messages' pool.
        refused.error.MergeFromString(to_status(one.error, most_bytes=ITEM_STATUS_BYTES).SerializeToString())
