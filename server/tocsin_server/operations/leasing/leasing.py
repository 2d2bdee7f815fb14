"""The one waiting loop: whoever runs jobs sits here, and is handed jobs as soon as something can be claimed for it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from tocsin_server.domain.errors import Draining
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.finishing import Finishing
from tocsin_server.operations.leasing.claimable import Claimable
from tocsin_server.operations.leasing.claims import Claims
from tocsin_server.operations.leasing.holdings import Holdings
from tocsin_server.operations.leasing.riding import Ride
from tocsin_server.operations.leasing.seats import Capacity, Seat, Seats
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry.metrics import Metrics

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: Seconds that outcomes wait for jobs that are about to begin. Where many are due at once, the last begins sooner by
#: what it takes to record the ends of the first.
_LONGEST_RUSH = 0.01

_LONGEST_SLEEP = 60.0  # seconds; a due time years ahead is looked at again now and then


class Leasing:
    """Claims for those who sit here, queue after queue in turn, and sleeps while nothing is due or nobody has a free
    slot. A claim joins what several seats take of a queue.

    finishing, holdings: of all who sit here. tick: the longest pause between attempts while the store is away.
    Subscribes to `wakeups` and `ticker`, so make it before those are started.
    """

    def __init__(
        self,
        store: JobStore,
        finishing: Finishing,
        wakeups: Wakeups,
        ticker: Ticker,
        clock: StoreClock,
        *,
        tick: timedelta = timedelta(seconds=1),
        metrics: Metrics | None = None,
    ) -> None:
        self.finishing = finishing
        self.holdings = Holdings(wakeups, metrics)
        self._ticker = ticker
        self._clock = clock
        self._tick = tick
        self._changed = asyncio.Event()
        self._claimable = Claimable()
        self._seats = Seats()
        self._claims = Claims(
            store,
            clock,
            ticker,
            self._claimable,
            self._seats,
            deliver=self._deliver,
            changed=self._changed.set,
            longest_pause=tick,
        )
        self._sitting: set[Seat] = set()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._giving_back: set[asyncio.Task[None]] = set()
        wakeups.on_work(self._hear_work)
        ticker.on_tick(self._hear_ticks)
        ticker.on_names(self._keep)

    def seat(
        self,
        types: Collection[str],
        capacity: Callable[[], Capacity],
        take: Callable[[Sequence[Claimed]], None],
        *,
        queues: Collection[str] | None = None,
        lease: timedelta = timedelta(seconds=30),
        fresh: Callable[[str], Awaitable[None]] | None = None,
        request: Callable[[str], bytes] | None = None,
        apart: bool = False,
    ) -> Seat:
        """Take jobs of these types from now on, until the seat is left: what each argument is, Seat says.

        `take` is called as soon as something was leased, also while the store is away now and then. lease: 1 s to 12 h.
        Raises Draining once this is being closed.
        """
        if self._closing:
            raise Draining
        seat = Seat(
            types=frozenset(types),
            queues=None if queues is None else frozenset(queues),
            lease=lease,
            capacity=capacity,
            take=take,
            fresh=fresh,
            request=request,
            apart=apart,
            on_widened=self._widened,
            on_leave=self._leave,
        )
        self._sitting.add(seat)
        self._claimable.serve(seat.types, seat.queues)
        self._widened(seat)
        return seat

    @property
    def claiming(self) -> bool:
        """Whether a claim may have leased something that nobody here holds yet."""
        return self._claims.claiming

    def start(self) -> None:
        """Begin to claim."""
        self._task = asyncio.create_task(self._run(), name="leasing")

    async def close(self, within: timedelta = timedelta(seconds=5)) -> None:
        """Claim no more. What a claim under way brings is given back; at most `within` is spent on it."""
        self._closing = True
        for seat in list(self._sitting):
            seat.leave()
        self._changed.set()
        until = time.monotonic() + within.total_seconds()
        # The loop first: its last claim may have something to give back.
        for tasks in ({self._task} if self._task else set(), self._claims.slow, self._claims.looks, self._giving_back):
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=max(0.0, until - time.monotonic()))
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def ride(self, queue: str, types: Mapping[str, int]) -> Ride | None:
        """A claim to travel with so many jobs of each type, due now, that are about to be added to the queue; None
        where there is no slot for them at once. Whoever takes it calls its `add`."""
        if self._closing:
            return None
        ride = await self._claims.ride(queue, types)
        if ride is not None:
            self._ticker.know(queue)  # nobody is rung
        return ride

    async def lull(self) -> None:
        """Return once no claim is under way of a queue whose last one said that there is more; after 10 ms anyway."""
        calm = self._claims.calm
        if not calm.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_RUSH):
                    await calm.wait()

    def in_turn(self) -> list[str]:
        """Queues that may have something, but for which there is no free slot."""
        return self._claimable.in_turn()

    # --- seats ---

    def _widened(self, seat: Seat) -> None:
        if seat in self._sitting:
            self._seats.add(seat)
            self._changed.set()

    def _leave(self, seat: Seat) -> None:
        if seat in self._sitting:
            self._sitting.remove(seat)
            self._seats.remove(seat)
            self._claimable.leave(seat.types, seat.queues)

    def _deliver(self, queue: str, lease: timedelta, claimed: Sequence[Claimed], alone: Seat | None) -> None:
        left = self._seats.deal(queue, lease, claimed, alone)
        if left:  # whoever had slots for them left, or has filled them
            task = asyncio.create_task(self.finishing.give_back([one.lease for one in left]), name="give_back")
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    # --- what is heard ---

    def _hear_work(self, queue: str, due: datetime | None) -> None:
        self._ticker.know(queue)
        self._claimable.ring(queue, due)
        self._changed.set()

    def _hear_ticks(self, ticks: Mapping[str, Tick]) -> None:
        self._claimable.tick(ticks)
        self._changed.set()

    def _keep(self, queues: Collection[str]) -> None:
        self._claimable.keep(queues, self._claims.busy_queues())

    # --- the loop ---

    async def _run(self) -> None:
        while True:
            try:
                self._changed.clear()
                self._claimable.pass_time(self._clock.now())
                if await self._claims.turn():
                    continue
                if self._closing and self._claims.idle:
                    return
                await self._sleep()
            except Exception:
                # A loop that ended would leave the server alive and idle for ever.
                _log.exception("leasing_failed")
                await asyncio.sleep(self._tick.total_seconds())

    async def _sleep(self) -> None:
        alarm = None
        if (due := self._claimable.next_due) is not None:
            # Whole milliseconds, rounded up: timers are no finer, and one that rings early asks in vain.
            seconds = math.ceil(max(self._clock.seconds_until(due), 0.001) * 1000) / 1000
            alarm = asyncio.get_running_loop().call_later(min(seconds, _LONGEST_SLEEP), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
