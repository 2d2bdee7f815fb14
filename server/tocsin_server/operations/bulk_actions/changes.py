"""Which jobs of a queue have changed since a bulk action's moment, read from the queue's log of changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from tocsin_server.domain.bulk_actions import ActionMoment, BulkTokenStale
from tocsin_server.domain.errors import InvalidFields
from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.filters import ListQuery
from tocsin_server.domain.states import State
from tocsin_server.store.cursors import read_cursor
from tocsin_server.store.interface import JobStore

_AT_ONCE = 1_000  # events of one call to the store
_CUT = 1_000  # changes; no log is set to keep fewer, and no write of a store has so many
_NOW = timedelta(0)


async def moment_of(store: JobStore, queue: str) -> ActionMoment:
    """The queue's present. In this order: what happens meanwhile counts as having happened after it."""
    time = await store.ping()
    cursor = await store.cursor(queue)
    page = await store.page(ListQuery(queue, limit=1, with_total=False))
    return ActionMoment(time, page.jobs[0].arrival if page.jobs else 0, cursor)


async def check_remembered(store: JobStore, queue: str, moment: ActionMoment) -> None:
    """BulkTokenStale where the queue's log does not reach back to the moment any more, or never was there."""
    try:
        batch = await store.events(queue, moment.cursor, wait=_NOW, limit=1)
    except InvalidFields:
        raise BulkTokenStale(queue) from None
    if batch.gap and not _is_hole(moment.cursor, batch):
        raise BulkTokenStale(queue)


class Changes:
    """Arrival numbers of jobs that have changed since the moment.

    They are followed as the log grows, so that it need reach back only to the last look. Kept are those that the action
    has not come to yet, which goes by falling arrival.
    """

    def __init__(
        self, store: JobStore, queue: str, moment: ActionMoment, cursor: str = "", seen: Iterable[int] = ()
    ) -> None:
        self._store = store
        self._queue = queue
        self._moment = moment
        self.cursor = cursor or moment.cursor  # of what was looked at last
        self.arrivals = set(seen)

    async def follow(self, before: int) -> None:
        """Look at all that has happened so far to jobs with a smaller arrival than `before`. BulkTokenStale where the
        log has been cut before that."""
        end = read_cursor(await self._store.cursor(self._queue))  # not as far as it grows meanwhile, which may be ever
        while True:
            at = read_cursor(self.cursor)
            if at.epoch == end.epoch and at.seen >= end.seen:
                return
            batch = await self._store.events(self._queue, self.cursor, wait=_NOW, limit=_AT_ONCE)
            if batch.gap and not _is_hole(self.cursor, batch):
                raise BulkTokenStale(self._queue)
            for event in batch.events:
                if event.job.arrival < before and _is_change(event, self._moment):
                    self.arrivals.add(event.job.arrival)
            if batch.cursor == self.cursor:
                return
            self.cursor = batch.cursor

    def passed(self, at: int) -> None:
        """The action has come to this arrival: those from it on matter no longer."""
        self.arrivals = {arrival for arrival in self.arrivals if arrival < at}


def _is_hole(cursor: str, batch: EventBatch) -> bool:
    """Whether what is missing after a cursor is what a server was writing as it was killed, most likely this action's
    own last step: MongoDB has numbers for changes that were then never logged, and what follows them is still there. A
    log that was cut misses more."""
    at, end = read_cursor(cursor), read_cursor(batch.cursor)
    return not end.entry and at.epoch == end.epoch and end.seen - at.seen < _CUT


def _is_change(event: Event, moment: ActionMoment) -> bool:
    """Whether the job is another one than at the moment. It is not where only its time has come, or where it runs since
    before the moment and says how far it is: nobody has decided anything about it."""
    job = event.job
    if event.deleted:
        return True
    if job.state is State.ACTIVE:
        return job.start_time is None or job.start_time > moment.time
    if job.state is State.WAITING and job.schedule_time > moment.time:
        retried = job.attempt > 0 and not job.failures and not job.crashes
        failed = bool(job.errors) and job.errors[-1].time is not None and job.errors[-1].time > moment.time
        return retried or failed
    return True
