"""Records brought in, as they come, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

from tocsin_server.domain import limits
from tocsin_server.domain.errors import ImportCut, OutcomeUnknown, TocsinError
from tocsin_server.domain.job import Job, Put
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.states import State
from tocsin_server.operations.transfer.draining import Drain
from tocsin_server.operations.transfer.placing import Placing
from tocsin_server.operations.transfer.records import NoteRecord, QueueRecord, Record
from tocsin_server.operations.transfer.recurring import place_calendars, place_schedules
from tocsin_server.store.interface import JobStore


@dataclass(frozen=True, slots=True)
class Item:
    """A record that came, or why it cannot be taken. `index` is its number in the import; "" is not known."""

    index: int
    queue: str
    job_id: str
    record: Record | TocsinError


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record that was not taken."""

    index: int
    queue: str
    job_id: str
    error: TocsinError


@dataclass(slots=True)
class Imported:
    """What became of the records so far. The first limits.REFUSED_ITEMS of those refused are kept."""

    counts: Counter[Put] = field(default_factory=Counter)
    released: int = 0  # jobs that ran where they came from, among those created and replaced
    refused: int = 0
    refusals: list[RefusedRecord] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Records that changed something here."""
        return self.counts[Put.CREATED] + self.counts[Put.REPLACED]

    def add(self, item: Item, answer: Put | TocsinError) -> None:
        """One record more."""
        if not isinstance(answer, TocsinError):
            self.counts[answer] += 1
            ran = isinstance(item.record, Job) and item.record.state is State.ACTIVE
            self.released += ran and answer in (Put.CREATED, Put.REPLACED)
            return
        self.refused += 1
        if len(self.refusals) < limits.REFUSED_ITEMS:
            self.refusals.append(RefusedRecord(item.index, item.queue, item.job_id, answer))


class Importing:
    """Takes what another store had."""

    def __init__(self, store: JobStore, placing: Placing, drain: Drain) -> None:
        self._store = store
        self._placing = placing
        self._drain = drain

    async def take(self, slices: AsyncIterator[tuple[bool, Sequence[Item]]]) -> Imported:
        """Put records in place in the order in which they come, some at a time; each with whether it goes over what
        stands. One that is refused harms no other.

        Raises what the store, and who brings them, raise, and Draining, where nothing was taken yet; else ImportCut.
        """
        done = Imported()
        try:
            async with aclosing(self._drain.each(slices)) as undrained:
                async for over, items in undrained:
                    for kind, some in groupby(items, key=lambda item: type(item.record)):
                        await self._take(kind, list(some), over, done)
        except TocsinError as error:
            if done.changed or isinstance(error, OutcomeUnknown):
                raise ImportCut(done.changed, error) from error
            raise
        return done

    async def _take(self, kind: type, items: Sequence[Item], over: bool, done: Imported) -> None:
        records: list[Any] = [item.record for item in items]
        answers: Sequence[Put | TocsinError]
        if kind is Job:
            answers = await self._placing.jobs(records, over=over)
        elif kind is QueueRecord:
            answers = await self._placing.queues(records, over=over)
        elif kind is NoteRecord:
            answers = await self._placing.notes(records, over=over)
        elif kind is Schedule:
            answers = await place_schedules(self._store, records, over=over)
        elif kind is KeptCalendar:
            answers = await place_calendars(self._store, records, over=over)
        else:
            answers = cast("list[TocsinError]", records)
        for item, answer in zip(items, answers, strict=True):
            done.add(item, answer)
