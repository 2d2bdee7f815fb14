"""One kind of record after the other, put in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, Put
from tocsin_server.domain.states import State
from tocsin_server.operations.queues import Queues
from tocsin_server.operations.reminders.notes import set_in
from tocsin_server.operations.transfer.records import NoteRecord, QueueRecord
from tocsin_server.store.interface import JobStore

_NOTES_AT_ONCE = 16  # each takes two commands, one after the other


class Placing:
    """Puts records in place; says of each what that did, in the same order. Raises what the store raises."""

    def __init__(self, store: JobStore, queues: Queues) -> None:
        self._store = store
        self._queues = queues

    async def queues(self, records: Sequence[QueueRecord], *, over: bool) -> list[Put | TocsinError]:
        """Settings, as Queues.place says."""
        return [await self._queues.place(record.queue, record.settings, over=over) for record in records]

    async def notes(self, records: Sequence[NoteRecord], *, over: bool) -> list[Put | TocsinError]:
        """Notes of reminder sets; without `over` a later revision of a set takes the place of an earlier one."""
        done: list[Put | TocsinError] = []
        for start in range(0, len(records), _NOTES_AT_ONCE):
            some = records[start : start + _NOTES_AT_ONCE]
            answers = await asyncio.gather(*(self._note(record, over) for record in some), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                done.append(answer)
        return done

    async def jobs(self, jobs: Sequence[Job], *, over: bool) -> list[Put | TocsinError]:
        """Jobs, as JobStore.put says. One that ran is let go of first: its lease is not here."""
        now = await self._store.ping() if any(_to_be_cancelled(job) for job in jobs) else None
        return await self._store.put([_let_go(job, now) for job in jobs], over=over)

    async def _note(self, record: NoteRecord, over: bool) -> Put:
        queue, note = record.queue, record.note
        while True:
            stands = await self._store.read_note(queue, note.key)
            if stands is not None and stands.value == note.value:
                return Put.SAME
            if stands is not None and not over and not _is_later(note.value, stands.value):
                return Put.KEPT
            revision = 0 if stands is None else stands.revision
            if await self._store.write_note(queue, note.key, note.value, revision=revision, until=note.until):
                return Put.CREATED if stands is None else Put.REPLACED


def _is_later(value: bytes, than: bytes) -> bool:
    new, old = set_in(value), set_in(than)
    return new is not None and old is not None and new.revision > old.revision


def _to_be_cancelled(job: Job) -> bool:
    return job.state is State.ACTIVE and job.cancel is not None


def _let_go(job: Job, now: datetime | None) -> Job:
    """A job that ran, as if its attempt had been given back. Nothing is counted: nobody here knows how it ended, and
    crashes stay, so that what killed processes there does not begin here as if it never had."""
    if job.state is not State.ACTIVE:
        return job
    if job.cancel is None or now is None:
        return replace(job, state=State.WAITING)
    return replace(job, state=State.CANCELLED, end_time=now, cancel=replace(job.cancel, obey_time=now))
