"""JobStore over Redis or Valkey. One Lua script a verb; what a script does stands in its header."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.commands import CancelJob, Change
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, TocsinError
from tocsin_server.domain.events import EventBatch
from tocsin_server.domain.explaining import Outlook
from tocsin_server.domain.filters import ListQuery, Order, Page, Position
from tocsin_server.domain.job import Added, Draft, Job, Put, View
from tocsin_server.domain.lease import AttemptOutcome, Claim, Extended, Extension, Finished, LostLease
from tocsin_server.domain.logs import LogPage
from tocsin_server.domain.queues import QueueFigures, QueueSettings, Tick, WorkerFigures
from tocsin_server.domain.quotas import DEFAULT_QUOTAS, Quotas
from tocsin_server.domain.times import to_ms, to_time
from tocsin_server.store.batching import by_queue, part_by_part
from tocsin_server.store.interface import Checked, JobStore, Note, StoredNote, StoreInfo, Wake
from tocsin_server.store.limit_records import as_of_now
from tocsin_server.store.log_pages import page_of, read_place
from tocsin_server.store.put import Placed, placed
from tocsin_server.store.redis import records, replies
from tocsin_server.store.redis.arguments import (
    CALL_JOBS,
    Arguments,
    add_arguments,
    call_parts,
    claim_arguments,
    finish_arguments,
    settings_arguments,
    update_arguments,
    verb_of,
)
from tocsin_server.store.redis.calendars import RedisCalendars
from tocsin_server.store.redis.claiming import NEEDS_GRANT, Claiming
from tocsin_server.store.redis.condition import Condition
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.cross_check import CrossCheck
from tocsin_server.store.redis.dependencies import RedisDependencies
from tocsin_server.store.redis.event_stream import EventStream
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.log_records import log_bytes, logged_line
from tocsin_server.store.redis.marker import Marker
from tocsin_server.store.redis.notes import Notes
from tocsin_server.store.redis.page import page_arguments, page_total
from tocsin_server.store.redis.permissions import check_permissions
from tocsin_server.store.redis.put import put_arguments
from tocsin_server.store.redis.queue_names import QueueNames
from tocsin_server.store.redis.queue_records import (
    SETTINGS_FIELDS,
    counts_of,
    figures_of,
    settings_bytes,
    settings_of,
    tick_of,
    workers_bytes,
    workers_of,
)
from tocsin_server.store.redis.schedules import RedisSchedules
from tocsin_server.store.redis.scripts import Scripts
from tocsin_server.store.redis.sealed import RedisSealed
from tocsin_server.store.redis.shared import RedisSharedPlaces
from tocsin_server.store.redis.wake_channel import WakeChannel
from tocsin_server.store.shared_claims import SharedClaims
from tocsin_server.telemetry.round_trips import RoundTrips

_EXPLAINED_A_CALL = 20  # finding a job's place among 100,000 takes Redis 90 µs


class RedisStore(JobStore):
    """Jobs in Redis, under a namespace. `events_max` events, or `events_age`, are kept a queue for watchers.
    `has_keys`: who opens it has the keys of what is encrypted in it."""

    def __init__(
        self,
        connection: RedisConnection,
        namespace: str = "tocsin",
        *,
        embedded: bool = False,
        events_max: int = 100_000,
        events_age: timedelta = timedelta(hours=1),
        quotas: Quotas = DEFAULT_QUOTAS,
        manual_clock: bool = False,
        has_keys: bool = False,
    ) -> None:
        self.manual_clock = manual_clock
        self._connection = connection
        self._condition = Condition(connection, embedded=embedded)
        self._quotas = quotas
        self._keys = Keys(namespace)
        self._scripts = Scripts(
            connection,
            events_max=events_max,
            events_age=events_age,
            quotas=quotas,
            clock=self._keys.clock if manual_clock else "",
        )
        self._claiming = Claiming(self._run)
        self._marker = Marker(connection, self._scripts, self._keys, manual_clock=manual_clock, has_keys=has_keys)
        self._events = EventStream(connection, self._scripts, self._keys)
        self._notes = Notes(connection, self._scripts, self._keys, expire_by_themselves=not manual_clock)
        self._cross_check = CrossCheck(connection, self._scripts, self._keys)
        self._wake_channel = WakeChannel(connection, self._keys.wake)
        self._queue_names = QueueNames(connection, self._keys, quotas.queues, lost=self._marker.make)
        self.dependencies = RedisDependencies(self._run, self._run_all)
        self.calendars = RedisCalendars(connection, self._scripts, self._keys)
        self.sealed = RedisSealed(self._scripts, self._keys, self._marker)
        places = RedisSharedPlaces(connection, self._scripts, self._keys, self._queue_names, self._claiming)
        self.shared = self._shared = SharedClaims(places)
        self.schedules = RedisSchedules(connection, self._scripts, self._keys, self._queue_names, quotas)

    async def open(self) -> None:
        await self._connection.open()
        await self._condition.open()
        await check_permissions(self._connection, f"{self._keys.root('any')}:any", self._keys.wake)
        await self._marker.check(self._queue_names.count)
        self._connection.refusals.opened = True

    async def close(self) -> None:
        await self._shared.close()
        await self._condition.close()
        await self._wake_channel.close()
        await self._events.close()
        await self._connection.close()

    async def ping(self) -> datetime:
        return to_time(await self._scripts.run("ping", self._keys.format))

    async def move_clock(self, to: datetime) -> datetime:
        return await self._marker.move_clock(to)

    async def info(self) -> StoreInfo:
        return self._condition.info

    @property
    def warnings(self) -> Sequence[str]:
        """What is to be said of it as it was opened, a line each."""
        return self._condition.warnings

    @property
    def alarms(self) -> Sequence[str]:
        return self._condition.alarms

    @property
    def trips(self) -> RoundTrips:
        return self._connection.trips

    async def check_writes(self) -> None:
        await self._condition.check_writes()

    # --- scheduling and reading ---

    async def add(self, drafts: Sequence[Draft]) -> list[Added | TocsinError]:
        async def add_to(queue: str, items: Sequence[Draft]) -> list[Added | TocsinError]:
            await self._queue_names.admit(queue)
            arguments = list(zip(items, records.draft_arguments(items), strict=True))

            async def send(part: Sequence[tuple[Draft, Arguments]]) -> list[Added | TocsinError]:
                answer = await self._run("add", queue, *add_arguments(one for _, one in part))
                return await self._added(queue, part, answer)

            return await part_by_part(arguments, call_parts([one for _, one in arguments]), send)

        return await by_queue(drafts, lambda draft: draft.spec.queue, add_to)

    @property
    def claims_with_add(self) -> bool:  # type: ignore[override]  # of a cluster's pipelines nothing is known here
        return not self._connection.cluster

    async def add_and_claim(
        self, drafts: Sequence[Draft], types: Mapping[str, int], limit: int, *, lease: timedelta, request: bytes
    ) -> tuple[list[Added | TocsinError], Claim | TocsinError]:
        queue, arguments = drafts[0].spec.queue, records.draft_arguments(drafts)
        if len(list(call_parts(arguments))) > 1:
            return await super().add_and_claim(drafts, types, limit, lease=lease, request=request)
        await self._queue_names.admit(queue)
        adding, claiming = add_arguments(arguments, claimed=True), claim_arguments(types, limit, lease, request)
        answer, brought = await self._scripts.run_both(self._keys.root(queue), ("add", *adding), ("claim", *claiming))
        claimed_before = self._scripts.did_not_run(answer, self._keys.root(queue))
        answer = await self._said(answer, "add", queue, adding)
        added = await self._added(queue, list(zip(drafts, arguments, strict=True)), answer)
        try:
            said = await self._said(brought, "claim", queue, claiming)
            answer = await self._claiming.settled(queue, said, *claiming)
            if answer[1] == NEEDS_GRANT:
                claim = await self._shared.claim(queue, types, limit, lease=lease, request=request, known=True)
            else:
                claim = replies.claim(queue, answer, request)
        except TocsinError as error:
            return added, error
        return added, replace(claim, more=True) if claimed_before else claim

    async def get(self, queue: str, job_ids: Sequence[str], view: View) -> list[Job | None]:
        found: list[Job | None] = []
        for start in range(0, len(job_ids), CALL_JOBS):
            part = job_ids[start : start + CALL_JOBS]
            answers = await self._run("get", queue, "1" if view is View.FULL else "0", *map(_id, part))
            found += [records.job_of(queue, answer, view) if answer else None for answer in answers]
        return found

    async def page(self, query: ListQuery) -> Page:
        answers, arrival, due, skip, counts = await self._run("page", query.queue, *page_arguments(query))
        jobs = tuple(records.job_of(query.queue, answer, query.view) for answer in answers)
        following = None
        if arrival >= 0:
            following = Position(arrival, to_time(due) if query.order is Order.SOONEST else None, skip)
        total = page_total(query.filter, counts_of(counts)) if query.with_total and query.filter.counted else None
        return Page(jobs, following, total)

    async def put(self, jobs: Sequence[Job], *, over: bool) -> list[Put | TocsinError]:
        async def put_into(queue: str, items: Sequence[Job]) -> list[Placed]:
            await self._queue_names.admit(queue)
            highest = max(job.arrival for job in items)
            arguments = [(job, put_arguments(job)) for job in items]

            async def send(part: Sequence[tuple[Job, Arguments]]) -> list[Placed]:
                flat = [argument for _, of_one in part for argument in of_one]
                new, found = await self._run("put", queue, secrets.token_hex(8), int(over), highest, *flat)
                if new:
                    await self._queue_names.made(queue)
                return [replies.put(job, answer, self._quotas) for (job, _), answer in zip(part, found, strict=True)]

            return await part_by_part(arguments, call_parts([one for _, one in arguments]), send)

        return await placed(jobs, put_into)

    # --- changing standing jobs ---

    async def cancel(self, queue: str, cancels: Sequence[CancelJob]) -> list[Job | TocsinError]:
        arguments = [(_id(c.job_id), records.wish_bytes(c.grace, c.reason, c.by)) for c in cancels]
        answers = await self._run_all("cancel", queue, arguments)
        return replies.cancelled(queue, [one.job_id for one in cancels], answers)

    async def update(self, queue: str, changes: Sequence[Change]) -> list[Job | TocsinError]:
        answers = await self._run_all("update", queue, list(map(update_arguments, changes)))
        return [
            replies.changed(queue, change.job_id, verb_of(change), getattr(change, "revision", None), answer)
            for change, answer in zip(changes, answers, strict=True)
        ]

    async def delete(self, queue: str, job_ids: Sequence[str], *, ended_only: bool = True) -> list[TocsinError | None]:
        answers = await self._run_all("delete", queue, [(_id(one),) for one in job_ids], b"1" if ended_only else b"0")
        return [replies.deleted(queue, one, answer) for one, answer in zip(job_ids, answers, strict=True)]

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
        return bool(await self._run("promote", queue))

    async def extend(self, extensions: Sequence[Extension], lease: timedelta) -> list[Extended | TocsinError]:
        async def extend_in(queue: str, items: Sequence[Extension]) -> list[Extended | TocsinError]:
            arguments = [
                (
                    item.lease.token,
                    records.progress_bytes(*item.progress) if item.progress else b"",
                    log_bytes(item.log) if item.log else b"",
                )
                for item in items
            ]
            answers = await self._run_all("extend", queue, arguments, str(to_ms(lease)).encode())
            return [replies.extended(item.lease, answer) for item, answer in zip(items, answers, strict=True)]

        return await by_queue(extensions, lambda extension: extension.lease.queue, extend_in)

    async def logs(self, queue: str, job_id: str, *, attempt: int = 0, cursor: str = "") -> LogPage | None:
        of, seen = read_place(cursor)
        found = await self._run("logs", queue, _id(job_id), of, seen, limits.LOG_PAGE_LINES)
        if found is None:
            return None
        arrival, seen, last, first, *lines = found
        return page_of(arrival, seen, last, enumerate(map(logged_line, lines), first), attempt=attempt)

    async def explain(self, queue: str, job_ids: Sequence[str]) -> list[Outlook | None]:
        found: list[Outlook | None] = []
        for start in range(0, len(job_ids), _EXPLAINED_A_CALL):
            part = job_ids[start : start + _EXPLAINED_A_CALL]
            now, paused, *answers = await self._run("explain", queue, *map(_id, part))
            found += [replies.outlook(queue, now, paused, answer) for answer in answers]
        return found

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> list[Finished | TocsinError]:
        async def finish_in(queue: str, items: Sequence[AttemptOutcome]) -> list[Finished | TocsinError]:
            answers = await self._run_all("finish", queue, [finish_arguments(outcome) for outcome in items])
            self._shared.ended(queue)
            return [
                replies.finished(item.lease, word, state)
                for item, word, state in zip(items, answers[::2], answers[1::2], strict=True)
            ]

        return await by_queue(outcomes, lambda outcome: outcome.lease.queue, finish_in)

    async def reap(self, queue: str, limit: int = 100) -> list[LostLease]:
        lost = [replies.lost_lease(queue, reply) for reply in await self._run("reap", queue, limit)]
        self._shared.ended(queue)
        return lost

    async def trim(self, queue: str, *, completed_max: int, failed_max: int, limit: int = 100) -> int:
        spared = to_ms(limits.SPARED_AFTER_END)
        return int(await self._run("trim", queue, completed_max, failed_max, limit, spared))

    async def check(self) -> Checked:
        return await self._cross_check.step()

    # --- hearing ---

    async def ticks(self, queues: Sequence[str]) -> Mapping[str, Tick]:
        ticks: dict[str, Tick] = {}
        for start in range(0, len(queues), self.ticks_at_once):
            part = queues[start : start + self.ticks_at_once]
            keys = [self._keys.tick(queue) for queue in part]
            found = await self._connection.get_many(keys)
            ticks.update({queue: tick_of(found[key]) for queue, key in zip(part, keys, strict=True) if key in found})
        return ticks

    def wakes(self) -> AsyncIterator[Wake]:
        return self._wake_channel.listen()

    async def cursor(self, queue: str) -> str:
        return await self._events.now(queue)

    async def events(self, queue: str, after: str, *, wait: timedelta, limit: int = 1000) -> EventBatch:
        return await self._events.read(queue, after, wait, limit)

    # --- queues ---

    async def queues(self) -> list[str]:
        return await self._queue_names.names()

    async def count_queues(self) -> int:
        return await self._queue_names.count()

    async def figures(self, queue: str) -> QueueFigures:
        return figures_of(await self._run("figures", queue))

    async def many_figures(self, queues: Sequence[str]) -> list[QueueFigures]:
        return [figures_of(one) for one in await self._scripts.run_each("figures", map(self._keys.root, queues))]

    async def settings(self, queues: Sequence[str]) -> list[QueueSettings]:
        if not queues:
            return []

        def ask() -> Awaitable[Any]:
            pipe = self._connection.client.pipeline(transaction=False)
            for queue in queues:
                pipe.execute_command("HMGET", self._keys.hash(queue), *SETTINGS_FIELDS)
            return pipe.execute()

        of_one = self._keys.hash(queues[0]) if len(queues) == 1 else None
        found = [settings_of(fields) for fields in await self._connection.run(ask, read_only=True, key=of_one)]
        return await as_of_now(found, self.ping)

    async def put_settings(self, queue: str, settings: QueueSettings, *, paused: bool) -> QueueSettings:
        await self._queue_names.admit(queue)
        new = await self._run("put_settings", queue, *settings_arguments(settings, paused=paused))
        if new:
            await self._queue_names.made(queue)
        return (await self.settings([queue]))[0]

    async def forget(self, queue: str, *, unused_for: timedelta | None = None) -> bool:
        return await self._queue_names.forget(
            queue,
            lambda: self._run(
                "forget",
                queue,
                "" if unused_for is None else to_ms(unused_for),
                settings_bytes(QueueSettings()),
            ),
        )

    # --- notes ---

    async def read_note(self, queue: str, key: str) -> Note | None:
        return await self._notes.read(queue, key)

    async def write_note(self, queue: str, key: str, value: bytes, *, revision: int, until: datetime) -> bool:
        return await self._notes.write(queue, key, value, revision=revision, until=until)

    async def notes(self, queue: str, *, after: str = "", limit: int = 1000) -> list[StoredNote]:
        return await self._notes.after(queue, after, limit)

    # --- workers ---

    async def announce(self, workers: Sequence[WorkerFigures], by: str, ttl: timedelta) -> None:
        ttl_ms = to_ms(ttl) if workers else 0
        await self._scripts.run("announce", self._keys.workers, by, ttl_ms, workers_bytes(workers) if workers else b"")

    async def workers(self) -> list[WorkerFigures]:
        found = await self._scripts.run("workers", self._keys.workers)
        return sorted((worker for one in found for worker in workers_of(one)), key=lambda worker: worker.worker)

    # --- how calls are made ---

    async def _said(self, answer: Any, script: str, queue: str, arguments: Sequence[bytes | str | int]) -> Any:
        """The answer of a script that was sent with another; of one that did not run, once it has run."""
        if self._scripts.did_not_run(answer, self._keys.root(queue)):
            return await self._run(script, queue, *arguments)
        if isinstance(answer, Exception):
            with self._connection.translated():
                raise answer
        return answer

    async def _added(
        self, queue: str, part: Sequence[tuple[Draft, Arguments]], answer: Sequence[Any]
    ) -> list[Added | TocsinError]:
        new, *said = answer
        if new:
            await self._queue_names.made(queue)
        of_drafts, of_jobs = zip(*part, strict=True)
        return replies.added(of_drafts, of_jobs, said, self._quotas)

    async def _run(self, script: str, queue: str, *arguments: bytes | str | int) -> Any:
        return await self._scripts.run(script, self._keys.root(queue), *arguments)

    async def _run_all(self, script: str, queue: str, arguments: Sequence[Arguments], *first: bytes) -> list[Any]:
        """Run a script over any number of items, so many a call as it may carry; one answer an item."""
        answers: list[Any] = []
        for start, end in call_parts(arguments):
            flat = [argument for one in arguments[start:end] for argument in one]
            try:
                answers += await self._run(script, queue, *first, *flat)
            except StoreAway as error:
                # Part of the batch has acted; what is repeated answers the same (verbs are idempotent).
                raise (OutcomeUnknown(str(error)) if start else error) from error
        return answers


def _id(job_id: str) -> bytes:
    return job_id.encode()
