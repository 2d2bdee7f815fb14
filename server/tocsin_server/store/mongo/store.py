"""JobStore over MongoDB. How jobs are written stands in commit.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from pymongo.asynchronous.collection import AsyncCollection

from tocsin_server.domain.commands import CancelJob, Change
from tocsin_server.domain.errors import StoreAway, TocsinError
from tocsin_server.domain.events import EventBatch
from tocsin_server.domain.explaining import Outlook
from tocsin_server.domain.filters import ListQuery, Page
from tocsin_server.domain.job import Added, Draft, Job, Put, View
from tocsin_server.domain.lease import AttemptOutcome, Claim, Extended, Extension, Finished, LostLease
from tocsin_server.domain.logs import LogPage
from tocsin_server.domain.queues import QueueFigures, QueueSettings, Tick, WorkerFigures
from tocsin_server.domain.quotas import DEFAULT_QUOTAS, Quotas
from tocsin_server.store.batching import by_queue
from tocsin_server.store.interface import Checked, JobStore, Note, StoredNote, StoreInfo, Wake
from tocsin_server.store.limit_records import as_of_now
from tocsin_server.store.mongo import indexes
from tocsin_server.store.mongo.add import AddJobs
from tocsin_server.store.mongo.calendars import MongoCalendars
from tocsin_server.store.mongo.change import ChangeJobs
from tocsin_server.store.mongo.checks import ENCRYPTED, FORMAT, check, has_change_streams, unfit_where_not_allowed
from tocsin_server.store.mongo.claim import ClaimJobs
from tocsin_server.store.mongo.clock import AHEAD, NOW, NOW_TO_COMPARE, ServerClock, later_than_now
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.cross_check import CrossCheck
from tocsin_server.store.mongo.dependencies import MongoDependencies
from tocsin_server.store.mongo.documents import UNREAD, Document, job_of, key
from tocsin_server.store.mongo.event_log import EventLog
from tocsin_server.store.mongo.figures import QueueCounts
from tocsin_server.store.mongo.finish import FinishJobs
from tocsin_server.store.mongo.full import FullLimits
from tocsin_server.store.mongo.holes import Holes
from tocsin_server.store.mongo.job_logs import JobLogs
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.log_listener import LogListener
from tocsin_server.store.mongo.notes import Notes
from tocsin_server.store.mongo.outlooks import Outlooks
from tocsin_server.store.mongo.page import PageJobs
from tocsin_server.store.mongo.places import LimitPlaces
from tocsin_server.store.mongo.put import PutJobs
from tocsin_server.store.mongo.queue_documents import workers_document, workers_of
from tocsin_server.store.mongo.queue_settings import StoredSettings
from tocsin_server.store.mongo.queues import QueueDocuments, has_limits
from tocsin_server.store.mongo.quotas import JobQuota, KnownTypes
from tocsin_server.store.mongo.schedules import MongoSchedules
from tocsin_server.store.mongo.sealed import MongoSealed
from tocsin_server.store.mongo.shared import MongoSharedPlaces
from tocsin_server.store.mongo.trim import TrimJobs
from tocsin_server.store.mongo.turns import Turns
from tocsin_server.store.put import placed
from tocsin_server.store.shared_claims import SharedClaims
from tocsin_server.telemetry.round_trips import RoundTrips


class MongoStore(JobStore):
    """Jobs in a collection, and what belongs to them in collections named after it (".queues", ".events", ...).

    `events_max` events, or `events_age`, are kept a queue for watchers. `has_keys`: who opens it has the keys of what
    is encrypted in it.
    """

    ticks_at_once = 100  # each is six lookups
    dependencies: MongoDependencies

    def __init__(
        self,
        connection: MongoConnection,
        collection: str = "agenda_jobs",
        *,
        events_max: int = 100_000,
        events_age: timedelta = timedelta(hours=1),
        quotas: Quotas = DEFAULT_QUOTAS,
        manual_clock: bool = False,
        has_keys: bool = False,
    ) -> None:
        self.manual_clock = manual_clock
        self._has_keys = has_keys
        self._connection = connection
        self._collection = collection
        self._events_age = events_age
        self._workers: AsyncCollection[Document] = connection.database[f"{collection}.workers"]
        self._clock = ServerClock(connection, collection, manual=manual_clock)
        self._queues = QueueDocuments(connection, collection, self._clock, quotas.queues)
        self._tail = LogListener(
            connection, collection, self._queues, ahead=self._clock.ahead if manual_clock else None
        )
        self._log = EventLog(connection, collection, self._queues, self._tail, events_max=events_max)
        self._settings = StoredSettings(connection, collection, self._clock, self._queues, self._log)
        self._jobs = Jobs(connection, collection, self._clock)
        self._job_logs = JobLogs(connection, collection)
        self._places = LimitPlaces(connection, collection, self._jobs)
        self._turns = Turns(connection, collection, self._clock, self._jobs, self._places)
        self._commit = commit = Commit(self._jobs, self._queues, self._log, self._job_logs, self._places)
        self._types = KnownTypes(self._jobs)
        quota = JobQuota(self._jobs, quotas)
        self._full = full = FullLimits(self._jobs, commit, self._places, self._settings)
        self._add = AddJobs(self._jobs, self._queues, commit, self._types, quota, full)
        self.dependencies = MongoDependencies(connection, collection, self._clock, self._jobs, commit)
        self.calendars = MongoCalendars(connection, collection, self._clock)
        self.schedules = self._schedules = MongoSchedules(
            connection, collection, self._clock, self._queues, self._log, self._add.add_to, quota.of
        )
        self.sealed = self._sealed = MongoSealed(connection, collection)
        self._put = PutJobs(self._jobs, self._queues, commit, self._types, quota)
        self._claim = ClaimJobs(
            self._clock, self._jobs, self._queues, commit, self._places, self._settings, self._log, full, self._turns
        )
        self.shared = self._shared = SharedClaims(
            MongoSharedPlaces(
                connection,
                collection,
                self._clock,
                self._jobs,
                self._queues,
                self._places,
                self._claim,
                self._log,
            )
        )
        self._change = ChangeJobs(commit)
        self._finish = FinishJobs(self._clock, self._jobs, commit, self._job_logs, self._places, self._settings)
        self._trim = TrimJobs(self._clock, self._jobs, self._settings, commit)
        self._counts = QueueCounts(self._clock, self._jobs, self._queues, self._prepare)
        self._outlooks = Outlooks(self._jobs, self._queues, self._places, self._settings, self._turns)
        self._page = PageJobs(self._jobs, self._counts)
        self._cross_check = CrossCheck(
            self._clock, self._jobs, self._job_logs, self._queues, self._places, self._turns, self._prepare
        )
        self._holes = Holes(self._log)
        self._notes = Notes(connection, collection, self._clock, manual=manual_clock)
        self._names: frozenset[str] = frozenset()  # as they were last read
        self._info: StoreInfo | None = None
        self.warnings: Sequence[str] = ()

    async def open(self) -> None:
        self._info, self.warnings = await check(
            self._connection, self._collection, manual_clock=self.manual_clock, has_keys=self._has_keys
        )
        with unfit_where_not_allowed(self._connection):
            self._tail.change_streams = has_change_streams(await self._connection.open())
            self._schedules.transactions = self._tail.change_streams
            await self._prepare()
        self._connection.refusals.opened = True

    async def _prepare(self) -> None:
        """Mark the store as ours, and make the indexes that are not there; again where they may have been lost."""
        database = self._connection.database
        marker: Document = {"format": FORMAT, **({AHEAD: 0} if self.manual_clock else {})}
        if self._sealed.marked:
            marker[ENCRYPTED] = self._sealed.marked
        await self._connection.run(
            lambda: database[f"{self._collection}.format"].update_one(
                {"_id": "format"}, {"$setOnInsert": marker}, upsert=True
            )
        )
        wanted = {
            self._collection: indexes.JOBS,
            f"{self._collection}.events": indexes.of_events(int(self._events_age.total_seconds())),
            f"{self._collection}.workers": indexes.WORKERS,
            f"{self._collection}.notes": indexes.NOTES,
            f"{self._collection}.calendars": indexes.CALENDARS,
            f"{self._collection}.schedules": indexes.SCHEDULES,
            f"{self._collection}.children": indexes.CHILDREN,
            f"{self._collection}.turns": indexes.TURNS,
        }
        for name, of_collection in wanted.items():
            await indexes.ensure(self._connection, name, of_collection)

    async def close(self) -> None:
        await self._shared.close()
        await self._tail.close()
        await self._connection.close()

    async def ping(self) -> datetime:
        return await self._clock.read()

    async def move_clock(self, to: datetime) -> datetime:
        return await self._clock.move(to)

    async def info(self) -> StoreInfo:
        if self._info is None:
            raise StoreAway("the store was not opened")
        return self._info

    @property
    def trips(self) -> RoundTrips:
        return self._connection.trips

    async def check_writes(self) -> None:
        # Finds nothing and changes nothing, and is refused, or not answered, where a majority would not take a write.
        marker = self._connection.database[f"{self._collection}.format"]
        await self._connection.run(
            lambda: marker.update_one({"_id": "none"}, {"$set": {"format": FORMAT}}), read_only=True
        )

    # --- scheduling and reading ---

    async def add(self, drafts: Sequence[Draft]) -> list[Added | TocsinError]:
        return await by_queue(drafts, lambda draft: draft.spec.queue, self._add.add_to)

    async def get(self, queue: str, job_ids: Sequence[str], view: View) -> list[Job | None]:
        keys = [key(queue, job_id) for job_id in job_ids]
        shape = None if view is View.FULL else dict.fromkeys(UNREAD, 0)
        jobs = await self._jobs.by_id(list(dict.fromkeys(keys)), shape)
        return [job_of(jobs[one], view) if one in jobs else None for one in keys]

    async def page(self, query: ListQuery) -> Page:
        return await self._page.page(query)

    async def put(self, jobs: Sequence[Job], *, over: bool) -> list[Put | TocsinError]:
        return await placed(jobs, partial(self._put.put_into, over=over))

    # --- changing standing jobs ---

    async def cancel(self, queue: str, cancels: Sequence[CancelJob]) -> list[Job | TocsinError]:
        return await self._change.cancel(queue, cancels)

    async def update(self, queue: str, changes: Sequence[Change]) -> list[Job | TocsinError]:
        return await self._change.update(queue, changes)

    async def delete(self, queue: str, job_ids: Sequence[str], *, ended_only: bool = True) -> list[TocsinError | None]:
        return await self._change.delete(queue, job_ids, ended_only=ended_only)

    # --- running ---

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
        return await self._shared.claim(queue, types, limit, lease=lease, request=request, repeated=repeated)

    async def promote(self, queue: str) -> bool:
        return await self._claim.promote(queue)

    async def extend(self, extensions: Sequence[Extension], lease: timedelta) -> list[Extended | TocsinError]:
        async def extend_in(queue: str, items: Sequence[Extension]) -> list[Extended | TocsinError]:
            return await self._finish.extend(queue, items, lease)

        return await by_queue(extensions, lambda extension: extension.lease.queue, extend_in)

    async def logs(self, queue: str, job_id: str, *, attempt: int = 0, cursor: str = "") -> LogPage | None:
        return await self._job_logs.read(queue, job_id, attempt=attempt, cursor=cursor)

    async def explain(self, queue: str, job_ids: Sequence[str]) -> list[Outlook | None]:
        return await self._outlooks.of(queue, job_ids)

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> list[Finished | TocsinError]:
        async def finish_in(queue: str, items: Sequence[AttemptOutcome]) -> list[Finished | TocsinError]:
            answers = await self._finish.finish(queue, items)
            self._shared.ended(queue)
            return answers

        return await by_queue(outcomes, lambda outcome: outcome.lease.queue, finish_in)

    async def reap(self, queue: str, limit: int = 100) -> list[LostLease]:
        lost = await self._finish.reap(queue, limit)
        self._shared.ended(queue)
        return lost

    async def trim(self, queue: str, *, completed_max: int, failed_max: int, limit: int = 100) -> int:
        return await self._trim.trim(queue, completed_max=completed_max, failed_max=failed_max, limit=limit)

    async def check(self) -> Checked:
        return await self._cross_check.step()

    # --- hearing ---

    async def ticks(self, queues: Sequence[str]) -> Mapping[str, Tick]:
        ticks: dict[str, Tick] = dict.fromkeys(queues, Tick(0, None, None, None))
        for start in range(0, len(queues), self.ticks_at_once):
            found = await self._queues.ticks(queues[start : start + self.ticks_at_once])
            holes = await self._holes.found({queue: number for queue, (_, number) in found.items()})
            for queue, (tick, _) in found.items():
                ticks[queue] = replace(tick, wakes=tick.wakes + holes[queue], waiting=tick.waiting or holes[queue] > 0)
        return ticks

    def wakes(self) -> AsyncIterator[Wake]:
        return self._tail.wakes()

    async def cursor(self, queue: str) -> str:
        return await self._log.now(queue)

    async def events(self, queue: str, after: str, *, wait: timedelta, limit: int = 1000) -> EventBatch:
        return await self._log.read(queue, after, wait, limit)

    # --- queues ---

    async def queues(self) -> list[str]:
        names = await self._queues.names()
        if not self._names <= set(names):
            # Somebody may have dropped the collections, and the indexes with them.
            await self._prepare()
        self._names = frozenset(names)
        for part in (self._claim, self._holes, self._log, self._turns, self._types):
            part.keep(self._names)
        return names

    async def count_queues(self) -> int:
        if (seen := self._tail.count()) is None:
            seen = await self._queues.count()
            self._tail.counted(seen)
        return seen

    async def figures(self, queue: str) -> QueueFigures:
        return await self._counts.figures(queue)

    async def settings(self, queues: Sequence[str]) -> list[QueueSettings]:
        found = await self._settings.read(queues) if queues else []
        return await as_of_now(found, self.ping)

    async def put_settings(self, queue: str, settings: QueueSettings, *, paused: bool) -> QueueSettings:
        head, _ = await self._queues.read(queue)
        was_limited, was_fair = head is not None and has_limits(head), head is not None and "fair" in head
        if settings.limits or settings.fair_turns:
            limited, fair = was_limited or not settings.limits, was_fair or not settings.fair_turns
            await self._places.begin(queue, limited=limited, fair=fair)
        await self._settings.put(queue, settings, paused=paused)
        with unknown_after(True):
            if settings.limits:
                await self._places.take_in(queue)
            if settings.fair_turns and not was_fair and (places := await self._places.read(queue)) is not None:
                await self._turns.begin(queue, places, await self._clock.lately())
            if was_fair and not settings.fair_turns:
                await self._turns.forget(queue)
        [now] = await self._settings.read([queue])
        return now

    async def forget(self, queue: str, *, unused_for: timedelta | None = None) -> bool:
        async def kept(head: Document) -> bool:
            return await self._settings.some(head) or bool(await self._notes.after(queue, "", 1))

        if await self._schedules.some(queue):
            return False
        self._tail.counted(None)
        places = await self._places.read(queue)
        forgotten = await self._queues.forget(queue, unused_for, kept)
        if forgotten and places is not None:
            await self._places.forget(places)
            await self._turns.forget(queue)
        if forgotten and await self._schedules.some(queue):
            await self._queues.hold(queue, 0)  # one came meanwhile
            return False
        return forgotten

    # --- notes ---

    async def read_note(self, queue: str, key: str) -> Note | None:
        return await self._notes.read(queue, key)

    async def write_note(self, queue: str, key: str, value: bytes, *, revision: int, until: datetime) -> bool:
        return await self._notes.write(queue, key, value, revision=revision, until=until)

    async def notes(self, queue: str, *, after: str = "", limit: int = 1000) -> list[StoredNote]:
        return await self._notes.after(queue, after, limit)

    # --- workers ---

    async def announce(self, workers: Sequence[WorkerFigures], by: str, ttl: timedelta) -> None:
        if not ttl or not workers:
            await self._connection.run(lambda: self._workers.delete_one({"_id": by}))
            return
        said = {"$literal": workers_document(workers)}
        await self._connection.run(
            lambda: self._workers.update_one(
                {"_id": by}, [{"$set": {"seen": NOW, "until": later_than_now(ttl), "said": said}}], upsert=True
            )
        )

    async def workers(self) -> list[WorkerFigures]:
        async def ask() -> list[Document]:
            alive = {"$match": {"$expr": {"$gte": ["$until", NOW_TO_COMPARE]}}}
            return await (await self._workers.aggregate([alive])).to_list()

        found = await self._connection.run(ask, read_only=True)
        return sorted((worker for one in found for worker in workers_of(one)), key=lambda worker: worker.worker)
