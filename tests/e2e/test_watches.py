"""Watches by filter: many of them beside each other, and cursors that go from one server to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from support.servers import Server
from support.stores import on_each_store
from tocsin import AsyncClient, JobChange

MANY = 300


@pytest_asyncio.fixture
async def client(shared_server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(shared_server.address, retries=False) as client:
        yield client


async def first_queue_of(changes: AsyncIterator[JobChange]) -> str | None:
    async with asyncio.timeout(30):
        change = await anext(changes)
    return change.job and change.job.queue


@on_each_store
async def test_hundreds_of_watched_queues_keep_no_watcher_out(client: AsyncClient, queue: str) -> None:
    names = [f"{queue}-made-up-{i}" for i in range(MANY)]
    watches = [client.watch(queue=name) for name in [*names, queue]]
    firsts = [asyncio.create_task(first_queue_of(changes)) for changes in watches]
    try:
        *_, mine = firsts
        while not mine.done():  # a watch sees what comes once it stands
            await client.schedule("noop", queue=queue)
            await asyncio.wait({mine}, timeout=0.5)
        assert mine.result() == queue
        hindered = [one for one in firsts if one.done() and one is not mine]
        assert [repr(one.exception()) for one in hindered] == []
        last = firsts[-2]
        while not last.done():
            await client.schedule("noop", queue=names[-1])
            await asyncio.wait({last}, timeout=0.5)
        assert last.result() == names[-1]
    finally:
        for one in firsts:
            one.cancel()
        await asyncio.gather(*firsts, return_exceptions=True)
        for changes in watches:
            await changes.aclose()
