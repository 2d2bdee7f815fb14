"""Once a tick: what queues have to say, read once a process, heard by all who need it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import structlog

from tocsin_server.background import Loop
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.rounds import Rounds
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: The store is read a little more often than once a tick, so that what a tick leads to still falls within that tick:
#: "a lost wake-up costs at most one tick" covers the claim too.
_SHARE = 0.9

#: How often the store is asked for its time where no claim brings it: two quartz clocks part by about 3 ms in a minute.
_ASK_TIME_EVERY = timedelta(seconds=15)

#: How often all names are read where their number is as known. One name may go and another come between two looks.
_ASK_NAMES_EVERY = timedelta(minutes=1)

T = TypeVar("T")
HearTicks = Callable[[Mapping[str, Tick]], None]
HearNames = Callable[[Collection[str]], None]


class Ticker:
    """Reads the ticks of queues, and tells those who want to know. Subscribe before `start`; callbacks must not block.

    Once a tick it reads the queues that are in use: those of which something was heard or seen lately, and those whose
    own times have come. Of the others it reads so many more as one command of the store may ask for, in turn. So where
    there are no more queues than that, all are read each tick; of very many idle ones each is read now and then, at the
    same cost. All are read at the start, and when messages may have been missed.
    """

    def __init__(self, store: JobStore, clock: StoreClock, every: timedelta = timedelta(seconds=1)) -> None:
        self._store = store
        self._clock = clock
        self._period = every.total_seconds() * _SHARE
        self._hearers: list[HearTicks] = []
        self._keepers: list[HearNames] = []
        self._loop = Loop(self._run, "ticker")
        self._asked_time, self._asked_names = 0.0, 0.0
        self._time, self._names = _Reading[datetime](), _Reading[list[str] | None]()
        self._away = False
        self._hurry = asyncio.Event()
        self._rounds = Rounds()
        self.last_ok: float | None = None

    @property
    def dead(self) -> bool:
        """Whether it has ended though nobody closed it, of which only a restart is a cure."""
        return self._loop.ended

    def on_tick(self, hear: HearTicks) -> None:
        """`hear(ticks)` with the ticks of the queues that were read: some or all of them once a tick, or one that was
        looked at."""
        self._hearers.append(hear)

    def on_names(self, keep: HearNames) -> None:
        """`keep(queues)` with all queues that are there, now and then: what is known of others can be dropped. One that
        came just now may be missing."""
        self._keepers.append(keep)

    def silent_since(self) -> datetime | None:
        """Since when the store has not answered, by this machine's clock; None where it did so lately."""
        silent = 0.0 if self.last_ok is None else time.monotonic() - self.last_ok
        return datetime.now(UTC) - timedelta(seconds=silent) if silent > max(3.0, 3 * self._period) else None

    def know(self, queue: str) -> None:
        """A message told of this queue: it is in use, and there, should the names not be readable just now."""
        self._rounds.hear(queue)

    def read_all(self) -> None:
        """Read every queue at the next tick: messages may have been missed."""
        self._rounds.begin_anew()

    def read_all_now(self) -> None:
        """Ask for the time and read every queue at once: the store's clock was moved."""
        self._asked_time = 0.0
        self._rounds.begin_anew()
        self._hurry.set()

    async def look(self, queue: str) -> None:
        """Read one queue now; all who hear are told of it. Raises StoreAway."""
        self._take(await self._store.ticks([queue]))

    def start(self) -> None:
        """Begin, with a first tick at once."""
        self._loop.start()

    async def close(self) -> None:
        """No more ticks."""
        await self._loop.close()
        await self._time.close()
        await self._names.close()

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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period - done % self._period):
                    await self._hurry.wait()
            self._hurry.clear()

    async def _tick(self) -> None:
        await self._ask_time()
        await self._ask_names()
        at_once = self._store.ticks_at_once
        queues = self._rounds.choose(self._clock.now(), at_once)
        if not queues:
            self._answered({})
        # Part by part, so that what is due in the first of very many queues need not wait for the last to be read.
        for start in range(0, len(queues), at_once):
            self._answered(await self._store.ticks(queues[start : start + at_once]))

    def _answered(self, ticks: Mapping[str, Tick]) -> None:
        if self._away:
            self._away = False
            _log.info("store_back")
        self.last_ok = time.monotonic()
        self._take(ticks)

    # In a cluster time and names may come from another server than what is said of the queues: once they are known,
    # that one's silence must not keep what the others say from being heard.

    async def _ask_time(self) -> None:
        if self._asked_time and time.monotonic() - self._asked_time <= _ASK_TIME_EVERY.total_seconds():
            return
        try:
            now = await self._time.read(self._store.ping, within=self._period if self._asked_time else None)
        except TocsinError:
            if not self._asked_time:
                raise
            return
        if now is not None:
            self._clock.heard(now, self._time.asked)
            self._asked_time = self._time.asked

    async def _ask_names(self) -> None:
        try:
            names = await self._names.read(self._read_names, within=self._period if len(self._rounds) else None)
        except TocsinError:
            if not len(self._rounds):
                raise
            return
        if names is not None:
            self._rounds.set_names(names)
            self._asked_names = self._names.asked
            self._tell(self._keepers, frozenset(names))

    async def _read_names(self) -> list[str] | None:
        """All names; None where those that are known are as many, and were read lately."""
        fresh = self._asked_names and time.monotonic() - self._asked_names < _ASK_NAMES_EVERY.total_seconds()
        if fresh and await self._store.count_queues() == len(self._rounds):
            return None
        return await self._store.queues()

    def _take(self, ticks: Mapping[str, Tick]) -> None:
        self._rounds.take(ticks, self._clock.now(), self._period)
        self._tell(self._hearers, ticks)

    def _tell(self, hearers: Sequence[Callable[[T], None]], news: T) -> None:
        for hear in hearers:
            try:
                hear(news)
            except Exception:
                _log.exception("tick_not_taken")


class _Reading(Generic[T]):
    """A question to the store that may take longer than whoever asks can wait."""

    def __init__(self) -> None:
        self._task: asyncio.Future[T] | None = None
        self.asked = 0.0  # time.monotonic() when it was sent last

    async def read(self, ask: Callable[[], Coroutine[Any, Any, T]], within: float | None) -> T | None:
        """The answer. None where it has not come `within` seconds; then the next call goes on waiting for it."""
        if self._task is None:
            self._task, self.asked = asyncio.ensure_future(ask()), time.monotonic()
        await asyncio.wait({self._task}, timeout=within)
        if not self._task.done():
            return None
        task, self._task = self._task, None
        return task.result()

    async def close(self) -> None:
        """Wait no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task.cancelled() or self._task.exception()  # seen
