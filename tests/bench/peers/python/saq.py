"""SAQ.

Settings: ttl -1, so that no result is kept; 50 at a time a worker, the best of those tried when the peers were first
measured; all timers as SAQ has them, and at most 20 calls to Redis at a time, for more are no quicker; redis-py with
hiredis, uvloop. It has no call that takes many jobs.
"""

# /// script
# dependencies = [
#     "saq==0.26.4",
#     "croniter==2.0.7",
#     "python-dateutil==2.9.0.post0",
#     "pytz==2026.6",
#     "six==1.17.0",
#     "typing_extensions==4.16.0",
#     "redis==8.1.0",
#     "hiredis==3.5.0",
#     "uvloop==0.23.0",
# ]
# ///

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from saq import Job, Queue, Worker

from bench.peers.python.driver import Item, Peer, run

_CONCURRENCY = 50


class Saq(Peer):
    packages = ("saq", "redis", "hiredis", "uvloop")
    settings = f"ttl -1, concurrency {_CONCURRENCY}"
    cannot = {"bulk": "no call takes more than one job"}  # noqa: RUF012

    async def open(self, url: str) -> None:
        self._queue = Queue.from_url(url)
        await self._queue.connect()

    async def add(self, item: Item) -> Job | None:
        scheduled = 0 if item.due is None else item.due / 1000
        return await self._queue.enqueue("noop", ttl=-1, scheduled=scheduled, **item.data)

    async def cancel(self, handle: Job) -> None:
        await handle.abort("not wanted")

    async def count(self) -> int:
        return await self._queue.count("incomplete")  # those that are queued among them

    async def work(self, started: Callable[[], None]) -> None:
        async def noop(context: Any, **data: Any) -> None:
            started()

        worker = Worker(self._queue, [("noop", noop)], concurrency=_CONCURRENCY)
        self._task = asyncio.create_task(worker.start())


if __name__ == "__main__":
    run(Saq())
