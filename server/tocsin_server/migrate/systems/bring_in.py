"""What a reader of another system found, brought in: each job and each schedule once, and never in the place of another
of its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from tocsin_server.domain import limits
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, Put, View
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.migrate.systems.foreign import Foreign, Verdict
from tocsin_server.migrate.systems.ledger import Ledger, mark_of
from tocsin_server.migrate.systems.naming import Naming
from tocsin_server.migrate.systems.own_types import Check, as_own
from tocsin_server.migrate.systems.recurring.keeping import keep_schedule
from tocsin_server.store.interface import JobStore
from tocsin_server.store.put import check_placeable

_PLACED, _BYTES = 200, 4 << 20  # at once: jobs, and bytes of their payloads
TAKEN_ID = (
    "another {what} of its id stands here: bring its queue into one of another name, with --queue-map {queue}=NAME"
)
IN_DOUBT = (
    "an import died as it placed this job, and what happened since is no longer kept: look whether it has run, and "
    "schedule it anew if it has not"
)
MANY_TYPES = (
    f"a queue has at most {limits.TYPES_PER_QUEUE:,} types, and this is one more: --type-map 'PATTERN=TYPE' makes one "
    "of many"
)
PAUSED_THERE = "it was paused where its jobs come from"


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one thing. `stands`: it was brought in before, so nothing was done."""

    foreign: Foreign
    stands: bool = False


@dataclass(slots=True)
class BroughtIn:
    """How many of what. Keys: queue, the source's state, verdict."""

    counts: Counter[tuple[str, str, Verdict]] = field(default_factory=Counter)
    placed: int = 0  # jobs
    stood: int = 0  # jobs that had been brought in before
    schedules: int = 0
    schedules_stood: int = 0

    def of(self, verdict: Verdict) -> int:
        """Things that this became of."""
        return sum(count for (_, _, became), count in self.counts.items() if became is verdict)

    @property
    def refused(self) -> int:
        """Things that could not be taken."""
        return self.of(Verdict.REFUSED)


async def bring_in(
    source: AsyncIterator[Foreign],
    target: JobStore | None,
    tell: Callable[[Line], None],
    *,
    origin: str = "",
    naming: Naming | None = None,
    check: Check | None = None,
) -> BroughtIn:
    """Place what is to be taken, in the order in which it comes; `tell` hears of each thing. No target: a dry run.

    `origin` says which system's queues these are. What was brought in from there before is never brought in again,
    whether it still stands or has gone; one whose id another job has here is refused. With `check`, jobs become
    those of built-in types where they can. AnotherImport where another import of the same queue runs; NoRoom.
    """
    importing = _Importing(target, tell, origin)
    naming = naming or Naming()
    try:
        async for foreign in source:
            named = naming.applied(foreign)
            await importing.take(named if check is None else as_own(named, check))
        await importing.end()
    finally:
        importing.forget()
    return importing.done


