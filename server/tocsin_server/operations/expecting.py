"""Which jobs get on by themselves: somebody is there who takes them, or who runs them. For all others a clock that is
moved by hand need not wait, however long it is ready to.

Of this server it is known exactly: who sits here, and what each holds. Other servers say so in the store, a little
late; where one speaks for any worker, every job that runs may be with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tocsin_server.domain.job import Job
from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore


class Expecting:
    """Knows who runs jobs. server: this server's name. workers: all who run jobs, those here as they are at the moment
    of the call. passing: whether leases change hands here: a claim has no answer yet, or what nobody holds any more is
    on its way back."""

    def __init__(
        self,
        store: JobStore,
        server: str,
        workers: Callable[[], Awaitable[Sequence[WorkerFigures]]],
        passing: Callable[[], bool],
    ) -> None:
        self._store = store
        self._server = server
        self._workers = workers
        self._passing = passing

    async def among(self, queue: str, jobs: Sequence[Job]) -> list[Job]:
        """Of these jobs of a queue, WAITING or ACTIVE when they were read just now, those that somebody is going to
        take, or to end. Of one that runs elsewhere nobody knows more than that its worker has not said goodbye, and its
        stream has not been cut."""
        passing = self._passing()
        workers = await self._workers()
        held = {(one.queue, one.job_id, one.attempt) for worker in workers for one in worker.held}
        unnamed = any(worker.busy > len(worker.held) or worker.by != self._server for worker in workers)
        [settings] = await self._store.settings([queue])

        def gets_on(job: Job) -> bool:
            if job.state is State.ACTIVE:
                return passing or unnamed or (queue, job.job_id, job.attempt) in held
            return not settings.paused and any(settings.given_to(one, queue, job.spec.type) for one in workers)

        return [job for job in jobs if gets_on(job)]
