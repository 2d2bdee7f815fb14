"""Runtime: takes jobs from a source, runs their handlers, and gives back how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta

from tocsin.worker import forks
from tocsin.worker.attempt import Attempt, Ended, Stop
from tocsin.worker.errors import ParentsUnread
from tocsin.worker.flusher import Flusher
from tocsin.worker.heartbeats import Heartbeats
from tocsin.worker.mailbox import Mailbox
from tocsin.worker.registry import Handlers
from tocsin.worker.runners.loops import HandlerLoops
from tocsin.worker.runners.processes import HandlerProcesses
from tocsin.worker.runners.programs import Programs
from tocsin.worker.runners.threads import HandlerThreads
from tocsin.worker.slots import FreeSlots, Slots
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob, Seat, Source
from tocsin.worker.supervisor import Graces, Runners, Supervisor

logger = logging.getLogger("tocsin.worker")

#: Seconds before more is taken after a job could not begin here, for want of a thread, a loop or a process: the first,
#: and the longest.
FIRST_BREATH, LONGEST_BREATH = 1.0, 10.0

#: Seconds that a drain whose grace is used up waits for the source to take the last outcomes; otherwise it waits as
#: long as its grace lasts. What is not taken runs out of its lease.
FLUSH_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What the runtime does at this moment."""

    slots: int  # attempts it can run at once
    busy: int  # attempts it runs
    abandoned: int  # handlers that were stopped and have not ended; each keeps its slot
    blocked_loops: int  # event loops that a handler blocks
    parked: int  # of the busy: wait for an abandoned attempt of the same job
    unrecorded: int = 0  # attempts that have ended, and whose outcomes the source has not taken yet


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the attempts that ran when the drain began."""

    ended: int  # by themselves
    released: int  # given back unfinished, with what was granted too late to begin
    abandoned: int  # of the released: their handlers still run
    unflushed: int  # outcomes that the source did not take in time; their leases run out


class Runtime:
    """Runs jobs. Make it, `await run()` on the loop that serves, and `await drain(grace)` there to end it.

    Handlers run on other loops, threads and processes, never on this loop. All calls of the source are made on it.

    concurrency: attempts at once; types may have lower limits of their own. slots: made by the caller, who may change
    the limits of queues in it while this runs; None: made of `concurrency` and the handlers' limits.
    stop_grace: how long an attempt may take to stop after a timeout, a lost lease or a drain; then it is killed, if it
    has its own process, or abandoned: its outcome is given, its slot stays taken until its handler ends.
    cancel_grace: the same after a cancel, where the source names none.
    blocked_after: an event loop that has not ticked for so long takes nothing new.
    park_for: how long a new attempt of a job waits here for an abandoned one to end; then it is given back.
    """

    def __init__(
        self,
        source: Source,
        handlers: Handlers,
        *,
        concurrency: int = 20,
        slots: Slots | None = None,
        stop_grace: timedelta = timedelta(seconds=2),
        cancel_grace: timedelta = timedelta(seconds=30),
        blocked_after: timedelta = timedelta(seconds=1),
        park_for: timedelta = timedelta(seconds=30),
    ) -> None:
        self._source = source
        self._stop_grace = stop_grace
        self._slots = slots or Slots(concurrency, handlers.concurrencies())
        self._ended: Mailbox[Ended] = Mailbox(self._take_ended)
        self._said: Mailbox[Attempt] = Mailbox(lambda attempt: self._heartbeats.said(attempt))
        self._loops = HandlerLoops(self._ended, blocked_after)
        self._runners = Runners(
            self._loops,
            HandlerThreads(self._ended),
            HandlerProcesses(self._ended, exit_grace=stop_grace),
            Programs(self._ended, exit_grace=stop_grace),
        )
        self._supervisor = Supervisor(
            handlers,
            self._slots,
            self._runners,
            Graces(stop_grace, cancel_grace, park_for),
            done=self._done,
            said=self._said.put,
            ask=self._ask_parents,
        )
        self._flusher = Flusher(source, lambda ended: self._heartbeats.last_words(ended))
        leased = _Either(self._supervisor.running, self._flusher.owed)
        self._heartbeats = Heartbeats(source, leased, self._supervisor.answered)
        self._drain_task: asyncio.Task[Drained] | None = None
        self._grace_over = asyncio.Event()  # a later drain with less patience
        self._slots.widened = self._widened
        self._seat: Seat | None = None
        self._over: asyncio.Future[None] | None = None  # ends what `run` waits for
        self._loop: asyncio.AbstractEventLoop | None = None  # that `run` runs on
        self._released = 0  # attempts
        self._given_back = 0  # jobs that came too late to become attempts
        self._breath = FIRST_BREATH
        self._breathing: asyncio.TimerHandle | None = None  # nothing begins until it rings
        for handler in map(handlers.get, handlers):
            if handler is not None and handler.process and handler.spec is None:
                logger.warning(
                    "handler %s asks for processes of its own, but no other process can find it: "
                    "it runs in this one. Load it by its module's name.",
                    handler.name,
                )

    async def run(self) -> None:
        """Run jobs until drained. Cancelled, it drains with no grace and then ends as cancelled."""
        self._loop = loop = asyncio.get_running_loop()
        self._ended.open(loop)
        self._said.open(loop)
        forks.run_here()
        beating = loop.create_task(self._heartbeats.run())
        try:
            if self._drain_task is None:
                self._over = loop.create_future()
                self._seat = self._source.sit(self._slots.types, self._capacity, self._take)
                await self._over
            if self._drain_task is not None:  # the one that ended it
                await asyncio.shield(self._drain_task)
        except BaseException:
            await self.drain(timedelta(0))
            raise
        finally:
            beating.cancel()
            self._flusher.close()
            runners = self._runners
            for runner in (runners.programs, runners.processes, runners.threads, runners.loops):
                await runner.close()

    async def drain(self, grace: timedelta) -> Drained:
        """Lease nothing more, give what runs `grace` to end, stop the rest and give it back; say what became of it.

        Takes about grace + stop_grace; at most grace + 3 * stop_grace + 10 s, where even a kill does not help and the
        source does not take the last outcomes. A second call waits for the first one's answer, and may shorten its
        grace: what runs has no more than the second `grace` from then.
        """
        if self._drain_task is not None:
            asyncio.get_running_loop().call_later(grace.total_seconds(), self._grace_over.set)
        else:
            self._drain_task = asyncio.get_running_loop().create_task(
                self._drain(grace, len(self._supervisor.running), self._released)
            )
            if self._seat is not None:
                self._seat.leave()
            if self._over is not None and not self._over.done():
                self._over.set_result(None)
        return await asyncio.shield(self._drain_task)

    def figures(self) -> Figures:
        """What it does at this moment."""
        supervisor = self._supervisor
        return Figures(
            slots=self._slots.total,
            busy=len(supervisor.running),
            abandoned=len(supervisor.abandoned),
            blocked_loops=self._loops.blocked,
            parked=len(supervisor.parked),
            unrecorded=self._flusher.unflushed,
        )

    @property
    def handler_lag(self) -> float:
        """For how many seconds the worst of the event loops that run handlers has not come round."""
        return self._loops.lag

    # --- jobs come ---

    def _capacity(self) -> FreeSlots:
        return self._slots.capacity(none=self._breathing is not None)

    def _widened(self) -> None:
        if self._seat is not None:
            self._seat.widened()

    def _breathe(self) -> None:
        self._breathing = None
        self._widened()

    def _take(self, jobs: Sequence[LeasedJob]) -> None:
        if self._drain_task is not None:
            self._give_back(jobs)
            return
        try:
            self._supervisor.start(jobs)
        except Exception as error:  # whoever awaits `run` must hear of it
            if self._over is None or self._over.done():
                raise
            self._over.set_exception(error)

    def _give_back(self, jobs: Sequence[LeasedJob]) -> None:
        """They were granted too late to begin."""
        for job in jobs:
            self._given_back += 1
            self._flusher.add(None, AttemptOutcome(job, Ending.RELEASED))

    # --- what comes back ---

    def _take_ended(self, ended: Ended) -> None:
        if ended[1].ending is Ending.RELEASED and not ended[1].reason:  # the runner could not begin it
            if self._breathing is None:  # else it is one of those that began together
                self._breathing = asyncio.get_running_loop().call_later(self._breath, self._breathe)
                self._breath = min(self._breath * 2, LONGEST_BREATH)
        else:
            self._breath = FIRST_BREATH
        self._supervisor.ended(*ended)

    def _ask_parents(self, job: LeasedJob) -> Future[Sequence[bytes | None]]:
        """From any thread."""
        if self._loop is None:
            raise ParentsUnread("nothing runs here yet")
        return asyncio.run_coroutine_threadsafe(self._parents(job), self._loop)

    async def _parents(self, job: LeasedJob) -> Sequence[bytes | None]:
        try:
            return await self._source.parents(job)
        except Exception as error:
            raise ParentsUnread(f"the parents of job {job.job_id!r} could not be read: {error}") from error

    def _done(self, attempt: Attempt, outcome: AttemptOutcome) -> None:
        self._released += outcome.ending is Ending.RELEASED
        self._flusher.add(attempt, outcome)

    # --- ending ---

    async def _drain(self, grace: timedelta, running_before: int, released_before: int) -> Drained:
        until = time.monotonic() + grace.total_seconds()
        supervisor = self._supervisor
        for attempt in list(supervisor.parked.values()):
            supervisor.stop(attempt, Stop.DRAIN, "shutting down", self._stop_grace)
        await _within(grace.total_seconds(), _first(supervisor.nothing_runs(), self._grace_over.wait()))
        for attempt in list(supervisor.running):
            supervisor.stop(attempt, Stop.DRAIN, "shutting down", self._stop_grace)
        await _within(self._stop_grace.total_seconds(), supervisor.nothing_runs())
        for attempt in list(supervisor.running):  # also those that were stopped before, and have longer graces
            supervisor.give_up(attempt)
        await _within(2 * self._stop_grace.total_seconds(), supervisor.nothing_runs())
        left = max(FLUSH_GRACE, until - time.monotonic())
        await _within(left, _first(self._flusher.idle(), _after(self._grace_over, FLUSH_GRACE)))
        released = self._released - released_before
        return Drained(
            ended=running_before - released,
            released=released + self._given_back,
            abandoned=sum(attempt.stop is Stop.DRAIN for attempt in supervisor.abandoned),
            unflushed=self._flusher.unflushed,
        )


class _Either(Collection[Attempt]):
    """What is in one or the other; nothing is in both."""

    def __init__(self, one: Collection[Attempt], other: Collection[Attempt]) -> None:
        self._one, self._other = one, other

    def __contains__(self, item: object) -> bool:
        return item in self._one or item in self._other

    def __iter__(self) -> Iterator[Attempt]:
        return itertools.chain(self._one, self._other)

    def __len__(self) -> int:
        return len(self._one) + len(self._other)


async def _after(event: asyncio.Event, seconds: float) -> None:
    """Wait until so long after the event."""
    await event.wait()
    await asyncio.sleep(seconds)


async def _within(seconds: float, event: Coroutine[None, None, object]) -> None:
    """Wait for it, but no longer than so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event


async def _first(*events: Coroutine[None, None, object]) -> None:
    """Wait for whichever comes first."""
    tasks = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
