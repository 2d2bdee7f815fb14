"""Jobs that wait for others: they ask their parents to be told, and hear of their ends.

All of it can be done twice, and by several servers at a time: what a server leaves half done as it dies, another does
again (DependencyStore).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from tocsin_server.domain.dependencies import EndedParent, EndWatch, JobRef, ParentEnd, ParentJob, Settlement
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, View
from tocsin_server.operations import moves
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_ERRANDS = 100  # a step


async def with_parents(store: JobStore, queue: str, jobs: Sequence[Job]) -> Sequence[Job]:
    """These jobs of a queue, those that wait or waited for others with their parents, to be placed elsewhere."""
    children = [job.job_id for job in jobs if job.spec.conditions.depends is not None]
    if not children or store.dependencies is None:
        return jobs
    parents = dict(zip(children, await store.dependencies.parents(queue, children), strict=True))
    return [replace(job, parents=parents[job.job_id]) if job.job_id in parents else job for job in jobs]


class Dependents:
    """Asks and tells, in a store that has dependencies."""

    def __init__(self, store: JobStore, dependencies: DependencyStore) -> None:
        self._store = store
        self._dependencies = dependencies

    async def ask(self, children: Mapping[JobRef, Sequence[ParentJob]], of_end: Iterable[JobRef] = ()) -> None:
        """Let children hear of these parents, or be told of them from now on. `of_end`: those that were made to follow
        an end. Raises what the store raises; then they ask again by themselves."""
        follow = frozenset(of_end)
        asked: dict[str, list[tuple[JobRef, ParentJob]]] = defaultdict(list)
        for child, parents in children.items():
            for parent in parents:
                asked[parent.queue].append((child, parent))
        heard: dict[JobRef, list[ParentJob]] = {child: [] for child in children}
        waited: set[JobRef] = set()  # of whom a parent is still to come
        for queue, of_queue in asked.items():
            watches = [
                EndWatch(parent.job_id, parent.arrival if parent.is_numbered else 0, child, child in follow)
                for child, parent in of_queue
            ]
            answers = await self._dependencies.watch(queue, watches)
            for (child, parent), answer in zip(of_queue, answers, strict=True):
                if answer.end is ParentEnd.GONE and not parent.is_numbered:
                    may_come = child not in follow and await self._may_come(queue)
                    answer = parent if may_come else parent.missed()
                    waited.add(child)
                heard[child].append(answer)
        settlements: dict[str, list[Settlement]] = defaultdict(list)
        for child, answered in heard.items():
            settlements[child.queue].append(Settlement(child.job_id, tuple(answered), asked_all=child not in waited))
        for queue, of_children in settlements.items():
            await self._dependencies.settle(queue, of_children)

    async def _may_come(self, queue: str) -> bool:
        """Whether jobs of a queue may be on their way here: of a child that was brought in, parents that do not stand
        may come after it."""
        return queue not in await self._store.queues() or await self._is_moving(queue)

    async def _is_moving(self, queue: str) -> bool:
        [settings] = await self._store.settings([queue])
        return await moves.standing(self._store, queue, settings) is not None

    async def run_errands(self, queue: str) -> bool:
        """Do a bounded piece of what is to be done in a queue; whether there may be more. One that cannot be done now
        is given again later."""
        errands = await self._dependencies.errands(queue, _ERRANDS)
        more = len(errands.ended) + len(errands.blocked) >= _ERRANDS
        if errands.ended:
            more |= await self._tell(queue, errands.ended)
        if errands.blocked:
            await self._ask_again(queue, errands.blocked)
        return more

    async def _tell(self, queue: str, ended: Sequence[EndedParent]) -> bool:
        by_queue: dict[str, dict[str, list[ParentJob]]] = defaultdict(lambda: defaultdict(list))
        for one in ended:
            for child in one.children:
                by_queue[child.queue][child.job_id].append(one.parent)
        away: set[str] = set()
        for of, children in by_queue.items():
            try:
                heard = [Settlement(job_id, tuple(parents)) for job_id, parents in children.items()]
                await self._dependencies.settle(of, heard)
            except TocsinError as error:
                # In a cluster one queue's server may be away, and the others' children need not wait for it.
                _log.warning("children_not_told", queue=of, error=str(error))
                away.add(of)
        # Those of whom a child was not reached come again after a while, all of them.
        told = [one for one in ended if away.isdisjoint(child.queue for child in one.children)]
        return await self._dependencies.told(queue, told)

    async def _ask_again(self, queue: str, job_ids: Sequence[str]) -> None:
        if await self._is_moving(queue):
            return  # the rest of it may be on its way
        jobs = await self._store.get(queue, job_ids, View.BASIC)
        found = await self._dependencies.parents(queue, job_ids)
        children, of_end = {}, []
        for job, parents in zip(jobs, found, strict=True):
            if job is None or (depends := job.spec.conditions.depends) is None:
                continue
            child = JobRef(queue, job.job_id)
            children[child] = [parent for parent in parents if parent.end is ParentEnd.OPEN]
            if depends.of_end:
                of_end.append(child)
        await self.ask(children, of_end)
