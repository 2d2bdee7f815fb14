"""Jobs that wait for others: they ask their parents to be told, and hear of their ends.

All of it can be done twice, and by several servers at a time: what a server leaves half done as it dies, another does
again (DependencyStore).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import structlog

from tocsin_server.domain.dependencies import EndedParent, EndWatch, JobRef, ParentEnd, ParentJob, Settlement
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import View
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_ERRANDS = 100  # a step


class Dependents:
    """Asks and tells, in a store that has dependencies."""

    def __init__(self, store: JobStore, dependencies: DependencyStore) -> None:
        self._store = store
        self._dependencies = dependencies

    async def ask(self, children: Mapping[JobRef, Sequence[ParentJob]], of_end: Iterable[JobRef] = ()) -> None:
        """Let children hear of these parents, or be told of them from now on. `of_end`: those that were made to follow
        an end. Raises what the store raises; then they ask again by themselves."""
        follow = frozenset(of_end)
        watches: dict[str, list[EndWatch]] = defaultdict(list)
        for child, parents in children.items():
            for parent in parents:
                watches[parent.queue].append(EndWatch(parent.job_id, parent.arrival, child, child in follow))
        heard: dict[JobRef, list[ParentJob]] = {child: [] for child in children}
        for queue, of_queue in watches.items():
            answers = await self._dependencies.watch(queue, of_queue)
            for watch, answer in zip(of_queue, answers, strict=True):
                heard[watch.child].append(answer)
        settlements: dict[str, list[Settlement]] = defaultdict(list)
        for child, answered in heard.items():
            settlements[child.queue].append(Settlement(child.job_id, tuple(answered), asked_all=True))
        for queue, of_children in settlements.items():
            await self._dependencies.settle(queue, of_children)

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
        told = [
            EndedParent(one.token, one.parent, tuple(child for child in one.children if child.queue not in away))
            for one in ended
        ]
        return await self._dependencies.told(queue, told) and not away

    async def _ask_again(self, queue: str, job_ids: Sequence[str]) -> None:
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
