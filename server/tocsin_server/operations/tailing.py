"""One reader of a queue's events for all who watch that queue in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tocsin_server.domain.events import Event
from tocsin_server.store.interface import JobStore

_WAIT = timedelta(seconds=10)  # of one question for events; a new one follows at once
_ASK_AGAIN = 0.05


@dataclass(frozen=True, slots=True)
class Gap:
    """Changes between two cursors are no longer to be had."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where a watch begins."""

    cursor: str


EventKey = tuple[int, str, int, bool]


def event_key(event: Event) -> EventKey:
    """What no two events of a queue have in common. (Their cursors may be written in more than one way.)"""
    return event.job.arrival, event.job.job_id, event.job.revision, event.deleted


Wanted = str | Callable[[Event], bool]  # the id of one job, or a test


class Subscription:
    """What one watcher has yet to see of a tail: at most `buffer` events.

    A watcher that is slower loses what it has not seen, and is told so by a Gap.
    """

    def __init__(self, cursor: str, buffer: int, wanted: Wanted) -> None:
        self.cursor = cursor  # of what was taken last
        self.wanted = wanted
        self.joined: EventKey | None = None  # of the first event that the tail brought since, wanted or not
        self._buffer = buffer
        self._events: deque[Event] = deque()
        self._gap_end: str | None = None
        self._ended: Exception | None = None
        self._news = asyncio.Event()

    def put(self, event: Event) -> None:
        """One event more."""
        if len(self._events) >= self._buffer:
            self.miss(event.cursor)
        else:
            self._events.append(event)
            self._news.set()

    def miss(self, end: str) -> None:
        """Everything up to `end` is missed, what was not taken yet included."""
        self._events.clear()
        self._gap_end = end
        self._news.set()

    def end(self, reason: Exception) -> None:
        """No more will come; `take` raises the reason once all is taken."""
        self._ended = self._ended or reason
        self._news.set()

    def take_now(self) -> Event | Gap | None:
        """The next event or gap, None where there is none yet. Raises what ended the subscription."""
        if self._gap_end is not None:
            gap = Gap(self.cursor, self._gap_end)
            self.cursor, self._gap_end = self._gap_end, None
            return gap
        if self._events:
            event = self._events.popleft()
            self.cursor = event.cursor
            return event
        if self._ended is not None:
            raise self._ended
        return None

    async def take(self) -> Event | Gap:
        """The next event or gap, as soon as there is one. Raises what ended the subscription."""
        while (item := self.take_now()) is None:
            self._news.clear()
            await self._news.wait()
        return item


class Tail:
    """Reads a queue's events as they come and hands them to its subscriptions; runs while it has any.

    Where the store fails, all its subscriptions end with that error.
    """

    def __init__(self, store: JobStore, queue: str, *, buffer: int) -> None:
        self._store = store
        self._queue = queue
        self._buffer = buffer
        self._subscriptions: set[Subscription] = set()
        self._by_job: dict[str, set[Subscription]] = {}  # so that many watched jobs cost an event one look-up
        self._by_test: set[Subscription] = set()
        self._joining: set[Subscription] = set()  # those that no event has come for since
        self._cursor: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # set once it has begun
        self._at = ""
        self._failure: Exception | None = None
        self._task = asyncio.create_task(self._run())
        self.users = 0  # who hold it: it is stopped when the last lets it go

    @property
    def dead(self) -> bool:
        """It has ended, and will bring nothing more."""
        return self._task.done()

    async def subscribe(self, wanted: Wanted) -> Subscription:
        """All wanted events from a moment that has been before this returns."""
        await asyncio.shield(self._cursor)
        subscription = Subscription(self._at, self._buffer, wanted)
        self._subscriptions.add(subscription)
        self._joining.add(subscription)
        if isinstance(wanted, str):
            self._by_job.setdefault(wanted, set()).add(subscription)
        else:
            self._by_test.add(subscription)
        if self._failure is not None:
            subscription.end(self._failure)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Hand it no more events."""
        self._subscriptions.discard(subscription)
        self._by_test.discard(subscription)
        self._joining.discard(subscription)
        if isinstance(subscription.wanted, str):
            same_job = self._by_job.get(subscription.wanted, set())
            same_job.discard(subscription)
            if not same_job:
                self._by_job.pop(subscription.wanted, None)

    def end(self, reason: Exception) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions:
            subscription.end(reason)

    async def stop(self) -> None:
        """Stop reading."""
        # Python 3.11's wait_for, somewhere below, may swallow a cancellation that meets its answer: so ask again.
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_ASK_AGAIN)

    def _hand_out(self, events: Sequence[Event]) -> None:
        if events:
            for subscription in self._joining:
                subscription.joined = event_key(events[0])
            self._joining.clear()
        for event in events:
            for subscription in self._by_job.get(event.job.job_id, ()):
                subscription.put(event)
            for subscription in self._by_test:
                if callable(subscription.wanted) and subscription.wanted(event):
                    subscription.put(event)

    async def _run(self) -> None:
        try:
            self._at = await self._store.cursor(self._queue)
            self._cursor.set_result(self._at)
            while True:
                batch = await self._store.events(self._queue, self._at, wait=_WAIT)
                if batch.gap:  # what it brings is counted as missed too: so the gap's end is surely before what follows
                    for subscription in self._subscriptions:
                        subscription.miss(batch.cursor)
                else:
                    self._hand_out(batch.events)
                self._at = batch.cursor
                # A queue with news all the time must not keep others from their turn.
                await asyncio.sleep(0)
        except Exception as error:
            if not self._cursor.done():
                self._cursor.set_exception(error)
                self._cursor.exception()  # seen, also where nobody waits any more
            self._failure = error
            self.end(error)
