"""The parents of a job, as a handler is given them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import JobContext
from tocsin.v1 import job_pb2
from tocsin.worker.runners import frames
from tocsin.worker.source import LeasedJob

NOW = datetime(2026, 11, 30, tzinfo=UTC)
JOB = LeasedJob("q", "child", "t", 1, b"token", 0, b"", NOW, NOW)
RAW = [job_pb2.Job(queue="q", job_id="a").SerializeToString(), None]


class Asked:
    """Answers what is asked, and remembers of whom."""

    def __init__(self) -> None:
        self.jobs: list[LeasedJob] = []

    def __call__(self, job: LeasedJob) -> Future[Sequence[bytes | None]]:
        self.jobs.append(job)
        answer: Future[Sequence[bytes | None]] = Future()
        answer.set_result(RAW)
        return answer


def test_a_plain_handler_reads_them_as_a_sequence_asked_for_once() -> None:
    asked = Asked()
    parents = JobContext(JOB, ask=asked).parents()
    assert asked.jobs == []  # nobody has looked yet
    assert [one and one.job_id for one in parents] == ["a", None]
    assert (len(parents), parents[-1], len(parents[:1])) == (2, None, 1)
    assert asked.jobs == [JOB]


async def test_an_async_handler_awaits_them_and_is_told_where_it_does_not() -> None:
    asked = Asked()
    context = JobContext(JOB, ask=asked)
    with pytest.raises(RuntimeError, match=r"await job\.parents"):
        len(context.parents())
    assert asked.jobs == []
    parents = context.parents()
    assert [one and one.job_id for one in await parents] == ["a", None]
    assert len(parents) == 2  # now they are there
    assert asked.jobs == [JOB]


async def test_a_handler_that_is_cancelled_waits_no_longer() -> None:
    never: Future[Sequence[bytes | None]] = Future()
    waiting = asyncio.ensure_future(asyncio.wait_for(JobContext(JOB, ask=lambda _: never).parents(), 0.01))
    with pytest.raises(TimeoutError):
        await waiting
    assert never.cancelled()


def test_without_anybody_to_ask_there_are_none() -> None:
    assert list(JobContext(JOB).parents()) == []


@given(st.lists(st.none() | st.binary(max_size=9)))
def test_what_a_process_is_told_of_them_is_what_was_said(several: list[bytes | None]) -> None:
    assert frames.parts_of(*frames.parts(several)) == several
