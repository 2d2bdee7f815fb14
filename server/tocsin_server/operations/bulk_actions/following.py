"""Beginning a bulk action, which is a job of its own, and following it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

from tocsin_server.domain.bulk_actions import BULK_QUEUE, BULK_TYPE, BulkOrder, BulkVerb
from tocsin_server.domain.defaults import JobDefaults, JobRequest
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, New, OnConflict, Payload, View
from tocsin_server.domain.retry import Backoff
from tocsin_server.domain.states import ENDED
from tocsin_server.operations.bulk_actions.changes import check_remembered
from tocsin_server.operations.bulk_actions.moving import check_takes
from tocsin_server.operations.bulk_actions.state import ActionState, state_of
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.watching import Watching
from tocsin_server.store.interface import JobStore

_LOOK_EVERY = timedelta(seconds=0.5)

#: An action that a store's trouble broke off goes on: for some hours it is tried again.
OWN_TERMS = JobDefaults(
    max_attempts=100,
    backoff=Backoff.EXPONENTIAL,
    initial_delay=timedelta(seconds=1),
    max_delay=timedelta(minutes=5),
    completed_for=timedelta(hours=24),
)


@dataclass(frozen=True, slots=True)
class Followed:
    """An action's job, and how far it is; None: it has not begun."""

    job: Job
    state: ActionState | None

    @property
    def finished(self) -> bool:
        """Nothing more comes."""
        return self.job.state in ENDED


class BulkActions:
    """Begins bulk actions, and follows them."""

    def __init__(self, store: JobStore, scheduling: ScheduleJobs, watching: Watching) -> None:
        self._store = store
        self._scheduling = scheduling
        self._watching = watching

    async def begin(self, order: BulkOrder, payload: Payload, job_id: str | None) -> str:
        """Schedule the action; the id of its job. With a `job_id` that stands already, nothing is begun anew.

        BulkTokenStale, QueueDraining where it could not be carried out.
        """
        if not await self._stands(job_id):
            if order.moment is not None:
                await check_remembered(self._store, order.queue, order.moment)
            await self.check_target(order)
        request = JobRequest(
            BULK_QUEUE, BULK_TYPE, payload, overrides=OWN_TERMS, job_id=job_id, on_conflict=OnConflict.KEEP
        )
        [scheduled] = await self._scheduling.schedule([request])
        if isinstance(scheduled, TocsinError):
            raise scheduled
        _, added = scheduled
        return added.job_id if isinstance(added, New) else added.job.job_id

    async def check_target(self, order: BulkOrder) -> None:
        """QueueDraining where jobs are to be moved to a queue that takes none."""
        if order.act.verb is BulkVerb.MOVE:
            await check_takes(self._store, order.act.target)

    async def follow(self, job_id: str) -> AsyncGenerator[Followed, None]:
        """How far the action of a job is: now, whenever that has changed, at most some twice a second, and last when it
        has ended. JobNotFound where it is gone; Draining."""
        last: tuple[object, ...] = ()
        wait = timedelta(0)
        while True:
            job = await self._watching.ended(BULK_QUEUE, job_id, View.BASIC, wait)
            state = await state_of(self._store, job)  # after the job: an ended one has written its last
            now = _figures(job, state)
            followed = Followed(job, state)
            if now != last or followed.finished:
                last = now
                yield followed
            if followed.finished:
                return
            wait = _LOOK_EVERY

    async def _stands(self, job_id: str | None) -> bool:
        return job_id is not None and (await self._store.get(BULK_QUEUE, [job_id], View.BASIC))[0] is not None


def _figures(job: Job, state: ActionState | None) -> tuple[object, ...]:
    if state is None:
        return (job.state,)
    return job.state, state.matched, state.done_jobs, state.changed, state.refused
