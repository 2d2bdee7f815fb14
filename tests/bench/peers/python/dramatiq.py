"""Dramatiq, on Redis.

Settings: 32 threads in one process, all middleware as Dramatiq has it but for Prometheus, which its own extra brings;
redis-py with hiredis. Its client is blocking, so the callers are threads: 1, for more are slower.
"""

# /// script
# dependencies = [
#     "dramatiq==2.2.1",
#     "redis==8.1.0",
#     "hiredis==3.5.0",
#     "uvloop==0.23.0",
# ]
# ///

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.python.driver import Item, Peer, run

_THREADS = 32
_CALLERS = 1


class Dramatiq(Peer):
    packages = ("dramatiq", "redis", "hiredis")
    settings = f"{_THREADS} worker threads, {_CALLERS} thread that calls"
    cannot = {  # noqa: RUF012
        "bulk": "no call takes more than one message",
        "cancel": "a message that was sent cannot be taken back",
    }
    threads = _CALLERS

    async def open(self, url: str) -> None:
        self._broker = RedisBroker(url=url)
        dramatiq.set_broker(self._broker)
        self._started: Callable[[], None] = lambda: None

        @dramatiq.actor
        def noop(**data: Any) -> None:
            self._started()

        self._actor = noop

    def add(self, item: Item) -> None:
        self._actor.send_with_options(kwargs=item.data, delay=None if item.due is None else int(1000 * item.delay))

    async def count(self) -> int:
        names = ("dramatiq:default.msgs", "dramatiq:default.DQ.msgs")
        return sum(self._broker.client.hlen(name) for name in names)

    async def work(self, started: Callable[[], None]) -> None:
        self._started = started
        self._worker = dramatiq.Worker(self._broker, worker_threads=_THREADS)
        self._worker.start()


if __name__ == "__main__":
    run(Dramatiq())
