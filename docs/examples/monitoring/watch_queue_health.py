"""Tells when a queue stops being healthy and when it is again; in place of a question every minute.

    TOCSIN_ADDRESS=localhost:50051 python watch_queue_health.py [QUEUE]

It asks after something has changed in the queue, once a second at most; and where nothing changes, which is how a queue
looks that nobody serves, after HEALTH_SILENCE seconds (60). A server that cannot be reached is told, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from tocsin import AsyncClient, QueueHealth, TocsinError

log = logging.getLogger("queue_health")

_PAUSE = 1.0  # seconds between two questions, however much happens


async def tell(error: str, health: QueueHealth | None) -> None:
    """Put your own here. `error` is empty where all is well again; `health` is None where no server answered."""
    if error:
        log.error("not healthy: %s", error)
    elif health is not None:
        log.info("healthy: %d waiting, %d running", health.counts.waiting, health.counts.active)


async def watch_queue_health(tocsin: AsyncClient, queue: str, silence: float) -> None:
    """Goes on for ever."""
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_hear_changes(tocsin, queue, changed))
        last: str | None = None
        while True:
            try:
                health = await tocsin.queue_health(queue)
                error = health.error
            except TocsinError as trouble:
                health, error = None, str(trouble)
            if bool(error) != bool(last) or last is None:
                await tell(error, health)
            last = error
            await asyncio.sleep(_PAUSE)
            try:
                await asyncio.wait_for(changed.wait(), silence)
            except TimeoutError:
                continue
            finally:
                changed.clear()


async def _hear_changes(tocsin: AsyncClient, queue: str, changed: asyncio.Event) -> None:
    while True:
        try:
            async for _ in tocsin.watch(queue=queue):
                changed.set()
        except TocsinError:  # no server at the start; what runs beside this tells it
            await asyncio.sleep(_PAUSE)


async def main() -> None:
    queue = sys.argv[1] if len(sys.argv) > 1 else "default"
    async with AsyncClient() as tocsin:
        await watch_queue_health(tocsin, queue, float(os.environ.get("HEALTH_SILENCE", "60")))


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO)
    asyncio.run(main())
