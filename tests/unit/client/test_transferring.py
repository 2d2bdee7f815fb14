"""Imports go in parts that are repeated where that is safe; exports begin again only where nothing was read yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from tocsin import AsyncClient, Client, Imported, InvalidArgument, TransferRecord, Unavailable, WrongType
from tocsin.v1 import transfer_pb2 as pb
from unit.client.canned_server import AWAY, UNKNOWN_OUTCOME, serving
from unit.client.transfer_server import TransferService, a_record


@pytest.fixture
async def service() -> TransferService:
    return TransferService()


@pytest.fixture
async def address(service: TransferService) -> AsyncIterator[str]:
    async with serving(service) as found:
        yield found


def many(number: int, payload: bytes = b"") -> Iterator[TransferRecord]:
    return (a_record(f"j{n}", payload=payload) for n in range(number))


async def test_an_import_goes_a_thousand_records_a_call(client: AsyncClient, service: TransferService) -> None:
    heard: list[Imported] = []
    done = await client.import_jobs(many(2_500), over="REPLACE", report=heard.append)
    assert (done.created, done.records) == (2_500, 2_500)
    asked = service.asked("ImportJobs")
    assert [(len(one.records), one.first_index, one.over) for one in asked] == [
        (1_000, 0, pb.ImportJobsRequest.REPLACE),
        (1_000, 1_000, pb.ImportJobsRequest.REPLACE),
        (500, 2_000, pb.ImportJobsRequest.REPLACE),
    ]
    assert [one.records for one in heard] == [1_000, 1_000, 500]


async def test_large_records_go_fewer_a_call(client: AsyncClient, service: TransferService) -> None:
    await client.import_jobs(many(20, bytes(1 << 20)))
    asked = service.asked("ImportJobs")
    assert [len(one.records) for one in asked] == [7, 7, 6]
    assert max(one.ByteSize() for one in asked) <= 8 << 20
    assert [record.job.job.job_id for one in asked for record in one.records] == [f"j{n}" for n in range(20)]


async def test_records_of_an_export_come_one_by_one(client: AsyncClient, service: TransferService) -> None:
    service.exports = iter([[pb.ExportJobsResponse(records=[a_record("a"), a_record("b")])]])
    assert (await client.import_jobs(client.export_jobs(["q"]))).created == 2
    [asked] = service.asked("ExportJobs")
    assert list(asked.queues) == ["q"]


async def test_nothing_to_import_is_no_call(client: AsyncClient, service: TransferService) -> None:
    assert await client.import_jobs([]) == Imported()
    assert service.calls == []


async def test_with_keep_a_part_is_made_again(client: AsyncClient, service: TransferService) -> None:
    service.failing = iter([UNKNOWN_OUTCOME, AWAY])
    assert (await client.import_jobs(many(2))).created == 2
    assert len(service.asked("ImportJobs")) == 3


async def test_with_replace_it_is_not_where_it_may_have_acted(client: AsyncClient, service: TransferService) -> None:
    service.failing = iter([AWAY, UNKNOWN_OUTCOME])
    with pytest.raises(Unavailable) as caught:
        await client.import_jobs(many(2), over="REPLACE")
    assert caught.value.outcome_unknown
    assert len(service.asked("ImportJobs")) == 2


async def test_what_is_refused_is_named_by_its_number_among_all(client: AsyncClient, service: TransferService) -> None:
    records = [*many(1_500), a_record("bad"), a_record("good")]
    done = await client.import_jobs(records)
    assert (done.created, done.refused, done.records) == (1_501, 1, 1_502)
    [one] = done.refusals
    assert (one.index, one.queue, one.job_id) == (1_500, "q", "bad")
    assert isinstance(one.error, InvalidArgument)


async def test_a_thousand_refusals_are_kept_and_every_part_tells_of_its_own(
    client: AsyncClient, service: TransferService
) -> None:
    heard: list[int] = []
    done = await client.import_jobs(
        (a_record("bad") for _ in range(2_100)), report=lambda part: heard.extend(one.index for one in part.refusals)
    )
    assert (done.refused, len(done.refusals)) == (2_100, 1_000)
    assert heard == list(range(2_100))


async def test_what_is_no_record_is_refused_before_it_is_sent(client: AsyncClient, service: TransferService) -> None:
    with pytest.raises(WrongType, match=r"records\[1\]"):
        await client.import_jobs([a_record(), {"job": {}}])  # type: ignore[list-item]
    with pytest.raises(InvalidArgument, match=r"records\[0\]"):
        await client.import_jobs([a_record(payload=bytes(17 << 20))])
    with pytest.raises(InvalidArgument, match="over"):
        await client.import_jobs([a_record()], over="FAIL")  # type: ignore[arg-type]
    with pytest.raises(WrongType, match="queues"):
        await anext(client.export_jobs("q"))
    assert service.calls == []


async def test_an_export_waits_for_a_server_that_is_away_and_is_not_begun_anew_in_its_midst(
    client: AsyncClient, service: TransferService
) -> None:
    some = pb.ExportJobsResponse(records=[a_record()])
    service.exports = iter([[AWAY], [AWAY], [some, AWAY], [some]])
    found = client.export_jobs()
    assert await anext(found) == a_record()
    with pytest.raises(Unavailable):
        await anext(found)
    assert len(service.asked("ExportJobs")) == 3


async def test_the_blocking_client_moves_from_one_server_to_another(address: str, service: TransferService) -> None:
    service.exports = iter([[pb.ExportJobsResponse(records=[a_record()])] * 3])

    def move() -> Imported:
        with Client(address) as here, Client(address) as there:
            return there.import_jobs(here.export_jobs())

    assert (await asyncio.to_thread(move)).created == 3
    [asked] = service.asked("ImportJobs")
    assert (len(asked.records), asked.over) == (3, pb.ImportJobsRequest.KEEP)
