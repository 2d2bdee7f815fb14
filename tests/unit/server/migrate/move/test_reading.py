"""Batches of jobs that are read while those before them are worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from contract.builders import a_job
from tocsin_server.domain.job import Job
from tocsin_server.migrate.move.reading import read_ahead


class Source:
    """Three batches of one job each, and which were read."""

    def __init__(self, *, fails_at: int = 3) -> None:
        self.read: asyncio.Queue[int] = asyncio.Queue()
        self.closed = False
        self._fails_at = fails_at

    async def batches(self) -> AsyncGenerator[Sequence[Job], None]:
        try:
            for number in range(3):
                if number == self._fails_at:
                    raise OSError("the source is away")
                self.read.put_nowait(number)
                yield [a_job(f"{number}")]
        finally:
            self.closed = True


async def test_each_is_read_while_the_one_before_is_worked_on() -> None:
    source = Source()
    async with asyncio.timeout(10), aclosing(read_ahead(source.batches())) as batches:
        assert [job.job_id for job in await anext(batches)] == ["0"]
        assert [await source.read.get(), await source.read.get()] == [0, 1]
        assert [job.job_id for [job] in [batch async for batch in batches]] == ["1", "2"]
    assert source.closed


async def test_who_leaves_early_leaves_nothing_open() -> None:
    source = Source()
    async with aclosing(read_ahead(source.batches())) as batches:
        async for _ in batches:
            break
    assert source.closed
    assert source.read.qsize() < 3


async def test_a_failure_comes_where_its_batch_would_have() -> None:
    batches = read_ahead(Source(fails_at=1).batches())
    assert [job.job_id for job in await anext(batches)] == ["0"]
    with pytest.raises(OSError, match="away"):
        await anext(batches)
