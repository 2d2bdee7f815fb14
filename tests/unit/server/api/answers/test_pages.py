"""A page never passes the limit of an answer, whatever the store brings, and goes on after its last job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from contract.builders import a_spec
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api import page_tokens
from tocsin_server.api.answers.job import listed
from tocsin_server.domain import limits
from tocsin_server.domain.filters import ListQuery, Order, Page, Position
from tocsin_server.domain.job import Job, Payload, View
from tocsin_server.domain.states import State

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HASH = bytes(8)


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
            arrival=2_000 - i,
        )
        for i, size in enumerate(sizes)
    )


def read(order: Order, sizes: list[int]) -> tuple[pb.ListJobsResponse, Position]:
    """The answer with a page of these jobs, larger than any store of ours would bring, and what its token says."""
    page = Page(jobs(sizes), Position(jobs(sizes)[-1].arrival), total=99)
    response = listed(page, ListQuery("q", order=order, view=View.FULL), HASH)
    assert response.total_size == 99
    return response, page_tokens.jobs_position(HASH, response.next_page_token)


@pytest.mark.parametrize("size", [1_000_000, 300_000, 3_600])
@pytest.mark.parametrize("order", Order)
def test_a_page_ends_before_the_limit_and_goes_on_after_its_last_job(order: Order, size: int) -> None:
    sizes = [size] * (2 * limits.RESPONSE_BYTES // size + 2)  # twice as much as there is room for
    response, next_ = read(order, sizes)
    assert limits.RESPONSE_BYTES - size - 10_000 < response.ByteSize() <= limits.RESPONSE_BYTES - 1_000
    last = jobs(sizes)[len(response.jobs) - 1]
    assert next_ == Position(last.arrival, last.schedule_time if order is Order.SOONEST else None)


def test_a_page_that_fits_goes_on_where_the_store_says() -> None:
    response, next_ = read(Order.NEWEST, [10] * 3)
    assert (len(response.jobs), next_) == (3, Position(1_998))
