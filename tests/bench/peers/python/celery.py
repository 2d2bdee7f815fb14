"""Celery, on Redis.

Settings: for no-op jobs the solo pool, the quickest; else two processes, for solo starts ten due jobs and then waits a
second. Results ignored, prefetch 64, no events, gossip, mingle or heartbeat; jobs are acknowledged before they run,
which is Celery's default. Its client is blocking, so the callers are threads: 1, for more are no quicker. A worker
fetches delayed jobs at once and waits for their times in its own memory. redis-py with hiredis.
"""

# /// script
# dependencies = [
#     "celery==5.7.0",
#     "kombu==5.7.0",
#     "amqp==5.4.2",
#     "billiard==4.3.2",
#     "vine==5.1.0",
#     "click==8.5.1",
#     "click-didyoumean==0.3.1",
#     "click-plugins==1.1.1.2",
#     "click-repl==0.4.1",
#     "packaging==25.0",
#     "prompt_toolkit==3.0.53",
#     "python-dateutil==2.9.0.post0",
#     "six==1.17.0",
#     "typing_extensions==4.16.0",
#     "tzlocal==5.4.5",
#     "wcwidth==0.9.4",
#     "redis==8.1.0",
#     "hiredis==3.5.0",
#     "uvloop==0.23.0",
# ]
# ///

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from celery import Celery as App
from redis import Redis

from bench.peers.python.driver import Item, Peer, now, run

_PREFETCH = 64
_CALLERS = 1


class Celery(Peer):
    packages = ("celery", "kombu", "redis", "hiredis")
    settings = (
        f"solo pool for no-op jobs, else prefork 2, ignore_result, prefetch {_PREFETCH}, acks early, "
        f"{_CALLERS} thread that calls"
    )
    cannot = {  # noqa: RUF012
        "bulk": "no call takes more than one message; a group sends one by one",
        "cancel": "revoke tells the workers that are there to pass a job over; nothing is removed",
        "standing": "the workers fetch all jobs that are due later into their memory",
    }
    threads = _CALLERS

    async def open(self, url: str) -> None:
        self._redis = Redis.from_url(url)
        self._app = App("bench", broker=url)
        self._app.conf.update(
            task_ignore_result=True,
            worker_prefetch_multiplier=_PREFETCH,
            worker_send_task_events=False,
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
            broker_connection_retry_on_startup=True,
        )
        self._started: Callable[[], None] = lambda: None

        @self._app.task(name="noop")
        def noop(**data: Any) -> None:
            self._started()

        self._task = noop

    def add(self, item: Item) -> None:
        eta = None if item.due is None else datetime.fromtimestamp(item.due / 1000, UTC)
        self._task.apply_async(kwargs=item.data, eta=eta)

    async def count(self) -> int:
        return int(self._redis.llen("celery"))

    async def work(self, started: Callable[..., None]) -> None:
        pool: dict[str, Any] = (
            {"pool": "solo", "concurrency": 1} if self.rate else {"pool": "prefork", "concurrency": 2}
        )
        self._started = started if self.rate else _told_by_others(started)
        quiet = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
        worker = self._app.Worker(**pool, loglevel="WARNING", quiet=True, **quiet)
        threading.Thread(target=worker.start, daemon=True).start()


def _told_by_others(started: Callable[..., None]) -> Callable[[], None]:
    """For handlers in processes that are forked off: their times come by a pipe."""
    reading, writing = os.pipe()

    def listen() -> None:
        while read := os.read(reading, 8 * 512):  # whole ones: each is one write
            for (at,) in struct.iter_unpack("d", read):
                started(at)

    threading.Thread(target=listen, daemon=True).start()
    return lambda: os.write(writing, struct.pack("d", now())) and None


if __name__ == "__main__":
    run(Celery())
