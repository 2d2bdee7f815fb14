"""Claims under way: each is repeated until its answer comes, and one that is slow is not waited for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial

import structlog

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull, TocsinError
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import Claim, Claimed, Extension
from tocsin_server.operations.leasing.claimable import Claimable
from tocsin_server.operations.leasing.riding import ClaimCall, Ride
from tocsin_server.operations.leasing.seats import Fresh, Seat, Seats
from tocsin_server.operations.retry_pause import retry_pause
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: A queue that rings again and again for jobs of types which nobody here runs is asked at most so often: after a few
#: empty claims in a row the next one waits, 2 ms, 4 ms, ... 16 ms.
_EMPTY_CLAIMS_FREE, _LONGEST_EMPTY_PAUSE = 3, 0.016

#: Seconds between two claims of a queue that are for seats apart only and bring nothing. Where a claim for others is
#: due they take part in it, at no cost.
_PACE = 0.02

#: A claim is waited for so many seconds; then the queues take their turns without it. Queues may stand on different
#: servers, as in a cluster: one that hangs must not hold up what stands on the others. A queue whose last claim failed
#: is not waited for at all. It, and any queue while several claims are slow, is asked for one job only: what comes
#: late may find its slots taken.
_PATIENCE, _SEVERAL_SLOW = 0.25, 4


class Claims:
    """Asks the store for jobs, for the seats that have free slots.

    deliver: called with a queue, how long its leases last, what was leased, and for whom alone. changed: called when
    another turn may be possible. longest_pause: between attempts while the store is away.
    """

    def __init__(
        self,
        store: JobStore,
        clock: StoreClock,
        ticker: Ticker,
        claimable: Claimable,
        seats: Seats,
        *,
        deliver: Callable[[str, timedelta, Sequence[Claimed], Seat | None], None],
        changed: Callable[[], None],
        longest_pause: timedelta,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ticker = ticker
        self._claimable = claimable
        self._seats = seats
        self._deliver = deliver
        self._changed = changed
        self._longest_pause = longest_pause
        self._unanswered: dict[str, ClaimCall] = {}
        self._failures: dict[str, int] = {}
        self._under_way: Counter[str] = Counter()  # by queue
        self._riding: tuple[ClaimCall, asyncio.Task[None]] | None = None  # for which no turn was taken
        self.calm = asyncio.Event()  # not set while more jobs are about to come
        self.calm.set()
        self._paced: set[str] = set()  # queues that seats apart do not ask for just now
        self.looks: set[asyncio.Task[None]] = set()  # at when more is due
        self.slow: set[asyncio.Task[None]] = set()  # those that are not waited for

    @property
    def idle(self) -> bool:
        """Whether no answer is waited for."""
        return not self._unanswered and not self.slow

    @property
    def claiming(self) -> bool:
        """Whether a claim may have leased something that nobody has been given yet."""
        return bool(self._under_way or self._unanswered)

    def busy_queues(self) -> Collection[str]:
        """Queues that something is asked of, or will be asked of again."""
        return {*self._under_way, *self._unanswered, *self._failures}

    async def turn(self) -> bool:
        """Claim once from the queue whose turn it is, and wait for it a while. False: no queue is worth a claim for
        anyone."""
        if self._riding is not None:
            (ask, task), self._riding = self._riding, None
        elif (next_ask := self._next_ask()) is not None:
            ask, task = next_ask, self._begin(next_ask)
        else:
            self.calm.set()
            return False
        await asyncio.wait({task}, timeout=0 if ask.queue in self._failures else _PATIENCE)
        if task.done():
            task.result()
        else:
            self._claimable.hold(ask.queue)
            self.slow.add(task)
            task.add_done_callback(partial(self._slow_ended, ask.queue))
        return True

    async def ride(self, queue: str, types: Mapping[str, int]) -> Ride | None:
        """A claim to travel with so many jobs of each type, due now, that are about to be added to the queue. None:
        there is no slot for each of them at once, or another claim is under way, or another queue's turn, or nothing is
        known of the queue."""
        if not self._store.claims_with_add or self._busy():
            return None
        try:
            await self._freshen(queue)
        except TocsinError:
            return None
        look = self._seats.look(self._paced)
        if self._busy() or self._claimable.next_for(look.wanted)[0] is not None:
            return None
        seat = next((seat for seat in self._seats.of(queue) if seat.request is None), None)
        if seat is None:
            return None
        slots, limit = look.joined(queue, seat.lease, frozenset())
        if limit < sum(types.values()) or any(slots.get(name, 0) < count for name, count in types.items()):
            return None
        if not self._claimable.stir(queue, types):
            return None
        ask = ClaimCall(queue, seat.lease, types={name: slots[name] for name in types}, limit=limit)
        ride = Ride(self._store, ask)
        task = self._begin(ask, ride)
        self._riding = ask, task
        task.add_done_callback(self._ridden)
        return ride

    def _busy(self) -> bool:
        return bool(self._under_way or self._unanswered or self._failures or self.slow)

    def _begin(self, ask: ClaimCall, ride: Ride | None = None) -> asyncio.Task[None]:
        self._under_way[ask.queue] += 1
        task = asyncio.create_task(self._claim(ask, self._claimable.rings(ask.queue), ride), name="claim")
        task.add_done_callback(partial(self._answered, ask.queue))
        return task

    def _ridden(self, task: asyncio.Task[None]) -> None:
        if self._riding is not None and self._riding[1] is task:  # else a turn waits for it
            self._riding = None
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("leasing_failed", exc_info=error)
            self._changed()

    def _next_ask(self) -> ClaimCall | None:
        for queue, ask in self._unanswered.items():
            if not self._claimable.held(queue):
                return ask
        turn, seat = self._claimable.next_for(self._seats.look(self._paced).wanted)
        if turn is None or seat is None:
            return None
        if seat.request is None:
            return ClaimCall(turn, seat.lease)
        return ClaimCall(turn, seat.lease, seat, request=seat.request(turn))

    def _answered(self, queue: str, task: asyncio.Task[None]) -> None:
        self._under_way[queue] -= 1
        if not self._under_way[queue]:
            del self._under_way[queue]

    def _slow_ended(self, queue: str, task: asyncio.Task[None]) -> None:
        self.slow.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("leasing_failed", exc_info=error)
        if queue not in self._failures:  # else it is held until the pause after a failure is over
            self._resume(queue)
        self._changed()

    async def _claim(self, ask: ClaimCall, rings: int, ride: Ride | None) -> None:
        queue, asked = ask.queue, time.monotonic()
        try:
            if ride is None and not ask.may_have_acted and not await self._fill(ask):
                # The settings were read, so the store is back: where it had failed before, nothing else would say so,
                # and the queue would be held for ever.
                self._failures.pop(queue, None)
                return
            claim = await (self._sent(ask) if ride is None else ride.answer)
            self._clock.heard(claim.now, asked)
            claimed = await self._still_leased(ask, claim.claimed)
        except Exception as error:
            self.calm.set()
            self._failed(ask, error)
            return
        self._unanswered.pop(queue, None)
        self._failures.pop(queue, None)
        if claim.more and claimed:
            self.calm.clear()
        else:
            self.calm.set()
        look = self._claimable.claimed(queue, ask.types, ask.limit, claim, rings, apart=ask.apart)
        if claimed:
            self._deliver(queue, ask.lease, claimed, ask.alone)
        elif ask.apart:
            self._pace(queue)
        elif (empty := self._claimable.empty_claims(queue)) > _EMPTY_CLAIMS_FREE:
            self._hold(queue, min(0.001 * 2.0 ** min(empty - _EMPTY_CLAIMS_FREE, 10), _LONGEST_EMPTY_PAUSE))
        if look:  # beside the next claim: more may be due now
            task = asyncio.create_task(self._look(queue), name="look")
            self.looks.add(task)
            task.add_done_callback(self.looks.discard)

    async def _look(self, queue: str) -> None:
        try:
            await self._ticker.look(queue)
        except TocsinError as error:
            _log.debug("look_failed", queue=queue, error=str(error))  # the next tick tells

    async def _fill(self, ask: ClaimCall) -> bool:
        """ClaimCall for what all seats together take of the queue. False: nothing, as its settings
        now are, or since it has none of the types that somebody has a slot for."""
        await self._freshen(ask.queue)
        but = self._claimable.dry(ask.queue)
        look = self._seats.look()
        ask.types, ask.limit = look.joined(ask.queue, ask.lease, but, ask.alone)
        ask.apart = look.only_apart
        if ask.queue in self._failures or len(self.slow) >= _SEVERAL_SLOW:
            ask.types, ask.limit = dict.fromkeys(ask.types, 1), min(ask.limit, 1)
        return bool(ask.types)

    async def _freshen(self, queue: str) -> None:
        """See to it that the seats' slots are as the queue's settings say."""
        asked: set[Fresh] = set()
        while left := self._seats.freshened(queue) - asked:  # of those that come meanwhile, too
            for fresh in left:
                await fresh(queue)
            asked |= left

    async def _sent(self, ask: ClaimCall) -> Claim:
        return await self._store.claim(
            ask.queue, ask.types, ask.limit, lease=ask.lease, request=ask.request, repeated=ask.may_have_acted
        )

    async def _still_leased(self, ask: ClaimCall, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        """Those whose lease stands. An answer that comes late is of leases that have aged since they were granted."""
        if not claimed or not ask.may_have_acted or time.monotonic() - ask.sent < ask.lease.total_seconds() / 3:
            return claimed
        answers = await self._store.extend([Extension(one.lease) for one in claimed], ask.lease)
        for answer in answers:
            if isinstance(answer, TocsinError) and not isinstance(answer, LeaseLost):
                raise answer
        return [one for one, answer in zip(claimed, answers, strict=True) if not isinstance(answer, TocsinError)]

    def _failed(self, ask: ClaimCall, error: Exception) -> None:
        failures = self._failures[ask.queue] = self._failures.get(ask.queue, 0) + 1
        if not isinstance(error, (StoreAway, StoreFull, OutcomeUnknown)):
            _log.error("claim_failed", queue=ask.queue, exc_info=error)
        elif failures == 1:
            _log.warning("claim_failed", queue=ask.queue, error=str(error))
        if ask.types and not isinstance(error, StoreAway):  # else it was not sent
            ask.may_have_acted = True
        if ask.may_have_acted and time.monotonic() - ask.sent < ask.lease.total_seconds():
            self._unanswered[ask.queue] = ask
        else:
            # Nothing was leased, or its lease has run out by now.
            self._unanswered.pop(ask.queue, None)
        self._hold(ask.queue, retry_pause(failures, self._longest_pause))

    def _hold(self, queue: str, seconds: float) -> None:
        self._claimable.hold(queue)
        asyncio.get_running_loop().call_later(seconds, self._resume, queue)

    def _pace(self, queue: str) -> None:
        """Nothing was there for seats apart, so the next rings hardly are for them: they wait, and no other does."""
        self._paced.add(queue)
        asyncio.get_running_loop().call_later(_PACE, self._paced_enough, queue)

    def _paced_enough(self, queue: str) -> None:
        self._paced.discard(queue)
        self._changed()

    def _resume(self, queue: str) -> None:
        self._claimable.resume(queue)
        self._changed()
