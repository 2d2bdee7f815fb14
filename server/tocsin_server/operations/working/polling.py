"""Long polls: a worker asks for jobs once, and waits for the first of them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from tocsin_server.background import Unbroken
from tocsin_server.domain.errors import Draining, OutcomeUnknown, StoreAway
from tocsin_server.domain.lease import Claim, Claimed, Extended, Extension
from tocsin_server.domain.workers import Ask, Poll
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.leasing.seats import Seat
from tocsin_server.operations.working.admission import Admission
from tocsin_server.operations.working.handing_back import HandingBack
from tocsin_server.store.interface import JobStore

#: Of the time that a call has left, so many seconds are kept for its answer.
_FOR_ANSWER = 0.2


class _Wish:
    """How much of one ask is still wanted: what a seat begins is what its poll takes."""

    def __init__(self, poll: _Waiting, ask: Ask, version: str, admission: Admission) -> None:
        self._poll = poll
        self._ask = ask
        self._left = ask.most
        self._version = version
        self._admission = admission

    @property
    def free(self) -> int:
        """As Capacity says."""
        return 0 if self._poll.came.done() else self._left

    def of(self, queue: str) -> Mapping[str, int]:
        """As Capacity says."""
        types = self._admission.allowed(queue, self._ask.types, self._version)
        return dict.fromkeys(types, self.free) if self.free > 0 else {}

    def take(self, queue: str, type_: str, /) -> bool:
        """As Capacity says."""
        if type_ not in self.of(queue):
            return False
        self._left -= 1
        return True


@dataclass(eq=False, slots=True)
class _Waiting:
    """A poll that has no jobs yet."""

    came: asyncio.Future[list[Claimed]]
    seats: list[Seat] = field(default_factory=list)

    def take(self, claimed: Sequence[Claimed]) -> None:
        """The first ones end it. Seats of one poll may be given some of the same claim."""
        if self.came.done():
            self.came.result().extend(claimed)
        else:
            self.came.set_result(list(claimed))


class Polling:
    """Leases jobs for polls, each from seats of its own, which it leaves with its first jobs.

    A poll that names its request claims for itself alone, under request bytes that follow from that name: so the store
    knows which jobs it has leased, and any server gives them again. silent_since: since when the store is known not to
    answer.
    """

    def __init__(
        self,
        store: JobStore,
        leasing: Leasing,
        admission: Admission,
        handing_back: HandingBack,
        silent_since: Callable[[], datetime | None],
    ) -> None:
        self._store = store
        self._leasing = leasing
        self._admission = admission
        self._handing_back = handing_back
        self._silent_since = silent_since
        self._waiting: set[_Waiting] = set()
        self._unbroken = Unbroken()
        self._draining = False

    @asynccontextmanager
    async def leased(self, poll: Poll, left: float | None) -> AsyncIterator[list[Claimed]]:
        """Jobs that are the worker's once this is left without an error; else they are given back. None at all where
        nothing was due in time. left: seconds that the call has; None: as many as it likes.

        Draining where the server drains; StoreAway, OutcomeUnknown where the store is away, or has been all the time.
        """
        if self._draining:
            raise Draining
        if poll.request_id and (again := await self._unbroken.run(self._again(poll))):
            yield again  # an answer with them may have arrived before
            return
        claimed = await self._lease(poll, left)
        try:
            yield claimed
        except BaseException:
            self._give_back(claimed)
            raise

    def widened(self) -> None:
        """Workers may be given types that they could not before."""
        for poll in self._waiting:
            for seat in poll.seats:
                seat.widened()

    def drain(self) -> None:
        """End all polls with Draining, and refuse new ones."""
        self._draining = True
        for poll in self._waiting:
            if not poll.came.done():
                poll.came.set_exception(Draining())

    async def close(self) -> None:
        """Wait until all store calls have ended."""
        self.drain()
        await self._unbroken.close()

    async def _lease(self, poll: Poll, left: float | None) -> list[Claimed]:
        wait = poll.wait.total_seconds()
        if left is not None:
            wait = min(wait, left - _FOR_ANSWER)
        if wait <= 0:
            return await self._at_once(poll)
        claimed = await self._wait(poll, wait)
        if not claimed and (since := self._silent_since()) is not None:
            raise StoreAway(f"silent since {since:%H:%M:%S} UTC")
        return claimed

    # --- waiting ---

    async def _wait(self, poll: Poll, seconds: float) -> list[Claimed]:
        waiting = _Waiting(asyncio.get_running_loop().create_future())
        self._waiting.add(waiting)
        try:
            for ask in poll.asks:
                waiting.seats.append(self._sit(poll, ask, waiting))
            await asyncio.wait({waiting.came}, timeout=seconds)
            return waiting.came.result() if waiting.came.done() else []
        except asyncio.CancelledError:
            if waiting.came.done() and waiting.came.exception() is None:
                self._give_back(waiting.came.result())
            raise
        finally:
            self._waiting.discard(waiting)
            if not waiting.came.done():
                waiting.came.set_result([])  # nothing more is taken
            for seat in waiting.seats:
                seat.leave()

    def _sit(self, poll: Poll, ask: Ask, waiting: _Waiting) -> Seat:
        wish = _Wish(waiting, ask, poll.worker.version, self._admission)
        return self._leasing.seat(
            ask.types,
            lambda: wish,
            waiting.take,
            queues=None if ask.queue is None else (ask.queue,),
            lease=poll.lease,
            fresh=self._admission.fresh,
            request=partial(_request, poll) if poll.request_id else None,
        )

    # --- asking the store oneself ---

    async def _again(self, poll: Poll) -> list[Claimed]:
        """What was leased for this request before, with leases that begin anew."""
        found: list[Claimed] = []
        for ask in poll.asks:
            if ask.queue is not None:
                claim = await self._store.claim(
                    ask.queue, {}, 1, lease=poll.lease, request=_request(poll, ask.queue), repeated=True
                )
                found += claim.claimed
        if not found:
            return []
        answers = await self._store.extend([Extension(one.lease) for one in found], poll.lease)
        return [one for one, answer in zip(found, answers, strict=True) if isinstance(answer, Extended)]

    async def _at_once(self, poll: Poll) -> list[Claimed]:
        for ask in poll.asks:
            for queue in await self._promising() if ask.queue is None else (ask.queue,):
                if claimed := await self._claim(poll, ask, queue):
                    return claimed
        return []

    async def _promising(self) -> list[str]:
        """Queues in which something may be due."""
        names = await self._store.queues()
        now = await self._store.ping()
        found: list[str] = []
        for start in range(0, len(names), self._store.ticks_at_once):
            ticks = await self._store.ticks(names[start : start + self._store.ticks_at_once])
            found += [
                name
                for name, tick in ticks.items()
                if tick.waiting or (tick.next_due is not None and tick.next_due <= now)
            ]
        return found

    async def _claim(self, poll: Poll, ask: Ask, queue: str) -> list[Claimed]:
        await self._admission.fresh(queue)
        types = dict.fromkeys(self._admission.allowed(queue, ask.types, poll.worker.version), ask.most)
        if not types:
            return []
        request = _request(poll, queue) if poll.request_id else secrets.token_bytes(8)

        async def claim(*, repeated: bool) -> Claim:
            return await self._store.claim(queue, types, ask.most, lease=poll.lease, request=request, repeated=repeated)

        async def claimed() -> list[Claimed]:
            more = True
            while more:  # due jobs may have to be made WAITING first
                try:
                    answer = await claim(repeated=False)
                except OutcomeUnknown:
                    answer = await claim(repeated=True)
                if answer.claimed:
                    return list(answer.claimed)
                more = answer.more
            return []

        work = asyncio.ensure_future(claimed())
        try:
            return await self._unbroken.run(_result_of(work))
        except asyncio.CancelledError:
            work.add_done_callback(self._give_back_late)
            raise

    def _give_back(self, claimed: Sequence[Claimed]) -> None:
        self._handing_back.give_back([one.lease for one in claimed])

    def _give_back_late(self, work: asyncio.Future[list[Claimed]]) -> None:
        if not work.cancelled() and work.exception() is None:
            self._give_back(work.result())


async def _result_of(work: asyncio.Future[list[Claimed]]) -> list[Claimed]:
    return await work


def _request(poll: Poll, queue: str) -> bytes:
    """The request bytes of a named request's claims of a queue."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (poll.worker.name, poll.request_id, queue):
        raw = part.encode()
        digest.update(len(raw).to_bytes(2, "big") + raw)
    return digest.digest()
