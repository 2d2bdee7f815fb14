"""JobStore: what a store must do. The specification; the stores' own methods carry no second docstring.

Every method takes and returns batches, in the same order. Where one item of a batch can be refused by itself, the
refusal stands in the answer as a `TocsinError` value. Besides, any method raises

- StoreAway: nothing was sent to the store;
- OutcomeUnknown: it was sent and no answer came, so it may have acted (never from methods that only read);
- StoreFull: the store has no room. Where its memory is what is full, claim, extend, finish, reap, trim and delete go
  on, for a full store must drain; a store whose disk is full refuses them too.

Clock: every "now" is the store's own; no caller's time decides anything. Times are kept to the millisecond; finer ones
round up. n in a cost is the number of jobs that stand in the queue. A method that acts on many items
splits the work itself; a batch is not one transaction, each of its items is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from tocsin_server.domain.commands import CancelJob, Change
from tocsin_server.domain.errors import ClockNotManual, TocsinError
from tocsin_server.domain.events import EventBatch
from tocsin_server.domain.explaining import Outlook
from tocsin_server.domain.filters import ListQuery, Page
from tocsin_server.domain.job import Added, Draft, Job, Put, View
from tocsin_server.domain.lease import AttemptOutcome, Claim, Extended, Extension, Finished, LostLease
from tocsin_server.domain.logs import LogPage
from tocsin_server.domain.queues import QueueFigures, QueueSettings, Tick, WorkerFigures
from tocsin_server.store.calendar_store import CalendarStore
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.schedule_store import ScheduleStore
from tocsin_server.store.sealed_store import RecordSealer, SealedStore
from tocsin_server.store.shared_limit_store import SharedLimitStore
from tocsin_server.telemetry.round_trips import RoundTrips


class StoreUnfit(Exception):
    """The store answers, but must not be used as it is. One line: what is wrong and what to do. Exit code 2."""


class Durability(IntEnum):
    """What the store does before it says a write is done. Numbers: tocsin.v1.GetServerInfoResponse.Durability."""

    UNKNOWN = 0
    NONE = 1
    EVERY_SECOND = 2
    EACH_WRITE = 3


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What the store is."""

    provider: str  # "redis" or "mongo"
    version: str  # product and version, e.g. "valkey 9.1.2"
    durability: Durability
    embedded: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A small record beside a queue's jobs. `revision` grows by 1 with each write; the first is 1."""

    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class StoredNote:
    """A note as `JobStore.notes` finds it. The store may drop it after `until`."""

    key: str
    value: bytes
    revision: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Wake:
    """A message from the store: something in `queue` wants attention now, or at `due`."""

    queue: str
    due: datetime | None  # None: claimable now
    cancels: bool = False  # a cancel was asked of a running job: extend its lease to learn which
    settings: bool = False  # the queue's settings changed, or it is new
    moved: bool = False  # of no queue: the store's clock was moved by hand
    errands: bool = False  # something is to be done for jobs that wait for others, and nothing else was said
    missed: bool = False  # listening began (again) just now: of no queue, messages of any may have been missed before


@dataclass(frozen=True, slots=True)
class Checked:
    """A step of `JobStore.check`: how many of what were mended; whether all was looked at since this was said last."""

    mended: Mapping[str, int]
    done: bool


