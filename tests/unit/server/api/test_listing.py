"""A page never passes the limit of an answer, whatever the store brings, and goes on after its last job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from contract.builders import a_spec
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api import wire
from tocsin_server.api.listing import read_page
from tocsin_server.domain import limits
from tocsin_server.domain.filters import ListQuery, Order, Page, Position
from tocsin_server.domain.job import Job, Payload, View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@dataclass
class Generous:
    """Brings a page of any size at once, as no store of ours does."""

    jobs: tuple[Job, ...]

    async def page(self, query: ListQuery) -> Page:
        return Page(self.jobs, Position(self.jobs[-1].arrival), total=99)


def jobs(sizes: list[int]) -> tuple[Job, ...]:
    return tuple(
        Job(
            job_id=str(i),
            spec=a_spec(payload=Payload(11, bytes(size))),
            state=State.SCHEDULED,
            create_time=NOON,
            schedule_time=NOON + timedelta(hours=i),
            start_time=None,
            end_time=None,
            attempt=0,
            failures=0,
            crashes=0,
            revision=1,
            arrival=100 - i,
        )
        for i, size in enumerate(sizes)
    )


async def read(order: Order, sizes: list[int]) -> tuple[pb.ListJobsResponse, Position | None]:
    response = wire.shadow(pb.ListJobsResponse)()
    store = cast(JobStore, Generous(jobs(sizes)))
    next_, total = await read_page(store, ListQuery("q", order=order, view=View.FULL), response.jobs)
    assert total == 99
    return response, next_


@pytest.mark.parametrize("size", [1_000_000, 300_000, 3_600])
@pytest.mark.parametrize("order", Order)
async def test_a_page_ends_before_the_limit_and_goes_on_after_its_last_job(order: Order, size: int) -> None:
    response, next_ = await read(order, [size] * 1000)
    assert limits.RESPONSE_BYTES - size - 10_000 < response.ByteSize() <= limits.RESPONSE_BYTES - 1_000
    last = jobs([size] * 1000)[len(response.jobs) - 1]
    assert next_ == Position(last.arrival, last.schedule_time if order is Order.SOONEST else None)


async def test_a_page_that_fits_goes_on_where_the_store_says() -> None:
    response, next_ = await read(Order.NEWEST, [10] * 3)
    assert (len(response.jobs), next_) == (3, Position(98))
