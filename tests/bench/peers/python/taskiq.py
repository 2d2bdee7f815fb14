"""taskiq, with its list broker of taskiq-redis.

Settings: ListQueueBroker, the quickest of its brokers: LPUSH and BRPOP. What a worker has taken is lost if it is
killed, so it is not like the others in what it promises. No result backend; at most 500 at a time in one receiver, as
`taskiq worker --workers 1 --max-async-tasks 500` runs it; redis-py with hiredis, uvloop.
"""

# /// script
# dependencies = [
#     "taskiq==0.13.0",
#     "taskiq-redis==1.2.4",
#     "taskiq-dependencies==1.5.7",
#     "aiohttp==3.14.5",
#     "aiohappyeyeballs==2.7.1",
#     "aiosignal==1.4.0",
#     "annotated-types==0.8.0",
#     "anyio==4.16.0",
#     "attrs==26.1.0",
#     "frozenlist==1.8.0",
#     "idna==3.20",
#     "multidict==7.2.1",
#     "propcache==0.5.4",
#     "pycron==3.3.0",
#     "pydantic==2.14.4",
#     "pydantic_core==2.50.5",
#     "pytz==2026.6",
#     "typing-inspection==0.4.5",
#     "typing_extensions==4.16.0",
#     "yarl==1.25.1",
#     "redis==8.1.0",
#     "hiredis==3.5.0",
#     "uvloop==0.23.0",
# ]
# ///

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker

from bench.peers.python.driver import Item, Peer, run

_AT_A_TIME = 500


class TaskIQ(Peer):
    packages = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
    settings = f"ListQueueBroker (a killed worker loses what it took), max-async-tasks {_AT_A_TIME}"
    cannot = {  # noqa: RUF012
        "bulk": "no call takes more than one job",
        "due": "its brokers for Redis have no delays; its scheduler is a process of its own that looks each second",
        "standing": "no delays, as above",
        "cancel": "what was sent cannot be taken back",
    }

    async def open(self, url: str) -> None:
        self._broker = ListQueueBroker(url)
        self._redis = Redis.from_url(url)
        self._started: Callable[[], None] = lambda: None

        async def noop(**data: Any) -> None:
            self._started()

        self._task = self._broker.register_task(noop, "noop")
        await self._broker.startup()

    async def add(self, item: Item) -> None:
        await self._task.kiq(**item.data)

    async def count(self) -> int:
        return int(await self._redis.llen(self._broker.queue_name))

    async def work(self, started: Callable[[], None]) -> None:
        self._started = started
        self._receiving = asyncio.create_task(run_receiver_task(self._broker, max_async_tasks=_AT_A_TIME))


if __name__ == "__main__":
    run(TaskIQ())
