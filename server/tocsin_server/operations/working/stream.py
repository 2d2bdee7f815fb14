"""A worker's stream: credits and outcomes in, jobs and cancels out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from tocsin_server.domain import limits
from tocsin_server.domain.errors import Draining, InvalidFields, TocsinError, Violation
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import Claimed, Ending, Extended, Extension, Finished
from tocsin_server.domain.states import State
from tocsin_server.operations.finishing import STORE_TROUBLE, EndedAttempt
from tocsin_server.operations.leasing.holdings import Held
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.leasing.seats import Seat
from tocsin_server.operations.retry_pause import retry_pause
from tocsin_server.operations.working.admission import Admission
from tocsin_server.operations.working.conversation import Heard, Hello, Sending
from tocsin_server.operations.working.credits import Credits
from tocsin_server.operations.working.handing_back import HandingBack
from tocsin_server.operations.working.outcomes import Outcomes
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: Heartbeats and outcomes of a stream that are under way, or whose answers wait to be read. With more, no more is read
#: of it.
_MOST_UNANSWERED = 10_000

_LONGEST_PAUSE = timedelta(seconds=1)

#: A lease that is held over from another stream may be shortened late by that stream's server. So it is to be extended
#: this often, well within what is left of it then.
_HELD_OVER_BEAT = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What all streams work with."""

    store: JobStore
    leasing: Leasing
    outcomes: Outcomes
    admission: Admission
    handing_back: HandingBack


class _AskedSlots:
    """What a stream may still be sent of one ask: as Capacity says. All asks of a stream share its credits."""

    def __init__(self, stream: WorkerStream, types: frozenset[str]) -> None:
        self._stream = stream
        self._types = types

    def now(self) -> _AskedSlots:
        """As they are; what is promised of them is taken from the credits at once."""
        return self

    @property
    def free(self) -> int:
        """As Capacity says."""
        return self._stream.free

    def of(self, queue: str) -> Mapping[str, int]:
        """As Capacity says."""
        stream = self._stream
        return stream.credits.of(stream.allowed(queue, self._types)) if stream.takes else {}

    def take(self, queue: str, type_: str, /) -> bool:
        """As Capacity says."""
        stream = self._stream
        if not stream.takes or type_ not in self._types or type_ not in stream.allowed(queue, (type_,)):
            return False
        return stream.credits.take(type_)


@dataclass(eq=False, slots=True)
class _Report:
    """Outcomes of one message, and what became of them."""

    outcomes: Sequence[EndedAttempt | TocsinError]
    answers: list[Finished | TocsinError] | None = None


