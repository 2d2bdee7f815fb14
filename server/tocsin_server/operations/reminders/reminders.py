"""Reminder sets: scheduled and moved, shown, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

from tocsin_server.background import Unbroken
from tocsin_server.domain import reminders as sets
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.errors import OutcomeUnknown, RemindersNotFound, TocsinError
from tocsin_server.domain.filters import JobFilter, ListQuery
from tocsin_server.domain.job import Kept, OnConflict, Payload
from tocsin_server.domain.job_errors import ReminderIdTaken
from tocsin_server.domain.reminders import Earlier, Entry, ReminderKind, ReminderSet, SetName, Standing, Wish
from tocsin_server.domain.states import State
from tocsin_server.operations.reminders.earlier_jobs import EarlierJobs
from tocsin_server.operations.reminders.notes import SetNotes
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.store.interface import JobStore

_PAGE = 1_000
T = TypeVar("T")

#: The payload of one reminder, from its offset and the revision of its set.
PayloadOf = Callable[[timedelta, int], Payload]


@dataclass(frozen=True, slots=True)
class Shown:
    """One reminder as it stands. `state`: of its job, None where it has none (any more)."""

    offset: timedelta
    send_time: datetime
    job_id: str  # "": none was made, as its time had passed
    state: State | None


@dataclass(frozen=True, slots=True)
class ShownSet:
    """A set as it stands."""

    name: SetName
    anchor: datetime
    reminders: tuple[Shown, ...]
    cancelled: bool
    revision: int
    warnings: tuple[str, ...] = ()  # what keeps its reminders from being sent at present


@dataclass(frozen=True, slots=True)
class _Done:
    """What a change did: jobs of earlier revisions that may still send, and the set as it stood afterwards."""

    earlier: tuple[Earlier, ...]
    reason: str
    stands: ReminderSet


class Reminders:
    """Schedules, moves, shows and cancels sets.

    A change that was begun runs to its end, whoever has lost interest; a server that dies in the midst of one leaves a
    set that a repeat of the call mends. Calls about one set may come side by side, on any number of servers: the set is
    then what the last of them wanted, and each is answered once the promise of fence.py holds for it.
    """

    def __init__(self, store: JobStore, scheduling: ScheduleJobs) -> None:
        self._store = store
        self._scheduling = scheduling
        self._notes = SetNotes(store)
        self._earlier = EarlierJobs(store)
        self._unbroken = Unbroken()

    async def schedule(self, name: SetName, wish: Wish, payload_of: PayloadOf) -> ShownSet:
        """Make the set what is wished, and show it. The same wish again changes nothing.

        Returns once no attempt sends, or can begin to, for an anchor that was before. Raises what the store raises,
        and OutcomeUnknown for anything that comes after its first write.
        """
        return await self._settled(name, await self._unbroken.run(self._schedule(name, wish, payload_of)))

    async def cancel(self, name: SetName, reason: str) -> ShownSet:
        """Cancel what has not been sent, and show the set. RemindersNotFound.

        Returns once no attempt sends, or can begin to. Raises as `schedule`.
        """
        return await self._settled(name, await self._unbroken.run(self._cancel(name, reason)))

    async def show(self, name: SetName) -> ShownSet:
        """The set as it stands. RemindersNotFound."""
        stored = await self._notes.read(name)
        if stored is None:
            raise RemindersNotFound(name.queue, name.kind.word, name.set_id)
        return await self._shown(name, stored.reminder_set)

    async def close(self) -> None:
        """Wait until all changes under way have ended."""
        await self._unbroken.close()

    # --- changes ---

    async def _schedule(self, name: SetName, wish: Wish, payload_of: PayloadOf) -> _Done:
        while True:
            stored, now = await asyncio.gather(self._notes.read(name), self._store.ping())
            old = None if stored is None else stored.reminder_set
            jobs = await self._jobs_of(name, old)
            if old is not None and old.is_as(wish):
                _sure_they_are_ours(name, old, jobs)
                new = sets.mended(name, old, jobs, now)
            elif old is not None and sets.only_content_changes(old, wish) and sets.any_sends(name, old, jobs):
                # Whether these reminders get sent decides what the new revision needs. No anchor is left behind.
                await self._earlier.sent(name.queue, old.begun(name))
                continue
            else:
                new = await self._next(name, old, wish, jobs, now)
            if new == old or await self._notes.write(name, new, stored):
                break
        with _after_the_act():
            reason = f"its reminder set is at revision {new.revision}"
            await self._earlier.cancel_idle(name.queue, new.earlier, jobs, reason)
            await self._add(name, new, jobs, payload_of)
            stands = await self._outrun(name, new, reason)
            # Those of the set that is shown, which has all of the new one that had not ended, and perhaps more.
            return _Done(stands.earlier, reason, stands)

    async def _next(
        self, name: SetName, old: ReminderSet | None, wish: Wish, jobs: Standing, now: datetime
    ) -> ReminderSet:
        """The set's next revision, none of whose jobs' ids is taken."""
        revision = await self._first_revision(name) if old is None else old.revision + 1
        while True:
            new = sets.scheduled(name, old, wish, jobs, now, revision=revision)
            ids = [job_id for entry, job_id in new.jobs(name) if entry.revision == revision]
            if not await self._earlier.standing(name.queue, ids):
                return new
            revision += 1

    async def _cancel(self, name: SetName, reason: str) -> _Done:
        while True:
            stored, now = await asyncio.gather(self._notes.read(name), self._store.ping())
            if stored is None:
                raise RemindersNotFound(name.queue, name.kind.word, name.set_id)
            old = stored.reminder_set
            jobs = await self._jobs_of(name, old)
            new = old if old.cancelled else sets.cancelled(name, old, jobs, now)
            if new is old or await self._notes.write(name, new, stored):
                break
        with _after_the_act():
            await self._earlier.cancel_idle(name.queue, new.earlier, jobs, reason)
        return _Done(new.earlier, reason, new)

    async def _add(self, name: SetName, new: ReminderSet, jobs: Standing, payload_of: PayloadOf) -> None:
        """Make the jobs that are not there; KEEP, for another call of the same wish may be making them too."""
        requests = [
            JobRequest(
                queue=name.queue,
                type=name.kind.job_type,
                payload=payload_of(entry.offset, entry.revision),
                tags=name.tags,
                job_id=job_id,
                when=new.send_time(entry),
                on_conflict=OnConflict.KEEP,
                conditions=_until(name, new, entry),
            )
            for entry, job_id in sets.missing(name, new, jobs)
        ]
        for answer in await self._scheduling.schedule(requests) if requests else []:
            if isinstance(answer, TocsinError):
                raise answer
            _, added = answer
            if isinstance(added, Kept):
                _sure_they_are_ours(name, new, {added.job.job_id: added.job})

    async def _outrun(self, name: SetName, new: ReminderSet, reason: str) -> ReminderSet:
        """The set as it stands now. Where another call has moved it on, the jobs made here came too late to be
        cancelled there: they would send nothing, and are cancelled."""
        stored = await self._notes.read(name)
        if stored is None:  # somebody emptied the store
            return new
        if stored.reminder_set.revision != new.revision:
            late = [job_id for entry, job_id in new.jobs(name) if entry.revision == new.revision]
            await self._earlier.cancel(name.queue, late, reason)
        return stored.reminder_set

    async def _first_revision(self, name: SetName) -> int:
        """One above those of an earlier life of the set, of which jobs still stand: their ids are not free."""
        highest, query = 0, ListQuery(name.queue, JobFilter(tags=name.tags), limit=_PAGE)
        while True:
            page = await self._store.page(query)
            highest = max(highest, *(name.revision_in(job.job_id) or 0 for job in page.jobs), 0)
            if page.next is None:
                return highest + 1
            query = ListQuery(name.queue, query.filter, limit=_PAGE, after=page.next)

    # --- answers ---

    async def _settled(self, name: SetName, done: _Done) -> ShownSet:
        with _after_the_act():
            await self._earlier.ended(name.queue, done.earlier, done.reason)
            return await self._shown(name, done.stands)

    async def _shown(self, name: SetName, reminder_set: ReminderSet) -> ShownSet:
        ids = dict(reminder_set.jobs(name))
        jobs = await self._earlier.standing(name.queue, ids.values())
        reminders = []
        for entry in reminder_set.entries:
            job_id = ids.get(entry, "")
            state = jobs[job_id].state if job_id in jobs else None
            reminders.append(Shown(entry.offset, reminder_set.send_time(entry), job_id, state))
        warnings = () if reminder_set.cancelled else await self._warnings(name)
        return ShownSet(
            name, reminder_set.anchor, tuple(reminders), reminder_set.cancelled, reminder_set.revision, warnings
        )

    async def _warnings(self, name: SetName) -> tuple[str, ...]:
        """What all who would send such reminders say that they cannot."""
        type_ = name.kind.job_type
        of_workers = [
            [warning for warning in worker.warnings if type_ in warning]
            for worker in await self._store.workers()
            if type_ in worker.types and (not worker.queues or name.queue in worker.queues)
        ]
        return tuple(dict.fromkeys(chain.from_iterable(of_workers))) if of_workers and all(of_workers) else ()

    async def _jobs_of(self, name: SetName, old: ReminderSet | None) -> Standing:
        """Jobs of the set that stand, of earlier revisions too where they had not ended."""
        if old is None:
            return {}
        ids = [job_id for _, job_id in old.jobs(name)] + [one.job_id for one in old.earlier]
        return await self._earlier.standing(name.queue, ids)


def _sure_they_are_ours(name: SetName, reminder_set: ReminderSet, jobs: Standing) -> None:
    """ReminderIdTaken where another job bears the id of one of the set's reminders, which nobody would send."""
    for _, job_id in reminder_set.jobs(name):
        if (job := jobs.get(job_id)) is not None and not name.has(job):
            raise ReminderIdTaken(name.queue, job_id, job.state)


@contextmanager
def _after_the_act() -> Iterator[None]:
    """No refusal may say any more that nothing was changed."""
    try:
        yield
    except OutcomeUnknown:
        raise
    except TocsinError as error:
        raise OutcomeUnknown(str(error)) from error


def _until(name: SetName, reminder_set: ReminderSet, entry: Entry) -> Conditions:
    """A reminder of a booking is not sent once that has begun; one of a payment says then that it is overdue."""
    if name.kind is not ReminderKind.BOOKING:
        return NO_CONDITIONS
    return Conditions(expire=sets.passes_at(reminder_set.anchor, entry.offset))