class JobStore(ABC):
    """Keeps jobs; the only truth about them."""

    #: Keeps schedules, which stand in the same queues.
    schedules: ScheduleStore

    #: Keeps calendars, which schedules of all queues name.
    calendars: CalendarStore

    #: Keeps limits that several queues share, by which `claim` goes, too.
    shared: SharedLimitStore

    #: Lets jobs wait for the ends of others; None where the store has it not. Then it is never given a draft with
    #: parents or with an on_end.
    dependencies: DependencyStore | None = None

    #: Says which key the store is encrypted with, and takes what is encrypted anew.
    sealed: SealedStore

    #: Encrypts what is exported; None where the store is not encrypted.
    record_sealer: RecordSealer | None = None

    #: So many queues `ticks` reads by one command; whoever reads all of very many queues asks for no more at once.
    ticks_at_once: int = 1_000

    @abstractmethod
    async def open(self) -> None:
        """Connect, check what the store is (SettingsError if it cannot serve), load scripts or make indexes."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections. Calls under way end first."""

    @abstractmethod
    async def ping(self) -> datetime:
        """The store's now. Cost O(1)."""

    #: Whether its clock is moved by hand. Said when a store is made, and never changed: what was written by the one
    #: clock has no meaning by the other. `open` raises StoreUnfit where a store was made otherwise.
    manual_clock = False

    async def move_clock(self, to: datetime) -> datetime:
        """Set the store's clock ahead to a time, for all who share it; one that has passed moves nothing. All that
        hangs on time follows. Whoever listens gets a Wake that says `moved`. Returns the store's now.

        ClockNotManual where the clock is the server's own. Cost O(1).
        """
        raise ClockNotManual

    @abstractmethod
    async def info(self) -> StoreInfo:
        """What the store is and which durability is in force."""

    @property
    def alarms(self) -> Sequence[str]:
        """What has become wrong with the store since it was opened, a line each, with what to do. Asks nobody."""
        return ()

    @property
    def trips(self) -> RoundTrips:
        """How its commands fared since it was made. Asks nobody."""
        return RoundTrips()

    @abstractmethod
    async def check_writes(self) -> None:
        """StoreAway or StoreFull where the store takes no writes at present, as far as it can tell without one: a
        replica, a full disk, too few replicas. Changes nothing. Cost O(1)."""

    # --- scheduling and reading ---

    #: Whether an id that the store makes is a UUIDv8 of create time and arrival. Else, of a job with a payload, it is a
    #: UUIDv7 by the server's clock: what is encrypted is bound to its job, whose id must be known before.
    ids_tell_arrival = True

    @abstractmethod
    async def add(self, drafts: Sequence[Draft]) -> list[Added | TocsinError]:
        """Add jobs: SCHEDULED, or WAITING where due. Arrival numbers grow in the order given within a queue.

        An id that stands: FAIL gives JobExists; KEEP gives Kept; REPLACE gives Replaced: of a SCHEDULED, BLOCKED or
        WAITING job it puts the new spec and time in its place (id, create_time and arrival stay; failures, crashes and
        errors go; revision grows), of an ended one it makes it anew under the same id; of an ACTIVE one it gives
        JobActive. Any other is New. Two items with the same id are taken in order. QuotaExceeded where a queue would
        hold more than limits.TYPES_PER_QUEUE types, or more jobs than its quota, or where there are as many queues as
        may be. One with parents is BLOCKED until `dependencies.settle` says that they have ended, and asks them by
        itself after limits.ASK_PARENTS; it never comes with REPLACE or a collapse. A job without id gets a UUID that
        sorts by the time of its making (`ids_tell_arrival`). Cost O(log n) a job.
        """

    #: Whether `add_and_claim` is one step on the way to the store, and not two.
    claims_with_add = False

    async def add_and_claim(
        self, drafts: Sequence[Draft], types: Mapping[str, int], limit: int, *, lease: timedelta, request: bytes
    ) -> tuple[list[Added | TocsinError], Claim | TocsinError]:
        """Add jobs of one queue, and then claim from it, as `add` and `claim` say. Who listens for wake-ups may not be
        told of what became due: the caller claims it. A claim that failed stands in its answer's place; where adding
        failed that is raised, and the claim may have been made or not."""
        added = await self.add(drafts)
        try:
            claim = await self.claim(drafts[0].spec.queue, types, limit, lease=lease, request=request)
        except TocsinError as error:
            return added, error
        return added, claim

    @abstractmethod
    async def get(self, queue: str, job_ids: Sequence[str], view: View) -> list[Job | None]:
        """The jobs, None where none stands. Cost O(1) a job."""

    @abstractmethod
    async def page(self, query: ListQuery) -> Page:
        """One page. NEWEST: by arrival, newest first; a job that changes meanwhile is seen at most once over all pages
        and one that stayed is not missed. SOONEST: by due time, then arrival. `skip` counts matching jobs.

        queue, states, types and one tag are found by index; what is left of the filter is tested on at most 1,000
        records a call, after which the page ends early. Cost O(limit · types · log n).
        """

    @abstractmethod
    async def put(self, jobs: Sequence[Job], *, over: bool) -> list[Put | TocsinError]:
        """Place jobs (View.FULL) just as they stood elsewhere: id, spec, payload, create, schedule, start and end time,
        state, attempt, failures, crashes, errors with their times and attempts (of more than 10 the first and the last
        9), progress, result, cancel and revision.

        The arrival is kept, too, where no other job of the queue has that number; else, or where it is 0 or above 2^47,
        the job takes the next one. Jobs added later arrive after all that were placed. An id that stands: without
        `over` KEPT, and nothing changes. With `over` SAME where it stands just so (its arrival counts only where one is
        given that is free), JobActive where it is ACTIVE, else REPLACED, as if it had been deleted and placed anew; the
        revision is the one given. Two of one id are taken in order. So a call whose answer was lost is simply repeated.

        Jobs may be of several queues. ValueError before anything is sent where one can be no job here: it is ACTIVE,
        for its lease is not here; it has ended and has no end time; an error or its progress has no time; a time, a
        count or the length of a name is out of range. QuotaExceeded as `add`; TooLarge where a part of a job is larger
        than limits allow. A job that changed makes one event, or where its arrival changed two, of which the first says
        `deleted`; it wakes as `add` does; rates do not count it. A SCHEDULED job whose time has passed, and an ended
        one past its retention, are placed all the same: claims and trimming find them. Cost O(log n) a job.
        """

    # --- changing standing jobs ---

    @abstractmethod
    async def cancel(self, queue: str, cancels: Sequence[CancelJob]) -> list[Job | TocsinError]:
        """Cancel jobs. SCHEDULED, BLOCKED, WAITING: CANCELLED. ACTIVE: `cancel` is set, the wish is announced, and the
        lease ends with the grace at the latest; asked again it stays as first asked. CANCELLED: as it stands.
        COMPLETED, FAILED: WrongState. JobNotFound. Jobs in View.BASIC.
        """

    @abstractmethod
    async def update(self, queue: str, changes: Sequence[Change]) -> list[Job | TocsinError]:
        """Change standing jobs. Jobs in View.BASIC; WrongState, JobNotFound, RevisionMismatch, TooLarge.

        UpdateJob: SCHEDULED, BLOCKED, WAITING; its time may make a WAITING job SCHEDULED and the other way round.
        RunJob: SCHEDULED becomes WAITING, due now; WAITING and ACTIVE stay as they are; BLOCKED and ended: WrongState.
        RetryJob: FAILED and CANCELLED become WAITING, due now, failures and crashes 0, errors, attempt and arrival
        kept, cancel gone; WAITING and ACTIVE stay; SCHEDULED, BLOCKED and COMPLETED: WrongState.
        """

    @abstractmethod
    async def delete(self, queue: str, job_ids: Sequence[str], *, ended_only: bool = True) -> list[TocsinError | None]:
        """Delete jobs, their ids are free at once; None where it is gone. ACTIVE is never deleted; with `ended_only`
        WrongState unless it has ended. JobNotFound."""

    # --- running ---

    @abstractmethod
    async def claim(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        *,
        lease: timedelta,
        request: bytes,
        repeated: bool = False,
    ) -> Claim:
        """Lease up to `limit` due jobs, best first; each gets attempt + 1 and start_time.

        types: how many of each type at most; jobs of other types are left. Due: schedule time reached by the store's
        clock, queue not paused, its limits not full. Best: higher priority, then earlier due time, then earlier
        arrival; where keys take turns, first the key whose turn it is. limit is 1 to 1,000
        (a call may bring fewer, then with `more`); lease is 1 s to 12 h. `request` is 8 random bytes, the token of what
        it leases. A claim whose answer was lost is `repeated` with the same bytes: it brings the jobs that it leased
        the first time, so that nothing is lost; where it leased none, it is a claim like any other.
        Makes at most 100 SCHEDULED jobs WAITING a call, whatever is due. While more are due, and one of them may be
        better than those, nothing is leased, so that the best is truly the best: then `more` is set. A job that was due
        is told of as WAITING before it is told of as ACTIVE.
        Cost O(limit · types · log n).
        """

    @abstractmethod
    async def promote(self, queue: str) -> bool:
        """Make due SCHEDULED jobs WAITING, the earliest first, at most 100 a call, also where the queue is paused;
        whether more are due. For queues in which nobody claims. Cost O(log n) a job."""

    @abstractmethod
    async def extend(self, extensions: Sequence[Extension], lease: timedelta) -> list[Extended | TocsinError]:
        """Let leases end `lease` from now, not past a cancel's grace; record progress and lines of log where given.
        LeaseLost: nothing of it is recorded. A cancel that was asked counts as delivered by the answer that tells it.

        A job keeps limits.LOG_LINES lines and LOG_BYTES, the first and the last of them. Lines whose answer was lost
        may stand twice where they are sent again. Cost: O(1) a line more than without.
        """

    @abstractmethod
    async def logs(self, queue: str, job_id: str, *, attempt: int = 0, cursor: str = "") -> LogPage | None:
        """Lines that the job's attempts wrote, oldest first, from the first or from a page's cursor on; None where no
        such job stands. Lines stand as long as the job; what is dropped of too many is said in their place.

        With `attempt` only that one's lines, and what was dropped: a page may be empty then with `more`. A cursor of
        another job that stood under this id begins from the first line; InvalidFields where it is none (field
        "cursor"). At most limits.LOG_PAGE_LINES lines are read a call.
        """

    @abstractmethod
    async def explain(self, queue: str, job_ids: Sequence[str]) -> list[Outlook | None]:
        """What claims would see of these jobs now, None where none stands; read from the indexes that claims read.
        Cost O(log n) a job, and at most some hundred records or entries of an index beside."""

    @abstractmethod
    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> list[Finished | TocsinError]:
        """Record how attempts ended. LeaseLost where the token is not the job's; the token that ended the last attempt
        answers `repeated` with the job's state of now, and changes nothing.

        COMPLETED: COMPLETED, also where a cancel was asked. FAILED: failures + 1, crashes 0, the error kept (the first
        and the last 9); with retry_in SCHEDULED (WAITING where 0), else FAILED. RELEASED: WAITING, nothing counted but
        crashes set to 0, schedule time and arrival kept. CRASHED, of a process that ran nothing else: crashes + 1 and
        the error; WAITING, or from limits.MAX_CRASHES on FAILED with an error POISON. Where a cancel was asked, all but
        COMPLETED end CANCELLED. Cost O(log n) an outcome.
        """

    @abstractmethod
    async def reap(self, queue: str, limit: int = 100) -> list[LostLease]:
        """Take back up to `limit` leases that ran out; says which. crashes + 1 and an error LEASE_EXPIRED: WAITING,
        or from limits.MAX_LEASES_LOST on FAILED with an error POISON; where a cancel was asked: CANCELLED."""

    @abstractmethod
    async def trim(self, queue: str, *, completed_max: int, failed_max: int, limit: int = 100) -> int:
        """Delete up to `limit` ended jobs that are past their retention's age, or too many: the oldest by end time
        beyond completed_max (COMPLETED and CANCELLED together) or failed_max, sparing what ended in the last
        limits.SPARED_AFTER_END. The queue's own settings of both go first. Says how many went."""

    @abstractmethod
    async def check(self) -> Checked:
        """Look at the next few things that stand, and bring what is derived from jobs in line with them: where a job is
        found for claims, leases, retention, lists and by its id, counters, the queue's name and clock, and the store's
        own indexes. Jobs are what is true; none is changed but where its fields contradict each other.

        Each call goes on where this store's last one ended. It costs a few milliseconds at most, and a store in which
        all fits writes nothing. Others may use the store meanwhile: each thing is looked at and mended in one step.
        What was spoiled in several ways may take two passes.
        """

    # --- hearing ---

    @abstractmethod
    async def ticks(self, queues: Sequence[str]) -> Mapping[str, Tick]:
        """What a dispatcher must know of each queue. One store command for `ticks_at_once` of them (one a node in a
        cluster, where the queues of a node that does not answer are missing; StoreAway where none answers)."""

    @abstractmethod
    def wakes(self) -> AsyncIterator[Wake]:
        """Messages as the store sends them, from now on, over all queues. Best effort: one may be lost (then `ticks`
        shows it). Reconnects by itself, and says `missed` then; ends when the store is closed."""

    @abstractmethod
    async def cursor(self, queue: str) -> str:
        """The cursor of now: events after it are those to come."""

    @abstractmethod
    async def events(self, queue: str, after: str, *, wait: timedelta, limit: int = 1000) -> EventBatch:
        """Events after a cursor, in order; waits up to `wait` for the first. `gap` where the cursor is too old, of
        another epoch, or never was one of this queue; then what is returned goes on from now. InvalidFields where it
        cannot be read at all (field "cursor")."""

    # --- queues ---

    @abstractmethod
    async def queues(self) -> list[str]:
        """Names of all queues, sorted by code point. A queue appears with its first job or setting."""

    @abstractmethod
    async def count_queues(self) -> int:
        """How many names `queues` has, or nearly so just after a change. Cost O(1)."""

    @abstractmethod
    async def figures(self, queue: str) -> QueueFigures:
        """Counts, ages and rates. Zeros for a queue that was never used. Cost O(types · states)."""

    async def many_figures(self, queues: Sequence[str]) -> list[QueueFigures]:
        """The figures of queues, in order, in as few round trips as the store can."""
        return [await self.figures(queue) for queue in queues]

    @abstractmethod
    async def settings(self, queues: Sequence[str]) -> list[QueueSettings]:
        """The queues' settings; all defaults for one that was never used."""

    @abstractmethod
    async def put_settings(self, queue: str, settings: QueueSettings, *, paused: bool) -> QueueSettings:
        """Replace a queue's settings, pause or resume it (the store sets `paused_since`, which stays where it was
        paused already), and announce it."""

    @abstractmethod
    async def forget(self, queue: str, *, unused_for: timedelta | None = None) -> bool:
        """Drop a queue in which no job and no schedule stands: its name, settings, rates and changes; watchers get a
        gap. Whether nothing of it is left, as where it never was. With `unused_for` it also stays where it is paused,
        something is set for it, a note stands beside it, or anything changed within that time. Notes are left, and end
        by themselves."""

    # --- notes ---

    @abstractmethod
    async def read_note(self, queue: str, key: str) -> Note | None:
        """The note of this key beside the queue's jobs; None where none stands. It sees every write that was answered
        before. Cost O(1)."""

    @abstractmethod
    async def write_note(self, queue: str, key: str, value: bytes, *, revision: int, until: datetime) -> bool:
        """Write a note where its revision is still `revision` (0: where none stands); whether it was written.

        The store may drop it after `until`; one whose `until` has passed may be gone at once. It is a record of a few
        KiB, written as durably as a job. A note makes no queue appear, no event and no wake-up. Cost O(1).
        """

    @abstractmethod
    async def notes(self, queue: str, *, after: str = "", limit: int = 1000) -> list[StoredNote]:
        """The queue's notes whose time is not over, by key (code points), after `after`, at most `limit`; none where no
        more are left. For moving a store: a call may cost a scan of the names of all that the store holds, of all
        queues (Redis: some 0.5 s for a million keys). A note with an empty key is never found.
        """

    # --- workers ---

    @abstractmethod
    async def announce(self, workers: Sequence[WorkerFigures], by: str, ttl: timedelta) -> None:
        """Say who runs jobs, good for `ttl`: all for whom the server `by` speaks, in the place of what it said before.
        One without a seen_time is heard of now, one with a later one, too.
        Nobody, or a ttl of 0, takes it back. One record, so that its size, and what is said to be held, is bounded by
        the caller to some 100 KiB."""

    @abstractmethod
    async def workers(self) -> list[WorkerFigures]:
        """All for whom a word is still good, by name. Several servers may speak for one."""
