"""Begins attempts, stops them when they must, and says how they ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tocsin.worker.attempt import Attempt, Runner, Stop
from tocsin.worker.outcomes import TIMEOUT
from tocsin.worker.parents import AskParents
from tocsin.worker.registry import Handler, Handlers
from tocsin.worker.slots import Slots
from tocsin.worker.source import AttemptOutcome, Ending, HeartbeatAnswer, LeasedJob

logger = logging.getLogger("tocsin.worker")

#: A job with so many crashes runs in a process of its own, so that it buries no neighbour.
CRASHES_BEFORE_ALONE = 2


@dataclass(frozen=True, slots=True)
class Graces:
    """How long the supervisor waits for what it cannot force."""

    stop: timedelta  # after a timeout, a lost lease, a drain: until the attempt is abandoned
    cancel: timedelta  # after a cancel, where the source names no grace
    park: timedelta  # for an abandoned attempt of the same job, before the new one is given back


@dataclass(frozen=True, slots=True)
class Runners:
    """The ways to call a handler."""

    loops: Runner
    threads: Runner
    processes: Runner
    programs: Runner

    def of(self, handler: Handler, job: LeasedJob) -> Runner:
        """The one for this attempt. A handler that no other process can find runs in this one."""
        if handler.command:
            return self.programs
        if handler.spec is not None and (handler.process or job.crashes >= CRASHES_BEFORE_ALONE):
            return self.processes
        return self.loops if handler.is_async else self.threads


class Supervisor:
    """All attempts that this process has a lease of, or whose handler still runs. Lives on the runtime's loop."""

    def __init__(
        self,
        handlers: Handlers,
        slots: Slots,
        runners: Runners,
        graces: Graces,
        *,
        done: Callable[[Attempt, AttemptOutcome], None],
        said: Callable[[Attempt], None],
        ask: AskParents,
    ) -> None:
        self.running: dict[Attempt, None] = {}  # leased, outcome not given yet; parked ones included
        self.abandoned: dict[Attempt, None] = {}  # outcome given, handler still runs
        self.parked: dict[tuple[str, str], Attempt] = {}  # wait for an earlier attempt of the same job to end here
        self._here: dict[tuple[str, str], Attempt] = {}  # jobs whose handler runs
        self._handlers = handlers
        self._slots = slots
        self._runners = runners
        self._graces = graces
        self._done = done
        self._said = said
        self._ask = ask
        self._nothing_runs = asyncio.Event()
        self._nothing_runs.set()

    def start(self, jobs: Sequence[LeasedJob]) -> None:
        """Begin an attempt of each. All types must have a handler."""
        beginning: dict[Runner, list[Attempt]] = {}
        for job, handler in [(job, self._handler(job)) for job in jobs]:
            runner = self._runners.of(handler, job)
            attempt = Attempt(job, handler, runner, self._said, self._ask)
            self._slots.take(job.queue, job.type)
            self.running[attempt] = None
            if attempt.key in self._here:
                self._park(attempt)
            else:
                self._here[attempt.key] = attempt
                beginning.setdefault(runner, []).append(attempt)
        if self.running:
            self._nothing_runs.clear()
        for runner, attempts in beginning.items():
            self._begin(runner, attempts)

    def answered(self, attempt: Attempt, answer: HeartbeatAnswer) -> None:
        """The source said that its lease is lost, or that its cancel was asked."""
        if attempt not in self.running:
            return  # its outcome waits to be recorded; there is nothing to stop
        if answer.lost:
            self.stop(attempt, Stop.LOST, "the lease was lost", self._graces.stop)
        elif answer.cancel_reason is not None:
            grace = self._graces.cancel if answer.cancel_grace is None else answer.cancel_grace
            self.stop(attempt, Stop.CANCEL, answer.cancel_reason, grace)

    def stop(self, attempt: Attempt, why: Stop, reason: str, grace: timedelta) -> None:
        """Ask it to stop; after `grace` it is killed or abandoned. The first wish stands, but for a lost lease."""
        if attempt.stop is not None:
            if why is Stop.LOST:
                attempt.stop = why
            return
        attempt.stop = why
        attempt.stop_reason = reason
        attempt.context.ask_to_stop(reason)
        if why is Stop.LOST:
            logger.warning(
                "job %s of type %r lost its lease and is stopped; it runs again elsewhere",
                attempt.job.job_id,
                attempt.job.type,
            )
        if self.parked.get(attempt.key) is attempt:
            del self.parked[attempt.key]
            self._end(attempt, None)
            return
        attempt.runner.stop(attempt)
        self._set_timer(attempt, grace.total_seconds(), self.give_up)

    def give_up(self, attempt: Attempt) -> None:
        """Its grace is over: kill it, or else give its outcome now and let its handler end when it likes."""
        if attempt.runner.kill(attempt):
            # Its death is reported within moments; what even a kill does not end is abandoned.
            self._set_timer(attempt, self._graces.stop.total_seconds(), self._abandon)
        else:
            self._abandon(attempt)

    def ended(self, attempt: Attempt, raw: AttemptOutcome) -> None:
        """Its handler has ended. Said twice, it is taken once."""
        if self._here.get(attempt.key) is not attempt:
            return
        attempt.context.mute()  # also unties attempt and context, so that payloads are freed without the collector
        del self._here[attempt.key]
        if attempt.abandoned:
            del self.abandoned[attempt]
            self._free(attempt)
            logger.info("the abandoned handler %s of job %s has ended", attempt.handler.name, attempt.job.job_id)
        else:
            self._end(attempt, raw)
        if self.parked:
            self._unpark(attempt.key)

    def _handler(self, job: LeasedJob) -> Handler:
        handler = self._handlers.get(job.type)
        if handler is None:
            raise ValueError(f"a job of type {job.type!r} was leased, which was not asked for")
        return handler

    async def nothing_runs(self) -> None:
        """Return when no outcome is owed."""
        await self._nothing_runs.wait()

    # --- beginning ---

    def _begin(self, runner: Runner, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            if attempt.limit is not None:
                self._set_timer(attempt, attempt.limit.total_seconds(), self._limit_over)
        runner.start(attempts)

    def _park(self, attempt: Attempt) -> None:
        logger.info(
            "job %s of type %r waits: an earlier attempt of it has not ended here", attempt.job.job_id, attempt.job.type
        )
        if (earlier := self.parked.pop(attempt.key, None)) is not None:
            earlier.stop = Stop.LOST  # else there would be no newer lease
            self._end(earlier, None)
        self.parked[attempt.key] = attempt
        self._set_timer(attempt, self._graces.park.total_seconds(), self._park_over)

    def _unpark(self, key: tuple[str, str]) -> None:
        if (attempt := self.parked.pop(key, None)) is not None:
            self._drop_timer(attempt)
            self._here[key] = attempt
            self._begin(attempt.runner, [attempt])

    # --- ending ---

    def _end(self, attempt: Attempt, raw: AttemptOutcome | None) -> None:
        self._drop_timer(attempt)
        self._free(attempt)
        self._settle(attempt, raw)

    def _settle(self, attempt: Attempt, raw: AttemptOutcome | None) -> None:
        del self.running[attempt]
        outcome = attempt.settled(raw)
        if outcome is not None:
            self._done(attempt, outcome)
        if not self.running:
            self._nothing_runs.set()

    def _abandon(self, attempt: Attempt) -> None:
        self._drop_timer(attempt)
        attempt.abandoned = True
        self.abandoned[attempt] = None
        logger.warning(
            "handler %s of job %s did not stop (%s); it is abandoned and keeps its slot until it ends",
            attempt.handler.name,
            attempt.job.job_id,
            TIMEOUT if attempt.stop is Stop.TIMEOUT else attempt.stop_reason or "cancelled",
        )
        self._settle(attempt, None)

    def _free(self, attempt: Attempt) -> None:
        self._slots.give(attempt.job.queue, attempt.job.type)

    # --- timers ---

    def _set_timer(self, attempt: Attempt, seconds: float, over: Callable[[Attempt], None]) -> None:
        self._drop_timer(attempt)
        attempt.timer = asyncio.get_running_loop().call_later(seconds, over, attempt)

    def _drop_timer(self, attempt: Attempt) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
            attempt.timer = None

    def _limit_over(self, attempt: Attempt) -> None:
        limit = attempt.limit.total_seconds() if attempt.limit is not None else 0.0
        # Time it waited to begin, behind a blocked loop, does not count.
        left = limit if attempt.began is None else attempt.began + limit - time.monotonic()
        if left > 0:
            self._set_timer(attempt, left, self._limit_over)
        else:
            self.stop(attempt, Stop.TIMEOUT, f"it passed its limit of {limit:g} s", self._graces.stop)

    def _park_over(self, attempt: Attempt) -> None:
        del self.parked[attempt.key]
        self._end(attempt, AttemptOutcome(attempt.job, Ending.RELEASED))
