"""The client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import NoReturn, Self, Unpack

from tocsin import _calls, _following, _forking, _many, _paging, _queue_calls, _reminder_calls, _transferring, _watching
from tocsin._access import TlsChoice
from tocsin._bulk_actions import AsyncBulk
from tocsin._channel import refuse_copying
from tocsin._clock import AsyncMovableClock
from tocsin._connection import Connection
from tocsin._fields import name_of
from tocsin._job_requests import lone_request
from tocsin._schedules import AsyncSchedules
from tocsin._store_wide import AsyncStoreWide
from tocsin._times import Span
from tocsin._transferring import AsyncRecords as Records
from tocsin.enums import View
from tocsin.following import Explanation, LogLine
from tocsin.jobs import CancelledMany, DeletedMany, Job, JobChange, JobLike, RetriedMany
from tocsin.payloads import Payload, TypedPayload
from tocsin.queues import Queue, QueueChanges, QueueHealth, ServerInfo
from tocsin.reminders import BookingOptions, KindName, PaymentOptions, ReminderSet
from tocsin.requests import JobChanges, JobRequest, ListOptions, ScheduleOptions, StateName, ViewName
from tocsin.transfer import Imported, OverName
from tocsin.v1.transfer_pb2 import TransferRecord
from tocsin.workers import WorkerEntry


class AsyncClient(AsyncStoreWide):
    """Speaks to a Tocsin server from one event loop: that of its first call. `Client` is the same without async.

    `address` is "host:port"; None is the environment's TOCSIN_ADDRESS, else localhost:50051. `deadline`
    bounds each call with its repeats (seconds or timedelta); each method takes its own. `retries`: repeat calls that
    did not act, or may act twice without harm, until the deadline.

    `tls` and `token` are as `Client` says, and where they are left out, what the environment says.

    Where a method takes a job, a `Job` or an id will do; `queue` goes with an id ("default" where left out).
    All methods raise TocsinError and what stands below it in `tocsin.errors`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: TlsChoice = None,
        token: str | None = None,
        deadline: Span = 10.0,
        retries: bool = True,
    ) -> None:
        self._connection = Connection(address, tls=tls, token=token, deadline=deadline, retries=retries)
        _forking.rests_at_fork(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        refuse_copying(self)

    @property
    def address(self) -> str:
        """The server's address."""
        return self._connection.address

    @property
    def schedules(self) -> AsyncSchedules:
        """Recurring schedules."""
        return AsyncSchedules(self._connection)

    @property
    def bulk(self) -> AsyncBulk:
        """One act on all jobs that match, and a dry run before."""
        return AsyncBulk(self._connection)

    @property
    def clock(self) -> AsyncMovableClock:
        """The store's clock, which tests move by hand."""
        return AsyncMovableClock(self._connection)

    async def close(self) -> None:
        """Disconnect, once scheduling that is under way has its answer. Other open calls fail."""
        await self._connection.close()

    async def schedule(
        self,
        type: str | TypedPayload,
        payload: Payload = None,
        *,
        deadline: Span | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Job:
        """Schedule a job; returns it (view BASIC) once the store has it. `outcome` says what was done.

        `type` is the handler's name and `payload` a dict, bytes, RawPayload, or an object of a dataclass or a pydantic
        model; or the first argument is a typed message (EmailNotification, ...), which sets the type by itself. Due
        now, or `at` an aware datetime, or after `delay`. With a `job_id` of your own and on_conflict="KEEP" the call
        can be repeated without a second job. Calls made at the same time travel together. Raises InvalidArgument,
        AlreadyExists, FailedPrecondition.
        """
        request = lone_request(type, payload, options)
        return await self._connection.schedule(request, deadline)

    async def schedule_many(self, requests: Iterable[JobRequest], *, deadline: Span | None = None) -> _many.Scheduled:
        """Schedule any number of jobs, 1,000 a call; returns a job or an error for each, in order. One bad job harms
        no other, and a call that fails as a whole is the error of each of its jobs."""
        return await _many.schedule_many(self._connection, _many.schedule_requests(requests), deadline)

    async def get(
        self, job: JobLike, *, queue: str = "", view: ViewName = View.FULL, deadline: Span | None = None
    ) -> Job:
        """The job as it stands. Raises NotFound."""
        return await self._connection.invoke(_calls.get(job, queue, view), deadline)

    async def list(
        self, *, limit: int | None = None, deadline: Span | None = None, **options: Unpack[ListOptions]
    ) -> AsyncGenerator[Job, None]:
        """Jobs of one queue that match, newest first, read page by page as you go; `limit` in all.

        A job that changes meanwhile is seen at most once. `deadline` is that of each page.
        """
        async with aclosing(_paging.job_pages(self._connection, options, limit, deadline)) as pages:
            async for page in pages:
                for job in page:
                    yield job

    async def count(
        self,
        *,
        queue: str = "",
        states: Sequence[StateName] = (),
        types: Sequence[str] = (),
        deadline: Span | None = None,
    ) -> int:
        """How many jobs of a queue are in these states and of these types (none given: all)."""
        return await self._connection.invoke(_calls.count(queue, states, types), deadline)

    async def cancel(
        self,
        job: JobLike,
        *,
        queue: str = "",
        reason: str = "",
        grace: Span | None = None,
        deadline: Span | None = None,
    ) -> Job:
        """Cancel a job. One that runs is asked to stop within `grace` (30 s): it is ACTIVE until it does.

        Cancelling again is fine, and calls made at the same time travel together. Raises NotFound, and
        FailedPrecondition where it is COMPLETED or FAILED.
        """
        return await self._connection.cancel(_calls.cancel_request(job, queue, reason, grace), deadline)

    async def cancel_many(
        self,
        jobs: Iterable[JobLike] | None = None,
        *,
        queue: str = "",
        states: Sequence[StateName] = (),
        types: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        reason: str = "",
        grace: Span | None = None,
        deadline: Span | None = None,
    ) -> CancelledMany:
        """Cancel the jobs given, with a job or an error for each; or, without `jobs`, all of a queue that match."""
        return await _many.cancel_many(
            self._connection, jobs, queue, states, types, tags or {}, reason, grace, deadline
        )

    async def update(
        self,
        job: JobLike,
        *,
        queue: str = "",
        revision: int | None = None,
        deadline: Span | None = None,
        **changes: Unpack[JobChanges],
    ) -> Job:
        """Change a job that neither runs nor has ended: its time (`at` or `delay`), `priority`, `payload`, `tags`,
        `timeout`, `retry` or `retention`. Of the last two what they have is set.

        With `revision`, only if that is still the job's, else Aborted. Raises NotFound, FailedPrecondition.
        """
        return await self._connection.invoke(_calls.update(job, changes, queue, revision), deadline)

    async def run(self, job: JobLike, *, queue: str = "", deadline: Span | None = None) -> Job:
        """Make a SCHEDULED job due now. Raises NotFound, FailedPrecondition."""
        return await self._connection.invoke(_calls.run(job, queue), deadline)

    async def hold(self, job: JobLike, *, queue: str = "", deadline: Span | None = None) -> Job:
        """Let no attempt of a job that does not run begin, whatever its time. Raises NotFound, FailedPrecondition."""
        return await self._connection.invoke(_calls.hold(job, queue), deadline)

    async def release(self, job: JobLike, *, queue: str = "", deadline: Span | None = None) -> Job:
        """Let a held job go. Raises NotFound, FailedPrecondition."""
        return await self._connection.invoke(_calls.release(job, queue), deadline)

    async def retry(self, job: JobLike, *, queue: str = "", deadline: Span | None = None) -> Job:
        """Make a FAILED or CANCELLED job due again, its failures counted anew. Raises NotFound, FailedPrecondition."""
        return await self._connection.invoke(_calls.retry(job, queue), deadline)

    async def delete(self, job: JobLike, *, queue: str = "", deadline: Span | None = None) -> None:
        """Delete an ended job; its id is free at once. Raises NotFound, FailedPrecondition."""
        await self._connection.invoke(_calls.delete(job, queue), deadline)

    async def retry_many(
        self,
        jobs: Iterable[JobLike] | None = None,
        *,
        queue: str = "",
        states: Sequence[StateName] = (),
        types: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
        deadline: Span | None = None,
    ) -> RetriedMany:
        """Make the FAILED or CANCELLED jobs given due again, with a job or an error for each; or, without `jobs`, all
        of a queue that match: in `states` (default FAILED), of `types`, with `tags`. `dry_run` only counts these."""
        return await _many.retry_many(self._connection, jobs, queue, states, types, tags or {}, dry_run, deadline)

    async def delete_many(
        self,
        jobs: Iterable[JobLike] | None = None,
        *,
        queue: str = "",
        states: Sequence[StateName] = (),
        types: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
        deadline: Span | None = None,
    ) -> DeletedMany:
        """Delete the ended jobs given, with None or an error for each; or, without `jobs`, all of a queue that match:
        in `states` (default all of COMPLETED, FAILED, CANCELLED), of `types`, with `tags`. `dry_run` only counts."""
        return await _many.delete_many(self._connection, jobs, queue, states, types, tags or {}, dry_run, deadline)

    async def watch(
        self,
        job: JobLike | None = None,
        *,
        queue: str = "",
        states: Sequence[StateName] = (),
        types: Sequence[str] = (),
        cursor: str = "",
    ) -> AsyncGenerator[JobChange, None]:
        """Changes as they happen: of one job, first as it stands, until it ends; or of all of a queue that match.

        By filter from the first step of the iteration on, or from after `cursor`, for as long as you read. A cut
        connection is mended; where changes were missed, a change with `gap` says so. Raises NotFound.
        """
        request = _calls.watch_request(job, queue, states, types, cursor)
        async with aclosing(_watching.watch(self._connection, request)) as changes:
            async for change in changes:
                yield change

    async def wait(self, job: JobLike, *, queue: str = "", timeout: Span | None = None) -> Job:
        """Wait until the job has ended; returns it in view FULL. `timeout` None: as long as it takes.

        Raises WaitTimeout, which leaves the job as it is, and NotFound, also where it is deleted meanwhile.
        """
        return await _watching.wait(self._connection, *name_of(job, queue), timeout)

    async def parents(self, job: JobLike, *, queue: str = "", deadline: Span | None = None) -> Sequence[Job | None]:
        """The jobs that it waits for, or waited for, with their results; None in the place of one that is gone."""
        return await _following.parents(self._connection, job, queue, deadline)

    async def explain(self, job: JobLike, *, queue: str = "", deadline: Span | None = None) -> Explanation:
        """Why the job is not running, or who runs it; also where the store does not answer. Raises NotFound."""
        return await self._connection.invoke(_following.explain(job, queue), deadline)

    async def logs(
        self, job: JobLike, *, queue: str = "", attempt: int = 0, follow: bool = False, deadline: Span | None = None
    ) -> AsyncGenerator[LogLine, None]:
        """Lines that the job's attempts wrote, oldest first; of one `attempt`, or of all (0).

        With `follow` also those to come, some a second, until the job has ended. `deadline` is that of each question.
        Raises NotFound.
        """
        pages = _following.log_pages(self._connection, job, queue, attempt, follow=follow, deadline=deadline)
        async with aclosing(pages):
            async for page in pages:
                for line in page:
                    yield line

    async def workers(
        self, *, queue: str = "", type: str = "", deadline: Span | None = None
    ) -> AsyncGenerator[WorkerEntry, None]:
        """Who runs jobs, by name: all, or who takes jobs of a queue, or of a type."""
        async with aclosing(_paging.worker_pages(self._connection, queue, type, deadline)) as pages:
            async for page in pages:
                for worker in page:
                    yield worker

    async def queues(self, *, page_size: int = 0, deadline: Span | None = None) -> AsyncGenerator[Queue, None]:
        """All queues by name, with their counts."""
        async with aclosing(_paging.queue_pages(self._connection, page_size, deadline)) as pages:
            async for page in pages:
                for queue in page:
                    yield queue

    async def queue(self, queue: str = "", *, deadline: Span | None = None) -> Queue:
        """One queue's settings; one that was never used shows the defaults."""
        return await self._connection.invoke(_queue_calls.get(queue), deadline)

    async def queue_health(self, queue: str = "", *, deadline: Span | None = None) -> QueueHealth:
        """Whether a queue does its work, with the figures to tell why not."""
        return await self._connection.invoke(_queue_calls.health(queue), deadline)

    async def update_queue(
        self, queue: str = "", *, deadline: Span | None = None, **changes: Unpack[QueueChanges]
    ) -> Queue:
        """Change a queue's settings: what is given is set, None clears it, what is left out stays."""
        return await self._connection.invoke(_queue_calls.update(queue, changes), deadline)

    async def pause(
        self, queue: str = "", *, reason: str = "", until: datetime | None = None, deadline: Span | None = None
    ) -> Queue:
        """Let no attempt begin; scheduling goes on and running attempts end. `until` that time it ends by itself.
        Pausing again changes nothing but that."""
        return await self._connection.invoke(_queue_calls.pause(queue, reason, until), deadline)

    async def drain(self, queue: str = "", *, deadline: Span | None = None) -> Queue:
        """Take no new jobs in a queue, and end those that it has, until `resume`. Draining again changes nothing."""
        return await self._connection.invoke(_queue_calls.drain(queue), deadline)

    async def resume(self, queue: str = "", *, take_back: bool = False, deadline: Span | None = None) -> Queue:
        """Let attempts begin again. FailedPrecondition where it is paused for a move between stores (`tocsin migrate`):
        with `take_back` it runs here again, and what ran on the other side runs a second time."""
        return await self._connection.invoke(_queue_calls.resume(queue, take_back), deadline)

    async def delete_queue(self, queue: str = "", *, deadline: Span | None = None) -> None:
        """Forget a queue in which no job and no schedule stands; FailedPrecondition (QUEUE_IN_USE) where one does."""
        await self._connection.invoke(_queue_calls.delete(queue), deadline)

    async def purge(
        self,
        queue: str = "",
        *,
        states: Sequence[StateName],
        types: Sequence[str] = (),
        end_before: datetime | None = None,
        dry_run: bool = False,
        deadline: Span | None = None,
    ) -> int:
        """Delete jobs that do not run, by state, type and age of their end; returns how many. `dry_run` only counts."""
        return await self._connection.invoke(_queue_calls.purge(queue, states, types, end_before, dry_run), deadline)

    async def schedule_booking_reminders(
        self,
        booking_id: str,
        booking_time: datetime,
        *,
        deadline: Span | None = None,
        **options: Unpack[BookingOptions],
    ) -> ReminderSet:
        """Remind of a booking 24 h, 1 h and 15 min before it (or at other `offsets`), or move its reminders.

        Called again with another time it moves the set; once it returns, no reminder is sent for the old time any more.
        The same call again changes nothing. Raises InvalidArgument.
        """
        return await self._connection.invoke(
            _reminder_calls.schedule_booking(booking_id, booking_time, options), deadline
        )

    async def schedule_payment_reminders(
        self,
        payment_id: str,
        due_time: datetime,
        amount_minor: int,
        currency: str,
        *,
        deadline: Span | None = None,
        **options: Unpack[PaymentOptions],
    ) -> ReminderSet:
        """Remind of a payment 7 days and 1 day before it is due and 1 day after it (or at other `offsets`).

        `amount_minor` is in the currency's smallest unit (cents, yen). All else is as for bookings.
        """
        call = _reminder_calls.schedule_payment(payment_id, due_time, amount_minor, currency, options)
        return await self._connection.invoke(call, deadline)

    async def get_reminders(
        self, kind: KindName, id: str, *, queue: str = "", deadline: Span | None = None
    ) -> ReminderSet:
        """The reminders of a "BOOKING" or "PAYMENT" as they stand. Raises NotFound."""
        return await self._connection.invoke(_reminder_calls.get(kind, id, queue), deadline)

    async def cancel_reminders(
        self, kind: KindName, id: str, *, queue: str = "", reason: str = "", deadline: Span | None = None
    ) -> ReminderSet:
        """Cancel what has not been sent; once it returns, nothing is sent any more. Cancelling again is fine.

        Raises NotFound.
        """
        return await self._connection.invoke(_reminder_calls.cancel(kind, id, queue, reason), deadline)

    async def export_jobs(
        self, queues: Iterable[str] = (), *, decrypt: bool = False
    ) -> AsyncGenerator[TransferRecord, None]:
        """All that stands in these queues, or in all: settings, notes of reminder sets and jobs, for `import_jobs`.

        Read as you go. What changes meanwhile may be in it as it was before or after. Raises Unavailable where the
        server goes away: begin anew then. Records of a server whose store is encrypted are encrypted, too, for servers
        that have its keys, unless `decrypt` asks for clear ones.
        """
        request = _transferring.export_request(queues, decrypt)
        async with aclosing(_transferring.exported(self._connection, request)) as found:
            async for records in found:
                for record in records:
                    yield record

    async def import_jobs(
        self,
        records: Records,
        *,
        over: OverName = "KEEP",
        deadline: Span | None = None,
        report: _transferring.Report | None = None,
    ) -> Imported:
        """Bring in what `export_jobs` gave, of this server or another; records that are refused harm no other.

        What stands already is kept, or, with over="REPLACE", gives way; a job that runs never does. Sent 1,000 records
        a call, of which `deadline` is each one's (2 min); `report` hears what each did. With KEEP a call is repeated
        where the server goes away in the midst of it, and an import that failed can be made again from its beginning.
        """
        tally = _transferring.Tally(report)
        async with aclosing(_transferring.parts_of(records, over)) as parts:
            async for part in parts:
                tally.add(await self._connection.invoke(part, deadline))
        return tally.total

    async def server_info(self, *, deadline: Span | None = None) -> ServerInfo:
        """Version, store, durability and limits of the server."""
        return await self._connection.invoke(_queue_calls.server_info(), deadline)
