"""Once a tick: what each queue has to say. One store command, read once a process, heard by all who need it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import structlog

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: The store is read a little more often than once a tick, so that what a tick leads to still falls within that tick:
#: "a lost wake-up costs at most one tick" covers the claim too.
_SHARE = 0.9

#: How often the store is asked for its time where no claim brings it: two quartz clocks part by about 3 ms in a minute.
_ASK_TIME_EVERY = timedelta(seconds=15)

HearTicks = Callable[[Mapping[str, Tick]], None]


class Ticker:
    """Reads the ticks of all queues once a tick. Subscribe before `start`; callbacks must not block."""

    def __init__(self, store: JobStore, clock: StoreClock, every: timedelta = timedelta(seconds=1)) -> None:
        self._store = store
        self._clock = clock
        self._period = every.total_seconds() * _SHARE
        self._hearers: list[HearTicks] = []
        self._task: asyncio.Task[None] | None = None
        self._asked_time: float | None = None
        self._away = False
        self.queues: Sequence[str] = ()
        self.last_ok: float | None = None

    def on_tick(self, hear: HearTicks) -> None:
        """`hear(ticks)` with the tick of each queue: all of them once a tick, or one that was looked at."""
        self._hearers.append(hear)

    async def look(self, queue: str) -> None:
        """Read one queue now; all who hear are told of it. Raises StoreAway."""
        self._tell(await self._store.ticks([queue]))

    def start(self) -> None:
        """Begin, with a first tick at once."""
        self._task = asyncio.create_task(self._run(), name="ticker")

    async def close(self) -> None:
        """No more ticks."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        begun = time.monotonic()
        while True:
            try:
                await self._tick()
            except TocsinError as error:
                if not self._away:
                    _log.warning("store_away", error=str(error))
                self._away = True
            except Exception:
                _log.exception("tick_failed")
            # Counted from the first tick, so that the store's answers do not stretch the period; ticks that were
            # missed while the store was slow are not made up for.
            done = time.monotonic() - begun
            await asyncio.sleep(self._period - done % self._period)

    async def _tick(self) -> None:
        asked = time.monotonic()
        if self._asked_time is None or asked - self._asked_time > _ASK_TIME_EVERY.total_seconds():
            self._clock.heard(await self._store.ping(), asked)
            self._asked_time = asked
        self.queues = await self._store.queues()
        ticks = await self._store.ticks(self.queues) if self.queues else {}
        if self._away:
            self._away = False
            _log.info("store_back")
        self.last_ok = time.monotonic()
        self._tell(ticks)

    def _tell(self, ticks: Mapping[str, Tick]) -> None:
        for hear in self._hearers:
            try:
                hear(ticks)
            except Exception:
                _log.exception("tick_not_taken")
