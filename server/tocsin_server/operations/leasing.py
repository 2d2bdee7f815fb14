"""The one waiting loop: whoever runs jobs waits here until something can be claimed for it."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from tocsin_server.domain.errors import Draining, LeaseLost, OutcomeUnknown, StoreAway, StoreFull, TocsinError
from tocsin_server.domain.lease import Claimed, Extension
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.claimable import Claimable
from tocsin_server.operations.finishing import Finishing
from tocsin_server.operations.pauses import backoff
from tocsin_server.operations.room import Room, SameForAll
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_MOST = 1000  # what one claim may ask for
_LONGEST_SLEEP = 60.0  # seconds; a due time years ahead is looked at again now and then

#: A queue that rings again and again for jobs of types which nobody here runs is asked at most so often: after a few
#: empty claims in a row the next one waits, 2 ms, 4 ms, ... 16 ms.
_EMPTY_CLAIMS_FREE, _LONGEST_EMPTY_PAUSE = 3, 0.016

#: A claim is waited for so many seconds; then the queues take their turns without it. Queues may stand on different
#: servers, as in a cluster: one that hangs must not hold up what stands on the others. A queue whose last claim failed
#: is not waited for at all. It, and any queue while several claims are slow, is asked for one job only: what comes
#: late may find its slots taken.
_PATIENCE, _SEVERAL_SLOW = 0.25, 4

#: A runner whose slots change cancels its wait and waits anew. What was claimed for it meanwhile is kept so long for
#: its next wait before it is given back: a job given back has spent a number of its attempts for nothing.
_KEEP = 0.02


@dataclass(eq=False, slots=True)
class _Waiter:
    """Someone with free slots."""

    room: Callable[[], Room]
    limit: int
    answer: asyncio.Future[list[Claimed]]

    def take(self, claimed: Sequence[Claimed]) -> tuple[list[Claimed], list[Claimed]]:
        """What fits its slots, and the rest."""
        fits: list[Claimed] = []
        rest: list[Claimed] = []
        room = self.room()
        for one in claimed:
            if len(fits) < self.limit and room.take(one.lease.queue, one.job.spec.type):
                fits.append(one)
            else:
                rest.append(one)
        return fits, rest


@dataclass(eq=False, slots=True)
class _Ask:
    """One claim. Where its answer was lost it is repeated with the same bytes until an answer comes."""

    queue: str
    room: Callable[[], Room]
    limit: int
    types: dict[str, int] = field(default_factory=dict)  # once it is sent
    request: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    sent: float = field(default_factory=time.monotonic)
    may_have_acted: bool = False


class Leasing:
    """Claims for those who wait, queue after queue in turn, and sleeps while nothing is due.

    queues: which to claim from; None: all. lease: how long they hold, 1 s to 12 h.
    tick: the longest pause between attempts while the store is away. fresh: called with the queue before each claim,
    so that the room of those who wait is as its settings say.
    """

    def __init__(
        self,
        store: JobStore,
        finishing: Finishing,
        wakeups: Wakeups,
        ticker: Ticker,
        clock: StoreClock,
        *,
        queues: Collection[str] | None = None,
        lease: timedelta = timedelta(seconds=30),
        tick: timedelta = timedelta(seconds=1),
        fresh: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._finishing = finishing
        self._ticker = ticker
        self._clock = clock
        self._lease = lease
        self._tick = tick
        self._fresh = fresh
        self._claimable = Claimable(queues)
        self._waiters: list[_Waiter] = []
        self._unanswered: dict[str, _Ask] = {}
        self._failures: dict[str, int] = {}
        self._slow: set[asyncio.Task[None]] = set()  # claims that are not waited for
        self._asked: Counter[str] = Counter()  # claims under way, by queue
        self._changed = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._kept: list[Claimed] = []
        self._giving_back: set[asyncio.Task[None]] = set()
        wakeups.on_work(self._hear_work)
        ticker.on_tick(self._hear_ticks)
        ticker.on_names(self._keep)

    async def lease(self, free: Mapping[str, int], limit: int, room: Callable[[], Room] | None = None) -> list[Claimed]:
        """Wait until there is something, and lease it: at most `limit` jobs and free[type] of each type, best first.

        Where queues differ, `room` says how much may begin of each, as it is when called; `free` is the most of any.
        While the store is away it waits on. Where the caller is cancelled while a claim is under way, what that brings
        goes to who waits next, or is given back. Raises Draining once this is being closed.
        """
        if self._closing:
            raise Draining
        limit = min(limit, _MOST)
        wanted = {type_: min(slots, limit) for type_, slots in free.items() if slots > 0}
        waiter = _Waiter(room or (lambda: SameForAll(wanted)), limit, asyncio.get_running_loop().create_future())
        if wanted and limit > 0:
            self._claimable.want(wanted)
            self._waiters.append(waiter)
            kept, self._kept = self._kept, []
            self._deliver(kept)
            self._changed.set()
        try:
            return await waiter.answer
        except asyncio.CancelledError:
            if waiter.answer.done() and not waiter.answer.cancelled():
                self._deliver(waiter.answer.result())
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def start(self) -> None:
        """Begin to claim for those who wait."""
        self._task = asyncio.create_task(self._run(), name="leasing")

    async def close(self, within: timedelta = timedelta(seconds=5)) -> None:
        """Claim no more. What a claim under way brings is given back; at most `within` is spent on it."""
        self._closing = True
        for waiter in self._waiters:
            if not waiter.answer.done():
                waiter.answer.set_exception(Draining())
        self._waiters.clear()
        self._give_back_kept()
        self._changed.set()
        until = time.monotonic() + within.total_seconds()
        # The loop first: its last claim may have something to give back.
        for tasks in ({self._task} if self._task else set(), self._slow, self._giving_back):
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=max(0.0, until - time.monotonic()))
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    def in_turn(self) -> list[str]:
        """Queues that may have something, but for which there is no room, or nobody waits."""
        return self._claimable.in_turn()

    # --- what is heard ---

    def _hear_work(self, queue: str, due: datetime | None) -> None:
        self._ticker.know(queue)
        self._claimable.ring(queue, due)
        self._changed.set()

    def _hear_ticks(self, ticks: Mapping[str, Tick]) -> None:
        self._claimable.tick(ticks)
        self._changed.set()

    def _keep(self, queues: Collection[str]) -> None:
        self._claimable.keep(queues, {*self._asked, *self._unanswered, *self._failures})

    def _resume(self, queue: str) -> None:
        self._claimable.resume(queue)
        self._changed.set()

    # --- the loop ---

    async def _run(self) -> None:
        while True:
            try:
                self._changed.clear()
                self._claimable.pass_time(self._clock.now())
                ask = self._next_ask()
                if ask is not None:
                    await self._claim_for_a_while(ask)
                elif self._closing and not self._unanswered and not self._slow:
                    return
                else:
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

    def _next_ask(self) -> _Ask | None:
        for queue, ask in self._unanswered.items():
            if not self._claimable.held(queue):
                return ask
        for waiter in self._waiters:
            turn = None if waiter.answer.done() else self._claimable.next_for(waiter.room().of)
            if turn is not None:
                limit = 1 if turn in self._failures or len(self._slow) >= _SEVERAL_SLOW else waiter.limit
                return _Ask(turn, waiter.room, limit)
        return None

    async def _claim_for_a_while(self, ask: _Ask) -> None:
        self._asked[ask.queue] += 1
        task = asyncio.create_task(self._claim(ask), name="claim")
        task.add_done_callback(partial(self._answered, ask.queue))
        await asyncio.wait({task}, timeout=0 if ask.queue in self._failures else _PATIENCE)
        if task.done():
            task.result()
            return
        self._claimable.hold(ask.queue)
        self._slow.add(task)
        task.add_done_callback(partial(self._slow_ended, ask.queue))

    def _answered(self, queue: str, task: asyncio.Task[None]) -> None:
        self._asked[queue] -= 1
        if not self._asked[queue]:
            del self._asked[queue]

    def _slow_ended(self, queue: str, task: asyncio.Task[None]) -> None:
        self._slow.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("leasing_failed", exc_info=error)
        if queue not in self._failures:  # else it is held until the pause after a failure is over
            self._resume(queue)
        self._changed.set()

    async def _claim(self, ask: _Ask) -> None:
        queue, asked, rings = ask.queue, time.monotonic(), self._claimable.rings(ask.queue)
        try:
            if not ask.may_have_acted:
                if self._fresh is not None:
                    await self._fresh(queue)
                ask.types = {type_: min(slots, ask.limit) for type_, slots in ask.room().of(queue).items()}
                if not ask.types:  # its settings leave no room, as it now turns out
                    # They were read, so the store is back: where it had failed before, nothing else would say so, and
                    # the queue would be held for ever.
                    self._failures.pop(queue, None)
                    return
            claim = await self._store.claim(
                queue, ask.types, ask.limit, lease=self._lease, request=ask.request, repeated=ask.may_have_acted
            )
            self._clock.heard(claim.now, asked)
            claimed = await self._still_leased(ask, claim.claimed)
        except Exception as error:
            self._failed(ask, error)
            return
        self._unanswered.pop(queue, None)
        self._failures.pop(queue, None)
        look = self._claimable.claimed(queue, ask.types, ask.limit, claim, rings)
        if claimed:
            self._deliver(claimed)
        elif (empty := self._claimable.empty_claims(queue)) > _EMPTY_CLAIMS_FREE:
            self._hold(queue, min(0.001 * 2.0 ** min(empty - _EMPTY_CLAIMS_FREE, 10), _LONGEST_EMPTY_PAUSE))
        if look:
            try:
                await self._ticker.look(queue)
            except TocsinError as error:
                _log.debug("look_failed", queue=queue, error=str(error))  # the next tick tells

    async def _still_leased(self, ask: _Ask, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        """Those whose lease stands. An answer that comes late is of leases that have aged since they were granted."""
        if not claimed or not ask.may_have_acted or time.monotonic() - ask.sent < self._lease.total_seconds() / 3:
            return claimed
        answers = await self._store.extend([Extension(one.lease) for one in claimed], self._lease)
        for answer in answers:
            if isinstance(answer, TocsinError) and not isinstance(answer, LeaseLost):
                raise answer
        return [one for one, answer in zip(claimed, answers, strict=True) if not isinstance(answer, TocsinError)]

    def _failed(self, ask: _Ask, error: Exception) -> None:
        failures = self._failures[ask.queue] = self._failures.get(ask.queue, 0) + 1
        if not isinstance(error, (StoreAway, StoreFull, OutcomeUnknown)):
            _log.error("claim_failed", queue=ask.queue, exc_info=error)
        elif failures == 1:
            _log.warning("claim_failed", queue=ask.queue, error=str(error))
        ask.may_have_acted = ask.may_have_acted or not isinstance(error, StoreAway)
        if ask.may_have_acted and time.monotonic() - ask.sent < self._lease.total_seconds():
            self._unanswered[ask.queue] = ask
        else:
            # Nothing was leased, or its lease has run out by now.
            self._unanswered.pop(ask.queue, None)
        self._hold(ask.queue, backoff(failures, self._tick))

    def _hold(self, queue: str, seconds: float) -> None:
        self._claimable.hold(queue)
        asyncio.get_running_loop().call_later(seconds, self._resume, queue)

    # --- handing over ---

    def _deliver(self, claimed: Sequence[Claimed]) -> None:
        left = list(claimed)
        for waiter in list(self._waiters):
            if waiter.answer.done() or not left:
                continue
            fits, left = waiter.take(left)
            if fits:
                self._waiters.remove(waiter)
                waiter.answer.set_result(fits)
        if not left:
            return
        self._kept += left
        if self._closing:
            self._give_back_kept()
        else:
            asyncio.get_running_loop().call_later(_KEEP, self._give_back_kept)

    def _give_back_kept(self) -> None:
        leases = [one.lease for one in self._kept]
        self._kept.clear()
        if leases:
            task = asyncio.create_task(self._finishing.give_back(leases), name="give_back")
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)
