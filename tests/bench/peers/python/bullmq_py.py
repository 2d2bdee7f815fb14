"""BullMQ's library for Python.

Settings: jobs are removed when they have ended; 50 at a time a worker, the best of those tried when the peers were
first measured. All else as BullMQ has it; redis-py with hiredis, uvloop.
"""

# /// script
# dependencies = [
#     "bullmq==3.4.4",
#     "croniter==2.0.7",
#     "python-dateutil==2.9.0.post0",
#     "pytz==2026.6",
#     "six==1.17.0",
#     "msgpack==1.2.3",
#     "semver==3.1.0",
#     "redis==8.1.0",
#     "hiredis==3.5.0",
#     "uvloop==0.23.0",
# ]
# ///

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bullmq import Job, Queue, Worker

from bench.peers.python.driver import Item, Peer, run

_CONCURRENCY = 50
_REMOVED = {"removeOnComplete": True, "removeOnFail": True}


def _options(item: Item) -> dict[str, Any]:
    return _REMOVED if item.due is None else {**_REMOVED, "delay": int(1000 * item.delay)}


class BullMQ(Peer):
    packages = ("bullmq", "redis", "hiredis", "uvloop")
    settings = f"removeOnComplete and removeOnFail, concurrency {_CONCURRENCY}"

    async def open(self, url: str) -> None:
        self._url = url
        self._queue = Queue("bench", {"connection": url})

    async def add(self, item: Item) -> Job:
        return await self._queue.add("noop", item.data, _options(item))

    async def bulk(self, built: Sequence[Item]) -> None:
        await self._queue.addBulk([{"name": "noop", "data": item.data, "opts": _options(item)} for item in built])

    async def cancel(self, handle: Job) -> None:
        await handle.remove()

    async def count(self) -> int:
        return sum((await self._queue.getJobCounts("waiting", "delayed")).values())

    async def work(self, started: Callable[[], None]) -> None:
        async def noop(job: Job, token: str) -> None:
            started()

        self._worker = Worker("bench", noop, {"connection": self._url, "concurrency": _CONCURRENCY})


if __name__ == "__main__":
    run(BullMQ())
