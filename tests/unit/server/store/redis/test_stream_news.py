"""Many queues are waited for by few reads, and where there are too many it is said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from tocsin_server.domain.errors import StoreAway, TooManyQueuesWatched
from tocsin_server.store.redis.stream_news import MAX_READS, QUEUES_A_READ, StreamNews


class Streams:
    """Streams to be read: what is put in comes to the reads that wait for it."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.under_way = 0
        self.most = 0
        self._grown = asyncio.Condition()

    async def put(self, queue: str) -> None:
        async with self._grown:
            self.last[queue] = self.last.get(queue, 0) + 1
            self._grown.notify_all()

    async def read(self, after: Mapping[str, str]) -> Mapping[str, str]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            async with self._grown:
                await self._grown.wait_for(lambda: bool(self._news(after)))
                return self._news(after)
        finally:
            self.under_way -= 1

    def _news(self, after: Mapping[str, str]) -> Mapping[str, str]:
        return {
            queue: f"{int(entry.partition('-')[0]) + 1}-0"
            for queue, entry in after.items()
            if self.last.get(queue, 0) > int(entry.partition("-")[0])
        }


async def test_hundreds_of_queues_are_waited_for_by_a_few_reads_and_each_is_heard() -> None:
    streams = Streams()
    news = StreamNews(streams.read, lambda _: 0)
    many = 5 * QUEUES_A_READ
    waiting = [asyncio.create_task(news.wait(f"q{i}", "0-0", 20)) for i in range(many)]
    await asyncio.sleep(0)
    await streams.put("q7")
    await asyncio.wait_for(waiting[7], 10)
    assert sum(one.done() for one in waiting) == 1
    for i in range(many):
        await streams.put(f"q{i}")
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert streams.most <= 5
    await news.close()


async def test_whoever_knows_less_than_was_heard_does_not_wait() -> None:
    streams = Streams()
    news = StreamNews(streams.read, lambda _: 0)
    await streams.put("q")
    await asyncio.wait_for(news.wait("q", "0-0", 20), 10)
    await asyncio.wait_for(news.wait("q", "0-0", 20), 10)
    await news.close()


async def test_in_a_store_that_was_put_back_who_finds_nothing_waits_for_what_comes_next() -> None:
    streams = Streams()
    news = StreamNews(streams.read, lambda _: 0)
    for _ in range(9):
        await streams.put("q")
    await asyncio.wait_for(news.wait("q", "8-0", 20), 10)
    streams.last["q"] = 5
    await asyncio.wait_for(news.wait("q", "5-0", 20), 10)  # by what was heard there is news
    waiting = asyncio.create_task(news.wait("q", "5-0", 20))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    await streams.put("q")
    await asyncio.wait_for(waiting, 10)
    await news.close()


async def test_too_many_reads_are_refused_and_those_that_wait_go_on() -> None:
    streams = Streams()
    news = StreamNews(streams.read, lambda queue: int(queue))
    waiting = [asyncio.create_task(news.wait(f"{i}", "0-0", 20)) for i in range(MAX_READS)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyQueuesWatched, match="its limit"):
        await news.wait(f"{MAX_READS}", "0-0", 20)
    await streams.put("3")
    await asyncio.wait_for(waiting[3], 10)
    await news.close()
    assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {type(None), StoreAway}


async def test_what_a_read_fails_with_ends_all_who_wait_for_it() -> None:
    async def failing(after: Mapping[str, str]) -> Mapping[str, str]:
        raise StoreAway("gone")

    news = StreamNews(failing, lambda _: 0)
    ends = await asyncio.gather(*(news.wait(queue, "0-0", 20) for queue in "ab"), return_exceptions=True)
    assert [str(end) for end in ends] == [str(StoreAway("gone"))] * 2
    await news.close()
