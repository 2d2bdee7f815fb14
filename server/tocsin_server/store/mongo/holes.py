"""Finds writes that were numbered and never logged: their server died between writing jobs and saying so. Each process
looks for itself, and takes such a hole as a message that jobs may have become claimable."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tocsin_server.store.mongo.event_log import PATIENCE, EventLog


@dataclass(slots=True)
class _Looked:
    """How far a queue's log is known to have no hole."""

    up_to: int
    at: float
    stuck_at: int | None = None  # the queue's last number when it was met with a hole
    found: int = 0  # holes so far


class Holes:
    """Looks at each queue's log now and then."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._queues: dict[str, _Looked] = {}

    async def found(self, numbers: Mapping[str, int]) -> dict[str, int]:
        """How many holes each queue has shown so far. numbers: each queue's last number of a change."""
        now = time.monotonic()
        for queue, number in numbers.items():
            looked = self._queues.get(queue)
            if looked is None or number < looked.up_to:
                # What came before is not this process's to miss: whoever begins, claims.
                self._queues[queue] = _Looked(number, now)
            elif number > looked.up_to and now - looked.at >= PATIENCE.total_seconds():
                await self._look(queue, looked, number, now)
        return {queue: self._queues[queue].found if queue in self._queues else 0 for queue in numbers}

    def keep(self, queues: Collection[str]) -> None:
        """These queues are there, and no other."""
        self._queues = {queue: looked for queue, looked in self._queues.items() if queue in queues}

    async def _look(self, queue: str, looked: _Looked, number: int, now: float) -> None:
        looked.at = now
        before = looked.up_to
        for first, last in await self._log.spans(queue, looked.up_to):
            if first > looked.up_to + 1:
                break
            looked.up_to = max(looked.up_to, last)
        if looked.up_to >= number or looked.up_to > before:
            looked.stuck_at = None
        elif looked.stuck_at is None:
            looked.stuck_at = number
        else:
            # Not up to now: what was numbered since may be under way.
            looked.up_to, looked.stuck_at, looked.found = looked.stuck_at, None, looked.found + 1
