"""What stands in another system, and what becomes of it here. Readers make these, bring_in.py carries them out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from tocsin_server.domain.job import Job, JobSpec
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule


class Verdict(StrEnum):
    """What becomes of one thing that was found."""

    TAKEN = "taken"  # as it stands
    CHANGED = "changed"  # taken, and something of it is not as it was: `why` says what
    LEFT = "left"  # not taken, on purpose: an option takes it, or it has no like here
    REFUSED = "refused"  # cannot be a job: broken, too large


@dataclass(frozen=True, slots=True)
class Foreign:
    """One job, schedule or parent that was found, however broken."""

    queue: str  # its name in the source
    source_id: str  # its id in the source, as a person would look for it
    source_state: str  # the source's own word: "delayed", "paused", "locked", ...
    verdict: Verdict
    why: tuple[str, ...] = ()  # one plain sentence for each change, or the reason why it is not taken; no payload in it
    job: Job | None = None  # what it becomes: TAKEN and CHANGED only; its queue and id are those of this side
    schedule: Schedule | None = None  # what it becomes where it repeats, likewise
    calendars: tuple[KeptCalendar, ...] = ()  # that the schedule names
    made: datetime | None = None  # when it was made, where the source knows it and says the same at all times
    lane: str = ""  # the queue that it would go to if nobody wanted another

    @property
    def spec(self) -> JobSpec | None:
        """Of the job that it becomes, or of those that it makes; None where it becomes neither."""
        if self.schedule is not None:
            return self.schedule.spec.job
        return None if self.job is None else self.job.spec

    def with_spec(self, spec: JobSpec) -> Foreign:
        """The same with another spec, in that one's queue."""
        if self.schedule is not None:
            of_schedule = replace(self.schedule.spec, queue=spec.queue, job=spec)
            return replace(self, schedule=replace(self.schedule, spec=of_schedule))
        return self if self.job is None else replace(self, job=replace(self.job, spec=spec))


@dataclass(frozen=True, slots=True)
class Choices:
    """What is to be taken. Empty queues: all that are found."""

    queues: tuple[str, ...] = ()
    take_active: bool = False  # also what is active or locked; the old workers are stopped
    take_completed: bool = False
    time_zone: str = ""  # of crons that name none; empty: nobody has said it


class ForeignQueue(Protocol):
    """A reader of one system. It never writes to its source, and no content makes it raise."""

    def read(self) -> AsyncIterator[Foreign]:
        """Everything that stands there, each thing once, queue by queue, in the order in which it would run.

        Memory is bounded: ids and records are read some hundred at a time. Raises SourceAway where the source cannot
        be read at all.
        """
        ...

    @property
    def origin(self) -> str:
        """Names the place where these queues are: the same in every run, and unlike that of others."""
        ...

    async def paused(self) -> tuple[str, ...]:
        """The queues that are paused there, by their names on this side. Raises SourceAway."""
        ...


class SourceAway(Exception):
    """The source cannot be reached or is not what it should be: one line, without secrets, that says what to do."""


#: How a reader is opened: address and choices in, a reader out, closed at the end of the context.
Opened = AbstractAsyncContextManager[ForeignQueue]
