"""Watching one job, or all changes of a queue that match a filter."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from datetime import timedelta

from tocsin_server.domain.errors import Draining, WatchAged
from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.domain.states import ENDED, State
from tocsin_server.operations.tailing import EventKey, Gap, Start, Subscription, Tail, Wanted, event_key
from tocsin_server.store.interface import JobStore

__all__ = ["Gap", "Start", "Watched", "Watching"]

Watched = Event | Gap | Start

_OVERLAP = 10_000  # events remembered while history and tail may bring the same events


class Watching:
    """Streams of changes. All watchers of a queue share one tail of its events, which stops with the last of them.

    A watcher that is more than `buffer` events behind gets a Gap instead of them. Streams end with WatchAged after
    about `max_age` (up to a tenth less, so that they do not all come back at once), with Draining after `drain`, and
    with the store's error where that fails.
    """

    def __init__(self, store: JobStore, *, buffer: int = 1000, max_age: timedelta = timedelta(hours=1)) -> None:
        self._store = store
        self._buffer = buffer
        self._max_age = max_age
        self._tails: dict[str, Tail] = {}
        self._open: set[Subscription] = set()
        self._draining = False

    @asynccontextmanager
    async def job(self, queue: str, job_id: str) -> AsyncIterator[AsyncIterator[Event | Gap]]:
        """One job: first as it stands, then each change; ends after its end or its deletion. JobNotFound."""
        async with self._subscribed(queue, job_id) as subscription:
            # Subscribed first and read then, so that no change falls between the two.
            job = await self._read(queue, job_id, View.BASIC)
            async with aclosing(self._changes_of(job, subscription)) as changes:
                yield changes

    async def ended(self, queue: str, job_id: str, view: View, wait: timedelta) -> Job:
        """The job once it has ended, or as it stands after `wait`. JobNotFound, Draining. It shares the queue's tail:
        who wait ask the store for nothing meanwhile."""
        job = await self._read(queue, job_id, view)
        if job.state in ENDED or wait <= timedelta(0):
            return job
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait.total_seconds()), self.job(queue, job_id) as changes:
                async for _ in changes:
                    pass
        return await self._read(queue, job_id, view)

    @asynccontextmanager
    async def matching(
        self, queue: str, states: frozenset[State], types: frozenset[str], cursor: str, *, start: bool = False
    ) -> AsyncIterator[AsyncIterator[Watched]]:
        """Changes into these states, of jobs of these types (empty: all), after the cursor; "" is from now, which with
        `start` is said first.

        With states, deletions are left out, since they are changes into none. InvalidFields for a cursor that cannot
        be read.
        """

        def wanted(event: Event) -> bool:
            return (not types or event.job.spec.type in types) and (
                not states or (not event.deleted and event.job.state in states)
            )

        async with AsyncExitStack() as stack:
            if cursor:
                first = await self._events_after(queue, cursor)
                changes = self._from_cursor(queue, cursor, first, wanted)
            else:
                subscription = await stack.enter_async_context(self._subscribed(queue, wanted))
                changes = _tail_of(subscription, Start(subscription.cursor) if start else None)
            yield await stack.enter_async_context(aclosing(changes))

    def drain(self) -> None:
        """End all streams with Draining, and refuse new ones."""
        self._draining = True
        for subscription in self._open:
            subscription.end(Draining())

    async def close(self) -> None:
        """Stop all tails; streams still open end with Draining."""
        self.drain()
        tails = list(self._tails.values())
        self._tails.clear()
        for tail in tails:
            await tail.stop()

    async def _read(self, queue: str, job_id: str, view: View) -> Job:
        [job] = await self._store.get(queue, [job_id], view)
        if job is None:
            raise JobNotFound(queue, job_id)
        return job

    async def _changes_of(self, job: Job, subscription: Subscription) -> AsyncGenerator[Event | Gap, None]:
        yield Event(job, deleted=False, cursor=subscription.cursor)
        while job.state not in ENDED:
            item = await subscription.take()
            if isinstance(item, Gap):
                yield item
                cursor, seen = item.end, await self._reread(job)
            elif item.deleted:
                # Of a deleted job the arrival is not sure: it may be news of one that had the id before.
                cursor, seen = item.cursor, await self._reread(job)
            else:
                cursor, seen = item.cursor, item.job
            if seen is None:
                yield Event(job, deleted=True, cursor=cursor)
                return
            if (seen.arrival, seen.revision) > (job.arrival, job.revision):
                job = seen
                yield Event(job, deleted=False, cursor=cursor)

    async def _reread(self, job: Job) -> Job | None:
        """The job as it stands now, None where it is gone, perhaps with another of the same id in its place."""
        [now] = await self._store.get(job.queue, [job.job_id], View.BASIC)
        return now if now is not None and now.arrival == job.arrival else None

    async def _from_cursor(
        self, queue: str, cursor: str, first: EventBatch, wanted: Callable[[Event], bool]
    ) -> AsyncGenerator[Watched, None]:
        """What came after the cursor, read for this watcher alone, then the tail that all share."""
        recent: deque[EventKey] = deque(maxlen=_OVERLAP)
        batch = first
        async with AsyncExitStack() as stack:
            tail: Subscription | None = None
            while True:
                if batch.gap:
                    yield Gap(cursor, batch.cursor)
                for event in () if batch.gap else batch.events:
                    recent.append(event_key(event))
                    if wanted(event):
                        yield event
                cursor, caught_up = batch.cursor, not batch.events
                if tail is not None and (caught_up or tail.joined in recent):
                    break
                if caught_up:
                    # Joined only now, so that the tail's news do not pile up while the past is read. What follows
                    # brings what came between the last question and the tail.
                    tail = await stack.enter_async_context(self._subscribed(queue, wanted))
                batch = await self._events_after(queue, cursor)
            seen = frozenset(recent)
            async for item in _tail_of(tail):
                # Both are in the same order: what the tail brings a second time comes first.
                if isinstance(item, Event) and event_key(item) in seen:
                    continue
                seen = frozenset()
                yield item

    async def _events_after(self, queue: str, cursor: str) -> EventBatch:
        return await self._store.events(queue, cursor, wait=timedelta(0))

    @asynccontextmanager
    async def _subscribed(self, queue: str, wanted: Wanted) -> AsyncIterator[Subscription]:
        if self._draining:
            raise Draining
        tail = self._tails.get(queue)
        if tail is None or tail.dead:
            tail = self._tails[queue] = Tail(self._store, queue, buffer=self._buffer)
        tail.users += 1
        try:
            subscription = await tail.subscribe(wanted)
            with self._bounded(subscription):
                try:
                    yield subscription
                finally:
                    tail.unsubscribe(subscription)
        finally:
            tail.users -= 1
            if not tail.users:
                if self._tails.get(queue) is tail:
                    del self._tails[queue]
                await tail.stop()

    @contextmanager
    def _bounded(self, subscription: Subscription) -> Iterator[None]:
        """End the subscription when it has stood too long, or with `drain`."""
        if self._draining:  # begun while it was being opened
            raise Draining
        age = self._max_age.total_seconds() * (1 - random.random() / 10)  # noqa: S311 - spreads load, guards nothing
        timer = asyncio.get_running_loop().call_later(age, subscription.end, WatchAged(self._max_age))
        self._open.add(subscription)
        try:
            yield
        finally:
            timer.cancel()
            self._open.discard(subscription)


async def _tail_of(subscription: Subscription, start: Start | None = None) -> AsyncGenerator[Watched, None]:
    if start is not None:
        yield start
    while True:
        yield await subscription.take()
