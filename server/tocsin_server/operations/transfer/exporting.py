"""All that stands in some queues, or in all, a bounded number of records at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.job import View
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.operations.dependents import with_parents
from tocsin_server.operations.pages import pages
from tocsin_server.operations.reminders.notes import names_set
from tocsin_server.operations.transfer.draining import Drain
from tocsin_server.operations.transfer.records import NoteRecord, QueueRecord, Record
from tocsin_server.store.interface import JobStore

_JOBS = 1_000  # a step; the store ends it earlier where they have more than some megabytes
_NOTES = 200
_SCHEDULES = 100


class Exporting:
    """Reads out stores.

    Of each queue its settings come first, then its notes, its jobs, and its schedules: in this order they are brought
    in, so that a pause stands before any job can run, a reminder never comes due without its set, and a schedule makes
    no job that is about to come. How far a schedule has come is looked at before the jobs are read: what it makes
    meanwhile stands among them, and is not made again.

    Jobs come newest first, as lists do, which go on where they were however many jobs come or go meanwhile. Their
    arrival numbers travel with them, so that any order would do; in this one the highest is the first to be brought in,
    and what is added there meanwhile takes none that a later record needs.
    """

    def __init__(self, store: JobStore, drain: Drain) -> None:
        self._store = store
        self._drain = drain

    async def records(self, queues: Sequence[str]) -> AsyncGenerator[Sequence[Record], None]:
        """What stands, some records at a time, never none; of these queues, or of all where none is named.

        A queue that nobody used has no record. Reads what is there when it comes to it: a job that changes meanwhile is
        shown once, before or after the change, and one that stayed is not missed. Draining, and what the store raises.
        """
        async with aclosing(self._drain.each(self._read(queues))) as batches:
            async for records in batches:
                yield records

    async def _read(self, queues: Sequence[str]) -> AsyncGenerator[Sequence[Record], None]:
        if not queues:
            async with aclosing(self._all_calendars()) as calendars:
                async for page in calendars:
                    yield page
        told: set[str] = set()  # calendars
        used = await self._store.queues()
        known = frozenset(used)
        for queue in dict.fromkeys(queues) if queues else used:
            if queue in known:
                [settings] = await self._store.settings([queue])
                yield [QueueRecord(queue, settings)]
            async with aclosing(self._notes(queue)) as notes:
                async for some in notes:
                    yield some
            before = {one.spec.schedule_id: one async for page in self._schedules(queue) for one in map(_bare, page)}
            async with aclosing(pages(self._store, queue, JobFilter(), _JOBS, View.FULL)) as jobs:
                async for step in jobs:
                    yield await with_parents(self._store, queue, step)
            async for found in self._schedules(queue):
                if queues and (named := [name for one in found for name in one.calendar_names if name not in told]):
                    told.update(named)
                    kept = await self._store.calendars.read_calendars(list(dict.fromkeys(named)))
                    yield [one for one in kept if one is not None]
                yield [_as_of(before.get(one.spec.schedule_id), one) for one in found]

    async def _schedules(self, queue: str) -> AsyncGenerator[Sequence[Schedule], None]:
        """Those of a queue by id."""
        after = ""
        while found := await self._store.schedules.schedules(queue, after=after, limit=_SCHEDULES):
            yield found
            after = found[-1].spec.schedule_id

    async def _all_calendars(self) -> AsyncGenerator[Sequence[Record], None]:
        after = ""
        while found := await self._store.calendars.calendars(after=after):
            after = found[-1].name
            yield found

    async def _notes(self, queue: str) -> AsyncGenerator[Sequence[Record], None]:
        """Those of reminder sets: others are about this store alone."""
        after = ""
        while notes := await self._store.notes(queue, after=after, limit=_NOTES):
            after = notes[-1].key
            if records := [NoteRecord(queue, note) for note in notes if names_set(note.key)]:
                yield records
            if len(notes) < _NOTES:
                return


def _as_of(before: Schedule | None, now: Schedule) -> Schedule:
    """The schedule, with how far it had come then; one that was made or changed since as it stands."""
    if before is None or (before.create_time, before.revision) != (now.create_time, now.revision):
        return now
    return replace(before, spec=now.spec)


def _bare(schedule: Schedule) -> Schedule:
    """Without the payload of its jobs, so that all can be remembered."""
    return replace(schedule, spec=replace(schedule.spec, job=replace(schedule.spec.job, payload=None)))