class _Importing:
    def __init__(self, target: JobStore | None, tell: Callable[[Line], None], origin: str) -> None:
        self._target = target
        self._tell = tell
        self._origin = origin
        self._lane: tuple[str, str] | None = None  # the queue there, as its own name on this side, and the one here
        self._ledger: Ledger | None = None
        self._types: dict[str, set[str]] = {}
        self._batch: list[tuple[Foreign, Job]] = []
        self._size = 0
        self.done = BroughtIn()

    async def take(self, foreign: Foreign) -> None:
        """Hold it back to be placed with others, or only count it."""
        if foreign.schedule is not None:
            await self._enter(foreign.lane, foreign.schedule.spec.queue)
            await self._keep(foreign, foreign.schedule)
            return
        if foreign.job is None:
            self._count(foreign)
            return
        await self._enter(foreign.lane, foreign.job.queue)
        self._batch.append((foreign, foreign.job))
        self._size += len(foreign.job.spec.payload.body) if foreign.job.spec.payload is not None else 0
        if len(self._batch) == _PLACED or self._size >= _BYTES:
            await self._place()

    async def end(self) -> None:
        """Place what was held back."""
        await self._place()
        if self._ledger is not None:
            await self._ledger.close()

    def forget(self) -> None:
        """What is known of the queue that was brought in last."""
        if self._ledger is not None:
            self._ledger.forget()
            self._ledger = None

    async def _enter(self, lane: str, queue: str) -> None:
        if self._lane == (lane, queue):
            return
        await self.end()
        self.forget()
        self._lane = (lane, queue)
        if queue not in self._types:
            self._types[queue] = set()
            if self._target is not None:
                counts = (await self._target.figures(queue)).counts
                self._types[queue].update(type_ for of_state in counts.values() for type_ in of_state)
        if self._target is not None:
            self._ledger = await Ledger.opened(self._target, queue, origin_of(self._origin, lane))

    async def _keep(self, foreign: Foreign, schedule: Schedule) -> None:
        """A schedule, which is written by itself. One that is deleted here is not made again by a next import."""
        ledger, target = self._ledger, self._target
        if not self._has_room(schedule.spec.queue, schedule.spec.job.type):
            self._count(_refused(foreign, MANY_TYPES))
        elif ledger is None or target is None:
            self._count(foreign)
        elif ledger.was_placed(_mark(foreign)):
            self._count(foreign, stands=True)
        else:
            await self._place()
            await ledger.promise([_mark(foreign)])
            became = await keep_schedule(target, schedule, foreign.calendars)
            if became is Put.KEPT:
                self._count(_refused(foreign, TAKEN_ID.format(what="schedule", queue=foreign.lane)))
                ledger.placed([])
            else:
                ledger.placed([_mark(foreign)])
                self._count(foreign, stands=became is Put.SAME)

    async def _place(self) -> None:
        batch, self._batch, self._size = self._batch, [], 0
        fresh = [(foreign, job) for foreign, job in batch if not self._was_placed(foreign)]
        doubted = await self._settled(fresh)
        fresh = [(foreign, job) for foreign, job in fresh if job.job_id not in doubted and self._fits(foreign, job)]
        if self._target is None or self._ledger is None or not fresh:
            for foreign, _ in fresh:
                self._count(foreign)
            return
        marks = [_mark(foreign) for foreign, _ in fresh]
        await self._ledger.promise(marks)
        answers = await self._target.put([job for _, job in fresh], over=False)
        kept = [job for (_, job), answer in zip(fresh, answers, strict=True) if answer is Put.KEPT]
        others = await self._others(kept)
        placed = []
        for (foreign, job), mark, answer in zip(fresh, marks, answers, strict=True):
            if isinstance(answer, TocsinError):
                self._count(_refused(foreign, str(answer)))
            elif answer is Put.KEPT and job.job_id in others:
                self._count(_refused(foreign, TAKEN_ID.format(what="job", queue=foreign.lane)))
            else:
                placed.append(mark)
                self._count(foreign, stands=answer is Put.KEPT)
        self._ledger.placed(placed)

    def _was_placed(self, foreign: Foreign) -> bool:
        before = self._ledger is not None and self._ledger.was_placed(_mark(foreign))
        if before:
            self._count(foreign, stands=True)
        return before

    async def _settled(self, fresh: Sequence[tuple[Foreign, Job]]) -> set[str]:
        """Counts those of which it is not known if they were placed: they were where they stand. Their ids."""
        ledger, target = self._ledger, self._target
        if ledger is None or target is None:
            return set()
        doubted = [(foreign, job) for foreign, job in fresh if ledger.is_doubted(_mark(foreign))]
        stand = await target.get(doubted[0][1].queue, [job.job_id for _, job in doubted], View.BASIC) if doubted else ()
        for (foreign, job), stands in zip(doubted, stand, strict=True):
            if stands is not None and stands.create_time == job.create_time:
                ledger.settle(_mark(foreign))
                self._count(foreign, stands=True)
            else:
                self._count(_refused(foreign, IN_DOUBT))
        return {job.job_id for _, job in doubted}

    def _fits(self, foreign: Foreign, job: Job) -> bool:
        """Whether it can be placed; one that cannot is counted as refused."""
        try:
            check_placeable([job])
        except ValueError as error:
            self._count(_refused(foreign, str(error)))
            return False
        if not self._has_room(job.queue, job.spec.type):
            self._count(_refused(foreign, MANY_TYPES))
            return False
        return True

    def _has_room(self, queue: str, type_: str) -> bool:
        types = self._types[queue]
        if type_ not in types and len(types) >= limits.TYPES_PER_QUEUE:
            return False
        types.add(type_)
        return True

    async def _others(self, kept: Sequence[Job]) -> set[str]:
        """Ids of those jobs under whose id another one stands."""
        if self._target is None or not kept:
            return set()
        stand = await self._target.get(kept[0].queue, [job.job_id for job in kept], View.FULL)
        return {
            job.job_id
            for job, stands in zip(kept, stand, strict=True)
            if stands is not None and not _is_the_same(job, stands)
        }

    def _count(self, foreign: Foreign, *, stands: bool = False) -> None:
        placed = not stands and self._target is not None
        if foreign.schedule is not None:
            self.done.schedules += placed
            self.done.schedules_stood += stands
        else:
            self.done.placed += foreign.job is not None and placed
            self.done.stood += stands
        self.done.counts[foreign.queue, foreign.source_state, foreign.verdict] += 1
        self._tell(Line(foreign, stands))


def origin_of(system: str, lane: str) -> str:
    """What a ledger is called: a system's own place for its queues, and a queue there."""
    return f"{system}\n{lane}"


def _mark(foreign: Foreign) -> bytes:
    if foreign.schedule is not None:
        return mark_of(f"schedule\n{foreign.schedule.spec.schedule_id}", None)
    return mark_of(foreign.job.job_id if foreign.job is not None else foreign.source_id, foreign.made)


def _is_the_same(job: Job, stands: Job) -> bool:
    """Bull counts 1, 2, 3 in each of its queues: an id alone tells nothing."""
    return (stands.create_time, stands.spec.type, stands.spec.payload) == (
        job.create_time,
        job.spec.type,
        job.spec.payload,
    )


def _refused(foreign: Foreign, why: str) -> Foreign:
    return replace(foreign, verdict=Verdict.REFUSED, why=(why,), job=None, schedule=None)


async def pause(lanes: Sequence[str], target: JobStore, *, origin: str = "", naming: Naming | None = None) -> list[str]:
    """Pause these queues before their first job comes; those of them that stay as they are.

    A pause comes over with the first import of a queue, and with no other: who resumed it since meant it.
    """
    naming = naming or Naming()
    let_be = []
    for lane in lanes:
        queue = naming.queue(lane)
        [settings] = await target.settings([queue])
        ledger = await Ledger.opened(target, queue, origin_of(origin, lane))
        try:
            if not settings.paused and ledger.new:
                await target.put_settings(queue, replace(settings, pause_reason=PAUSED_THERE), paused=True)
            elif not settings.paused:
                let_be.append(lane)
            await ledger.begin()
        finally:
            ledger.forget()
    return let_be