class WorkerStream:
    """One stream, from its hello to its end. `sendings` is what to send, for as long as it stands."""

    def __init__(self, parts: StreamParts, hello: Hello) -> None:
        self._parts = parts
        self.hello = hello
        self.credits = Credits()
        self.holder = parts.leasing.holdings.holder(self._cancel_asked)
        self.sits = False  # jobs may be sent
        self._stuck = False  # but its worker does not read
        self._unread: asyncio.TimerHandle | None = None  # until then what waits to be sent may wait
        self.types = frozenset[str]().union(*(ask.types for ask in hello.asks))
        self._seats: list[Seat] = []
        self._next = Sending(hello.lease)
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._unanswered = 0
        self._reports: deque[_Report] = deque()
        self._reporting: set[tuple[str, bytes]] = set()  # attempts whose outcomes are under way, by queue and token
        self._rung: dict[str, None] = {}  # queues in which a cancel was asked
        self._looking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._extending: set[asyncio.Task[None]] = set()  # of those
        self._heard_all = self._said_goodbye = self._draining = False
        self._failure: BaseException | None = None

    @property
    def free(self) -> int:
        """How many jobs may be sent now."""
        return self.credits.unused if self.takes else 0

    @property
    def takes(self) -> bool:
        """Whether it may be given jobs."""
        return self.sits and not self._stuck

    def allowed(self, queue: str, types: Collection[str]) -> Collection[str]:
        """Of these types, those of which its worker is given jobs of the queue."""
        return self._parts.admission.allowed(queue, types, self.hello.worker.version)

    # --- what is heard ---

    def begin(self) -> None:
        """Take what the hello says. Draining."""
        hello = self.hello
        self.sits = True
        for ask in hello.asks:
            slots = _AskedSlots(self, ask.types)
            queues = None if ask.queue is None else (ask.queue,)
            fresh = self._parts.admission.fresh
            self._seats.append(
                self._parts.leasing.seat(
                    ask.types, slots.now, self._take, queues=queues, lease=hello.lease, fresh=fresh
                )
            )
        self._next.beat = hello.lease / 3
        self._next.lost.extend(hello.unreadable)
        if hello.held:
            self._next.beat = min(self._next.beat, _HELD_OVER_BEAT)
            for one in hello.held:
                self.holder.take_over(one.lease, one.type)
            self._begin(self._take_over([Extension(one.lease) for one in hello.held]))
        self._make_room()
        self._ready.set()

    async def hear(self, heard: Heard) -> None:
        """Take a message. Returns once more may be read; what it asks for goes on meanwhile. InvalidFields."""
        if heard.unreadable:
            self._next.lost.extend(heard.unreadable)
            self._ready.set()
        if heard.heartbeats:
            self._unanswered += len(heard.heartbeats)
            self._extending.add(self._begin(self._extend(heard.heartbeats, set(self._extending))))
        if heard.outcomes:
            self._unanswered += len(heard.outcomes)
            report = _Report(heard.outcomes)
            self._reports.append(report)
            self._begin(self._report(report, self._taken_from_held(report)))
        if heard.credits:
            self._give(heard.credits)
        if heard.goodbye:
            self._said_goodbye = True
            self.leave()
            self.holder.forget_all(heard.unbegun)
            self._parts.handing_back.give_back(heard.unbegun)
        self._make_room()
        await self._room.wait()

    def widened(self) -> None:
        """Jobs may be sent that could not before."""
        for seat in self._seats:
            seat.widened()

    def leave(self) -> None:
        """Be given no more jobs; those that are not on their way yet are given back."""
        self.sits = False
        for seat in self._seats:
            seat.leave()
        self._seats.clear()
        self._give_back_unsent()

    def drain(self) -> None:
        """Be given no more jobs, and tell the worker."""
        self.leave()
        self._next.drain = self._draining = True
        self._ready.set()

    def end(self, why: BaseException | None = None) -> None:
        """Nothing more comes. why: what the stream is to end with; None: once all is answered."""
        self._failure = self._failure or why
        self._heard_all = True
        self._ready.set()

    def cut(self) -> None:
        """The stream is over. What was not sent is given back, what was stays leased for a short while."""
        self.leave()
        for task in self._tasks:
            task.cancel()
        # One that was not extended for so long is not his who held this stream: another server may have it, where
        # it must not be shortened. If not, it ends soon.
        since = time.monotonic() - self.hello.lease.total_seconds() / 2
        late = [one.lease for one in self.holder.all() if one.renewed > since]
        self.holder.forget_all()
        if not self._said_goodbye:
            self._parts.handing_back.shorten(late)

    # --- what is sent ---

    async def sendings(self) -> AsyncGenerator[Sending, None]:
        """What is ready, as soon as it is; all that came while the last was being written at once."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            sending, self._next = self._next, Sending(self.hello.lease)
            if self._unread is not None:
                self._unread.cancel()
            if self._stuck:
                self._stuck = False
                self.widened()
            self._unanswered -= len(sending.acks)
            self._make_room()
            if sending:
                yield sending
                if self._heard_all or self._draining:
                    self._ready.set()
            elif self._failure is not None:
                raise self._failure
            elif self._heard_all and not self._tasks:
                return
            elif self._draining and not self.holder and not self._tasks:
                raise Draining

    def _take(self, claimed: Sequence[Claimed]) -> None:
        self.holder.hold(claimed)
        if not self._next.leased:
            patience = self.hello.lease.total_seconds() / 3
            self._unread = asyncio.get_running_loop().call_later(patience, self._is_not_read)
        self._next.leased.extend(claimed)
        self._ready.set()

    def _is_not_read(self) -> None:
        """What waits to be sent goes to others, before its leases end and count as crashes. No more is taken until the
        worker reads."""
        self._stuck = True
        for one in self._next.leased:
            self.credits.take_back(one.job.spec.type)
        self._give_back_unsent()

    def _give_back_unsent(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
        unsent = [one.lease for one in self._next.leased]
        self._next.leased = []
        self.holder.forget_all(unsent)
        self._parts.handing_back.give_back(unsent)

    def _make_room(self) -> None:
        if self._unanswered + len(self._next.lost) > _MOST_UNANSWERED:
            self._room.clear()
        else:
            self._room.set()

    def _give(self, credits_: Sequence[tuple[str, int]]) -> None:
        for at, (type_, count) in enumerate(credits_):
            if type_ and type_ not in self.types:
                raise InvalidFields([Violation(f"credits[{at}].type", "is none of the types that were asked for")])
            if self.credits.given(type_) + count > limits.CREDITS:
                more = f"makes more than {limits.CREDITS:,} credits that are unused"
                raise InvalidFields([Violation(f"credits[{at}].n", more)])
            self.credits.give(type_, count)
        self.widened()

    # --- what goes on meanwhile ---

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._extending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(error)
        elif (self._heard_all or self._draining) and not self._tasks:
            self._ready.set()

    def _taken_from_held(self, report: _Report) -> dict[int, EndedAttempt]:
        """The outcomes that can be recorded, with what is known of their jobs here, which are held no more: whoever
        extends them meanwhile is not told that they were lost."""
        known: dict[int, EndedAttempt] = {}
        detailed = job_log.details_wanted()
        for at, ended in enumerate(report.outcomes):
            if isinstance(ended, TocsinError):
                continue
            lease = ended.lease
            self._reporting.add((lease.queue, lease.token))
            held = self.holder.forget(lease.queue, lease.token)
            # Of an attempt that completed nothing more is needed, but for who reads along.
            if held is not None and held.retry is not None and (ended.ending is not Ending.COMPLETED or detailed):
                ended = replace(ended, retry=held.retry, failures=held.failures, took=held.seconds)
            known[at] = ended
        return known

    async def _report(self, report: _Report, left: dict[int, EndedAttempt]) -> None:
        if self._extending:  # with progress that was said before the end
            await asyncio.wait(set(self._extending))
        answers = list[Any](report.outcomes)
        failures = 0
        while left:
            for at, answer in zip(list(left), await self._tried(list(left.values())), strict=True):
                if not isinstance(answer, STORE_TROUBLE):
                    answers[at] = answer
                    lease = left.pop(at).lease
                    self._reporting.discard((lease.queue, lease.token))
            if left:
                failures += 1
                await asyncio.sleep(retry_pause(failures, _LONGEST_PAUSE))
        report.answers = answers
        while self._reports and (done := self._reports[0].answers) is not None:
            self._reports.popleft()
            self._next.acks.extend(done)
        self._ready.set()

    async def _tried(self, outcomes: Sequence[EndedAttempt]) -> Sequence[Finished | TocsinError]:
        try:
            return await self._parts.outcomes.report(outcomes)
        except STORE_TROUBLE as error:
            return [error] * len(outcomes)

    async def _extend(
        self, heartbeats: Sequence[tuple[Extension, str]], earlier: Collection[asyncio.Task[None]]
    ) -> None:
        for extension, type_ in heartbeats:
            lease = extension.lease
            if (lease.queue, lease.token) not in self._reporting:
                self.holder.take_over(lease, type_)
        job_log.progressed((type_, extension) for extension, type_ in heartbeats)
        if earlier and any(extension.log for extension, _ in heartbeats):
            await asyncio.wait(earlier)  # lines are kept in the order in which they come
        await self._tell([extension for extension, _ in heartbeats])  # where it fails, the next beat extends them
        self._unanswered -= len(heartbeats)
        self._make_room()

    async def _take_over(self, left: Sequence[Extension]) -> None:
        """Go on with leases of an earlier stream."""
        failures = 0
        while left := await self._tell(left):
            failures += 1
            await asyncio.sleep(retry_pause(failures, _LONGEST_PAUSE))

    async def _tell(self, extensions: Sequence[Extension]) -> Sequence[Extension]:
        """Extend leases, and tell the worker which are lost or should stop. Returns those of which the store said
        nothing."""
        try:
            answers: Sequence[Extended | TocsinError] = await self._parts.store.extend(extensions, self.hello.lease)
        except STORE_TROUBLE as error:
            _log.debug("leases_not_extended", worker=self.hello.worker.name, error=str(error))
            return extensions
        now, left = time.monotonic(), list[Extension]()
        for extension, answer in zip(extensions, answers, strict=True):
            lease = extension.lease
            held = self.holder.get(lease)
            if isinstance(answer, LeaseLost):
                # Where its end was reported meanwhile, it was not lost.
                if held is not None:
                    self.holder.forget(lease.queue, lease.token)
                    self._next.lost.append((lease, held.type))
            elif not isinstance(answer, Extended):
                left.append(extension)
            elif held is not None:
                held.renewed = held.heard = now
                if answer.cancel_reason is not None and not held.stopping:
                    held.stopping = True
                    self._next.cancels.append((lease, held.type, answer))
        self._ready.set()
        return left

    # --- cancels ---

    def _cancel_asked(self, queue: str) -> None:
        self._rung[queue] = None
        if not self._looking:
            self._looking = True
            self._begin(self._look_for_cancels())

    async def _look_for_cancels(self) -> None:
        """Tell the worker of cancels at once. Only those leases are extended, which marks the cancel as delivered; the
        others last as the worker's own heartbeats say."""
        failures = 0
        try:
            while self._rung:
                queue = next(iter(self._rung))
                del self._rung[queue]
                if await self._deliver_cancels(queue):
                    failures = 0
                    continue
                self._rung[queue] = None
                failures += 1
                await asyncio.sleep(retry_pause(failures, _LONGEST_PAUSE))
        finally:
            self._looking = False

    async def _deliver_cancels(self, queue: str) -> bool:
        """False: the store did not say all."""
        held = [one for one in self.holder.of_queue(queue) if not one.stopping]
        if not held:
            return True
        try:
            jobs = await self._parts.store.get(queue, [one.lease.job_id for one in held], View.BASIC)
        except STORE_TROUBLE:
            return False
        asked = [Extension(one.lease) for one, job in zip(held, jobs, strict=True) if _is_asked(one, job)]
        return not asked or not await self._tell(asked)


def _is_asked(held: Held, job: Job | None) -> bool:
    """Whether the attempt was asked to stop."""
    if job is None or job.state is not State.ACTIVE or job.attempt != held.lease.attempt:
        return False
    return job.cancel is not None
