"""Why a job is not running, or who runs it: the reading, and the rule that makes a reason of what was read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway
from tocsin_server.domain.explaining import Explanation, HeldBack, Outlook, Turn, Why
from tocsin_server.domain.job import Job
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.domain.queues import QueueSettings, WorkerFigures
from tocsin_server.domain.states import ENDED, State
from tocsin_server.domain.words import counted
from tocsin_server.operations import moves
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_WORKERS_KEPT = 1.0  # seconds for which what servers say of workers is good here: they say it anew every few


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around the jobs of a queue: its settings, the move it is paused for, and all workers."""

    settings: QueueSettings
    move: moves.Move | None = None
    workers: Sequence[WorkerFigures] = ()


class Explaining:
    """Explains jobs. `settings`: of a queue, as they are at hand. `workers`: all who run jobs. `silent_since`: since
    when the store is known not to answer; None: it does."""

    def __init__(
        self,
        store: JobStore,
        settings: Callable[[str], Awaitable[QueueSettings]],
        workers: Callable[[], Awaitable[Sequence[WorkerFigures]]],
        clock: StoreClock,
        silent_since: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._silent_since = silent_since
        self._read_workers = workers
        self._workers: tuple[float, asyncio.Task[Sequence[WorkerFigures]]] | None = None

    async def explain(self, queue: str, job_id: str) -> Explanation:
        """One job. JobNotFound. A store that does not answer is a reason, too."""
        if (since := self._silent_since()) is not None:
            return _store_away(since)
        try:
            [outlook] = await self._store.explain(queue, [job_id])
            if outlook is None:
                raise JobNotFound(queue, job_id)
            around = await self._around(queue, [outlook.job])
        except (StoreAway, OutcomeUnknown):
            return _store_away(self._silent_since())
        return explained(await self._with_shared(outlook), around)

    async def _with_shared(self, outlook: Outlook) -> Outlook:
        """With the shared limit that holds a due job back, where its queue's own limits do not."""
        job = outlook.job
        due = job.state is State.WAITING or (job.state is State.SCHEDULED and job.schedule_time <= outlook.now)
        if outlook.hindrance is not None or job.held or not due:
            return outlook
        for one in await self._store.shared.limits_of(job.queue):
            if one.full or one.time is not None:
                at = None if one.full else one.time
                held = HeldBack(one.limit.name, one.total, one.limit.max_active, at, queues=len(one.limit.queues))
                return replace(outlook, hindrance=held)
        return outlook

    async def with_parents(self, job: Job) -> Job:
        """The job, with whom it waits for or waited for."""
        if job.spec.conditions.depends is None or self._store.dependencies is None:
            return job
        [parents] = await self._store.dependencies.parents(job.queue, [job.job_id])
        return replace(job, parents=parents)

    async def each(self, queue: str, jobs: Sequence[Job]) -> list[Explanation]:
        """These jobs of a queue, as they were read just now. Of those that are due or run the store is asked, by one
        question; one that is gone meanwhile is explained as it was."""
        if not jobs:
            return []
        now = self._clock.now()
        asked = [job.job_id for job in jobs if _must_be_asked(job, now)]
        found = await self._store.explain(queue, asked) if asked else []
        outlooks = {outlook.job.job_id: outlook for outlook in found if outlook is not None}
        around = await self._around(queue, jobs)
        paused = around.settings.paused_since
        return [explained(outlooks.get(job.job_id) or Outlook(job, now, paused), around) for job in jobs]

    async def _around(self, queue: str, jobs: Sequence[Job]) -> Surroundings:
        if all(job.state in ENDED for job in jobs):
            return Surroundings(QueueSettings())
        settings = await self._settings(queue)
        move = await moves.standing(self._store, queue, settings)
        now = self._clock.now()
        workers = await self._all_workers() if any(_must_be_asked(job, now) for job in jobs) else ()
        return Surroundings(settings, move, workers)

    async def _all_workers(self) -> Sequence[WorkerFigures]:
        """At most a second old. Those who ask at one time share a question, and what it raises."""
        now = asyncio.get_running_loop().time()
        if self._workers is None or self._workers[0] <= now:
            self._workers = (now + _WORKERS_KEPT, asyncio.create_task(self._ask_for_workers()))
        # A caller that leaves must not take the answer from the others.
        return await asyncio.shield(self._workers[1])

    async def _ask_for_workers(self) -> Sequence[WorkerFigures]:
        try:
            return await self._read_workers()
        except BaseException:
            self._workers = None  # the next one asks anew
            raise


def _must_be_asked(job: Job, now: datetime) -> bool:
    if job.held:
        return False
    return job.state in (State.WAITING, State.ACTIVE, State.BLOCKED) or (
        job.state is State.SCHEDULED and job.schedule_time <= now
    )


def explained(outlook: Outlook, around: Surroundings) -> Explanation:
    """The reason. What stands in the way of all jobs of a queue goes before what stands in the way of this one."""
    job, now = outlook.job, outlook.now
    if job.state in ENDED:
        ago = f", {_span(now - job.end_time)} ago, at {_time(job.end_time)}" if job.end_time is not None else ""
        return Explanation(Why.ENDED, f"It has ended {job.state.name}{ago}.", time=job.end_time)
    if job.state is State.ACTIVE:
        return _leased(outlook, around.workers)
    if isinstance(around.move, moves.Leaving) and outlook.paused_since is not None:
        return _moved(around.move)
    expires = job.expire_time
    if expires is not None and expires <= max(now, job.schedule_time):
        return _expires(expires, now)
    found = _not_yet(outlook, around)
    if expires is None:
        return found
    return replace(
        found, sentence=f"{found.sentence} It expires in {_span(expires - now)} if it has not begun by then."
    )


def _not_yet(outlook: Outlook, around: Surroundings) -> Explanation:
    """Why a job that has not ended has not begun, or not begun again."""
    job, now = outlook.job, outlook.now
    if job.held:
        return Explanation(Why.HELD, "It is held: no attempt begins until it is let go, whatever its time.")
    if job.state is State.BLOCKED:
        return _blocked(outlook)
    if job.state is State.SCHEDULED and job.schedule_time > now:
        return _due_later(outlook)
    if outlook.paused_since is not None:
        return _paused(outlook.paused_since, around.settings)
    takers = _takers(job, around)
    if not takers:
        return _no_worker(job.spec.type, around.settings)
    if isinstance(outlook.hindrance, HeldBack):
        return _limit(outlook.hindrance, now)
    if isinstance(outlook.hindrance, Turn) and (outlook.hindrance.before or outlook.ahead):
        return _turn(outlook.hindrance, outlook.ahead)
    return _behind(outlook.ahead, job.spec.type, takers)


def _expires(expires: datetime, now: datetime) -> Explanation:
    if expires <= now:
        sentence = f"It had to begin by {_time(expires)} and did not: it is about to end, as expired."
    else:
        sentence = f"It expires in {_span(expires - now)}, at {_time(expires)}, before it is due: it never begins."
    return Explanation(Why.EXPIRES_AT, sentence, time=expires)


def _blocked(outlook: Outlook) -> Explanation:
    job_ids, number = outlook.waits_for, outlook.open_parents
    if number is None:
        number = len(job_ids)
    if not job_ids:
        return Explanation(Why.BLOCKED_BY, "It waits for other jobs to end.", open=outlook.open_parents)
    named = [repr(job_id) for job_id in job_ids[: limits.EXPLAINED_PARENTS]]
    who = f"job {named[0]}" if number == 1 else f"{number} jobs: {', '.join(named)}"
    who += f" and {more} more" if (more := number - len(named)) else ""
    sentence = f"It waits for {who} to end." if number == 1 else f"It waits for the ends of {who}."
    return Explanation(Why.BLOCKED_BY, sentence, job_ids=job_ids, open=outlook.open_parents)


def _takers(job: Job, around: Surroundings) -> Sequence[WorkerFigures]:
    """Who is given such jobs. Those that have a push target are sent there by servers that make requests."""
    return [one for one in around.workers if around.settings.given_to(one, job.queue, job.spec.type)]


def _leased(outlook: Outlook, workers: Sequence[WorkerFigures]) -> Explanation:
    job, now, end = outlook.job, outlook.now, outlook.lease_end
    holder = next((worker for worker in workers if _holds(worker, job)), None)
    name = "Somebody who does not say so" if holder is None else f"{holder.worker}"
    said = [f"{name} runs attempt {job.attempt}"]
    if holder is not None and holder.seen_time is not None:
        said.append(f"was last heard of {_span(now - holder.seen_time)} ago")
    if end is not None and end > now:
        said.append(f"has its lease for another {_span(end - now)} unless it extends it")
    elif end is not None:
        said.append("let its lease run out: it is about to be taken back")
    sentence = f"{', '.join(said[:-1])}, and {said[-1]}." if len(said) > 1 else f"{said[0]}."
    if job.cancel is not None:
        told = "was told" if job.cancel.deliver_time is not None else "is yet to be told"
        sentence += f" A cancel was asked {_span(now - job.cancel.ask_time)} ago, of which it {told}."
    return Explanation(
        Why.LEASED_BY,
        sentence,
        time=end,
        worker="" if holder is None else holder.worker,
        seen_time=None if holder is None else holder.seen_time,
    )


def _holds(worker: WorkerFigures, job: Job) -> bool:
    return any((one.queue, one.job_id, one.attempt) == (job.queue, job.job_id, job.attempt) for one in worker.held)


def _moved(move: moves.Leaving) -> Explanation:
    if move.done_time is None:
        return Explanation(Why.MOVED, f"Its queue is being moved to {move.to}: it runs there then.", name=move.to)
    sentence = f"Its queue has moved to {move.to}, at {_time(move.done_time)}: it runs there, and this is a copy."
    return Explanation(Why.MOVED, sentence, time=move.done_time, name=move.to)


def _due_later(outlook: Outlook) -> Explanation:
    job, due = outlook.job, outlook.job.schedule_time
    when = f"in {_span(due - outlook.now)}, at {_time(due)}"
    but = "" if outlook.paused_since is None else " Its queue is paused, too."
    if not job.failures:
        return Explanation(Why.DUE_IN, f"It is due {when}.{but}", time=due)
    of_what = f" ({job.errors[-1].type})" if job.errors and job.errors[-1].type else ""
    return Explanation(
        Why.RETRYING_AT, f"Attempt {job.attempt} failed{of_what}; the next is due {when}.{but}", time=due
    )


def _paused(since: datetime, settings: QueueSettings) -> Explanation:
    why = f' ("{settings.pause_reason}")' if settings.pause_reason else ""
    then = f"it goes on at {_time(settings.pause_until)}" if settings.pause_until is not None else "resume it"
    return Explanation(
        Why.QUEUE_PAUSED, f"It is due, and its queue is paused since {_time(since)}{why}: {then}.", time=since
    )


def _no_worker(type_: str, settings: QueueSettings) -> Explanation:
    who, what = f'nobody who is heard of runs jobs of type "{type_}" from its queue', "start a worker"
    if settings.push_of(type_) is not None:
        who, what = f'no server is heard of that sends jobs of type "{type_}" on', "start one without --no-dispatch"
    elif lowest := settings.min_worker_version_of(type_):
        who, what = f"{who} in version {lowest} or a later one", "start one of those"
    return Explanation(Why.NO_WORKER, f"It is due, and {who}: {what}.", name=type_)


def _limit(hindrance: HeldBack, now: datetime) -> Explanation:
    what = "shared limit" if hindrance.queues else "limit"
    if hindrance.next_at is not None:
        how = f"lets no job begin before {_time(hindrance.next_at)}, in {_span(hindrance.next_at - now)}"
    else:
        where = f" in its {counted(hindrance.queues, 'queue')}" if hindrance.queues else ""
        how = f"is full: {hindrance.active:,} of {hindrance.most:,} run{where}; it begins when one of them has ended"
    return Explanation(
        Why.LIMIT,
        f'It is due, and the {what} "{hindrance.limit}" {how}.',
        time=hindrance.next_at,
        name=hindrance.limit,
        active=hindrance.active,
        most=hindrance.most,
    )


def _turn(turn: Turn, ahead: int | None) -> Explanation:
    whose = f'its key "{turn.limit_key}"' if turn.limit_key else "what has no limit_key"
    own = f", and {counted(ahead, 'job of it goes', 'jobs of it go')} first" if ahead else ""
    sentence = f"It is due, and keys take turns: {counted(turn.before, 'key comes', 'keys come')} before {whose}{own}."
    return Explanation(Why.TURN, sentence, name=turn.limit_key, ahead=turn.before)


def _behind(ahead: int | None, type_: str, takers: Sequence[WorkerFigures]) -> Explanation:
    free = sum(worker.places for worker in takers)
    if ahead is None:
        place = f"and so many of type {type_} are that those before it were not counted"
    elif ahead:
        place = f"and {counted(ahead, 'job is', 'jobs are')} taken before it"
    else:
        place = f"and the first of type {type_}"
    who = counted(len(takers), "process runs", "processes run")
    slots = f"with {counted(free, 'free slot')}" if free else "without a free slot"
    return Explanation(Why.BEHIND, f"It is due, {place}; {who} this type, {slots}.", name=type_, ahead=ahead)


def _store_away(since: datetime | None) -> Explanation:
    known = "" if since is None else f" since {_time(since)}"
    return Explanation(Why.STORE_AWAY, f"The store does not answer{known}: no job begins until it does.", time=since)


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _span(span: timedelta) -> str:
    """As people say it, in its two largest units."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 1:
        return "less than a second"
    parts: list[tuple[int, str]] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)
