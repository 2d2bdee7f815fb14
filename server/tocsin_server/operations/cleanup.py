"""Deleting ended jobs that are older than an age, in bounded steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.job import Job
from tocsin_server.domain.job_errors import JobActive, JobNotFound, WrongState
from tocsin_server.domain.states import ENDED, State
from tocsin_server.domain.times import MILLISECOND
from tocsin_server.operations.pages import pages
from tocsin_server.store.interface import JobStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to go: ended jobs of a queue, at least `older_than` past their end. Empty types or states: all."""

    queue: str
    older_than: timedelta
    types: frozenset[str] = frozenset()
    states: frozenset[State] = ENDED
    spared: str = ""  # the id of a job that stays, whatever it is


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What went, or in a dry run would."""

    before: datetime  # what ended then or earlier was old enough
    counts: Mapping[tuple[State, str], int]  # by state and type
    oldest: datetime | None  # end times of what went
    newest: datetime | None
    changed: int  # were found, and had gone or were no longer ended when they were to be deleted

    @property
    def total(self) -> int:
        """Jobs in all."""
        return sum(self.counts.values())


class Cleanup:
    """Deletes old ended jobs.

    Goes through them newest first, `step` at a time, and keeps counts of them only. What was deleted before an error or
    a cancel stays deleted; run again it goes on with what is left. A job that is retried and ends anew in the moment
    between being found and being deleted is deleted all the same; one that runs never is.
    """

    def __init__(self, store: JobStore, *, step: int = 200) -> None:
        self._store = store
        self._step = step

    async def clean(self, wanted: Wanted, *, dry_run: bool, tell: Callable[[int, int], None]) -> Cleaned:
        """Delete them, or with `dry_run` only count. After each step `tell` hears how many that were so far, and how
        many there can be at most. Old enough is told by the store's clock of the start."""
        figures = await self._store.figures(wanted.queue)
        before = figures.now - wanted.older_than
        states = wanted.states or ENDED
        most = sum(
            number
            for state in states
            for type_, number in figures.counts.get(state, {}).items()
            if not wanted.types or type_ in wanted.types
        )
        filter_ = JobFilter(states=states, types=wanted.types, ended=Window(end=before + MILLISECOND))
        counts: Counter[tuple[State, str]] = Counter()
        ends = _Ends()
        changed = 0
        async with aclosing(pages(self._store, wanted.queue, filter_, self._step)) as batches:
            async for jobs in batches:
                meant = [job for job in jobs if job.job_id != wanted.spared]
                gone = meant if dry_run else await self._delete(wanted.queue, meant)
                changed += len(meant) - len(gone)
                for job in gone:
                    counts[job.state, job.spec.type] += 1
                    ends.add(job.end_time)
                done = sum(counts.values())
                tell(done, max(most, done))
        return Cleaned(before, counts, ends.oldest, ends.newest, changed)

    async def _delete(self, queue: str, jobs: list[Job]) -> list[Job]:
        """Those that went."""
        gone = []
        for job, refusal in zip(jobs, await self._store.delete(queue, [job.job_id for job in jobs]), strict=True):
            if refusal is None:
                gone.append(job)
            elif not isinstance(refusal, JobNotFound | WrongState | JobActive):
                raise refusal
        return gone


class _Ends:
    """The first and the last of some times."""

    def __init__(self) -> None:
        self.oldest: datetime | None = None
        self.newest: datetime | None = None

    def add(self, time: datetime | None) -> None:
        if time is not None:
            self.oldest = time if self.oldest is None else min(self.oldest, time)
            self.newest = time if self.newest is None else max(self.newest, time)
