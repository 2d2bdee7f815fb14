"""All that stands in some queues, or in all, a bounded number of records at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.job import View
from tocsin_server.operations.pages import pages
from tocsin_server.operations.reminders.notes import names_set
from tocsin_server.operations.transfer.draining import Drain
from tocsin_server.operations.transfer.records import NoteRecord, QueueRecord, Record
from tocsin_server.store.interface import JobStore

_JOBS = 1_000  # a step; the store ends it earlier where they have more than some megabytes
_NOTES = 200


class Exporting:
    """Reads out stores.

    Of each queue its settings come first, then its notes, then its jobs: in this order they are brought in, so that a
    pause stands before any job can run, and a reminder never comes due without its set. Jobs come newest first, as
    lists do, which go on where they were however many jobs come or go meanwhile. Their arrival numbers travel with
    them, so that any order would do; in this one the highest is the first to be brought in, and what is added there
    meanwhile takes none that a later record needs.
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
        used = await self._store.queues()
        known = frozenset(used)
        for queue in dict.fromkeys(queues) if queues else used:
            if queue in known:
                [settings] = await self._store.settings([queue])
                yield [QueueRecord(queue, settings)]
            async with aclosing(self._notes(queue)) as notes:
                async for some in notes:
                    yield some
            async with aclosing(pages(self._store, queue, JobFilter(), _JOBS, View.FULL)) as jobs:
                async for step in jobs:
                    yield step

    async def _notes(self, queue: str) -> AsyncGenerator[Sequence[Record], None]:
        """Those of reminder sets: others are about this store alone."""
        after = ""
        while notes := await self._store.notes(queue, after=after, limit=_NOTES):
            after = notes[-1].key
            if records := [NoteRecord(queue, note) for note in notes if names_set(note.key)]:
                yield records
            if len(notes) < _NOTES:
                return
