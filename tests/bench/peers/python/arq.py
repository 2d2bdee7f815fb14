"""arq.

Settings: no results are kept; it looks for jobs every 10 ms, where its default is half a second, for otherwise that is
all that one would measure; 100 at a time; redis-py 5, for it does not take 6, with hiredis, uvloop.
"""

# /// script
# dependencies = [
#     "arq==0.28.0",
#     "click==8.5.1",
#     "PyJWT==2.15.1",
#     "redis==5.3.1",
#     "hiredis==3.5.0",
#     "uvloop==0.23.0",
# ]
# ///

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from arq import Worker, create_pool, func
from arq.connections import RedisSettings

from bench.peers.python.driver import Item, Peer, run

_AT_A_TIME = 100
_LOOKS = 0.01


class Arq(Peer):
    packages = ("arq", "redis", "hiredis", "uvloop")
    settings = f"keep_result 0, poll_delay {_LOOKS}, max_jobs {_AT_A_TIME}"
    cannot = {  # noqa: RUF012
        "bulk": "no call takes more than one job",
        "cancel": "abort leaves a mark for the worker and waits until it has acted; nothing is removed without one",
    }

    async def open(self, url: str) -> None:
        self._redis = await create_pool(RedisSettings.from_dsn(url))

    async def add(self, item: Item) -> None:
        due = None if item.due is None else datetime.fromtimestamp(item.due / 1000, UTC)
        await self._redis.enqueue_job("noop", _defer_until=due, **item.data)

    async def count(self) -> int:
        return int(await self._redis.zcard(self._redis.default_queue_name))

    async def work(self, started: Callable[[], None]) -> None:
        async def noop(context: Any, **data: Any) -> None:
            started()

        self._worker = Worker(
            [func(noop, name="noop", keep_result=0)],
            redis_pool=self._redis,
            keep_result=0,
            max_jobs=_AT_A_TIME,
            poll_delay=_LOOKS,
            handle_signals=False,
            log_results=False,
        )
        self._task = asyncio.create_task(self._worker.async_run())


if __name__ == "__main__":
    run(Arq())
