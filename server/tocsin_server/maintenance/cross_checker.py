"""Holds what is derived from jobs against the jobs themselves, slowly and for ever: a hand, another program, or a fault
of ours may have parted them, and then a job is in no list, is never run, or is counted wrongly."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

import structlog

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import Chore
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: A step looks at some 200 keys or 100 jobs, and takes a few milliseconds at most: a million jobs take 1 to 3 hours.
_EVERY = timedelta(milliseconds=900)

#: After a pass over all that stands, so that a small idle store is not walked over and over.
_REST = timedelta(seconds=30)


class CrossChecker(Chore):
    """One step of JobStore.check a second, and a rest after each pass. `mended`: what was mended since the start."""

    name = "cross_checker"

    def __init__(self, store: JobStore, *, every: timedelta = _EVERY, rest: timedelta = _REST) -> None:
        self._store = store
        self._every, self._rest = every.total_seconds(), rest.total_seconds()
        self._next = 0.0
        self.mended: Counter[str] = Counter()

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        pass

    async def step(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._every
        checked = await self._store.check()
        if checked.done:
            self._next = now + self._rest
        for what, number in checked.mended.items():
            self.mended[what] += number
            _log.warning("store_mended", what=what, number=number)
        return False
