"""Scheduling jobs that wait for others, or that others follow.

A job's on_end is a job that waits for its end. It is made before the job itself, which names it: so there is no moment
at which the one could run and the other be lost. Where the job is not made after all, what was to follow it goes; where
a server dies in between, that finds out by itself (domain/dependencies.py, DependsOn.of_end).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from uuid import uuid4

import structlog

from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.dependencies import DependsOn, JobRef, ParentJob, ParentRequest, WhenParentFails
from tocsin_server.domain.errors import InvalidFields, NotBuilt, OutcomeUnknown, StoreAway, TocsinError, Violation
from tocsin_server.domain.job import Added, Draft, Kept, New, OnConflict, View
from tocsin_server.domain.job_errors import JobExists, ParentNotFound, ParentRefused
from tocsin_server.operations.dependents import Dependents
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: Of the jobs of a part. A batch may have half a million in all; other calls wait while so many are gone through.
_PARENTS_AT_ONCE = 5_000

#: What a job was drafted as and what adding it did, or why it was refused.
Scheduled: TypeAlias = tuple[Draft, Added] | TocsinError


@dataclass(slots=True)
class _Item:
    """A request on its way."""

    request: JobRequest
    answer: Scheduled | None = None
    parents: tuple[ParentJob, ...] = ()
    draft: Draft | None = None
    followers: list[Draft] = field(default_factory=list)  # what follows its end, what follows that first


class ScheduleDependents:
    """Adds jobs of which some wait for others. `draft`: a request with its gaps filled."""

    def __init__(self, store: JobStore, draft: Callable[[JobRequest], Awaitable[Draft]]) -> None:
        self._store = store
        self._draft = draft
        self._dependents = None if store.dependencies is None else Dependents(store, store.dependencies)

    async def schedule(self, requests: Sequence[JobRequest], places: Sequence[int] | None) -> list[Scheduled]:
        """Add jobs in order; as ScheduleJobs.schedule. `places`: of each in its batch; None: there is no batch."""
        if self._dependents is None:
            raise NotBuilt("job.depends_on and job.on_end are not built for this store; nothing was changed.")
        done: dict[int, Scheduled] = {}  # by place
        given = places or range(len(requests))
        failure: TocsinError | None = None
        for some in _parts(requests, given):
            items = [_Item(request) for request in some.values()]
            if isinstance(failure, StoreAway | OutcomeUnknown):
                done.update(dict.fromkeys(some, StoreAway("an earlier part of the batch failed")))
                continue
            try:
                await self._resolve(list(some), items, None if places is None else done)
                await self._add(items)
            except TocsinError as error:  # earlier parts have acted, and their answers must not be lost with this one's
                failure = error.with_traceback(None)
            answers = [item.answer or failure for item in items]
            done.update((place, one) for place, one in zip(some, answers, strict=True) if one)
        if failure is not None and not any(isinstance(one, tuple) for one in done.values()):
            raise failure
        return [done[place] for place in given]

    # --- whom they wait for ---

    async def _resolve(
        self, places: Sequence[int], items: Sequence[_Item], done: Mapping[int, Scheduled] | None
    ) -> None:
        """Find the parents. Refused is a child of which one does not stand, unless it stands already and is kept."""
        known = await self._standing(items)
        for place, item in zip(places, items, strict=True):
            found = []
            for i, parent in enumerate(item.request.parents):
                if parent.batch_item is not None:
                    one = _of_batch(i, parent.batch_item, place, done)
                else:
                    one = known.get(_key(item.request, parent)) or ParentNotFound(*_key(item.request, parent), i)
                if isinstance(one, TocsinError):
                    item.answer = item.answer or one
                else:
                    found.append(one)
            item.parents = tuple(dict.fromkeys(found))
            if isinstance(item.answer, ParentNotFound) and (kept := await self._kept(item.request)):
                item.answer = kept

    async def _standing(self, items: Sequence[_Item]) -> dict[tuple[str, str], ParentJob]:
        """The parents that are named by their ids, as far as they stand."""
        wanted: dict[str, dict[str, None]] = defaultdict(dict)
        for item in items:
            for parent in item.request.parents:
                if parent.batch_item is None:
                    queue, job_id = _key(item.request, parent)
                    wanted[queue][job_id] = None
        found = {}
        for queue, ids in wanted.items():
            for job in await self._store.get(queue, list(ids), View.BASIC):
                if job is not None:
                    found[queue, job.job_id] = ParentJob(queue, job.job_id, job.arrival)
        return found

    async def _kept(self, request: JobRequest) -> Scheduled | None:
        """A call that is repeated finds its job, also when the parents are gone by now."""
        return await self._found_standing(request) if request.on_conflict is OnConflict.KEEP else None

    async def _found_standing(self, request: JobRequest) -> Scheduled | None:
        """What adding it would say where its job stands, which goes before all that a new one is refused for."""
        if request.job_id is None:
            return None
        [stands] = await self._store.get(request.queue, [request.job_id], View.BASIC)
        if stands is None:
            return None
        if request.on_conflict is OnConflict.KEEP:
            return await self._draft(request), Kept(stands)
        return JobExists(request.queue, request.job_id, stands.state)

    # --- adding ---

    async def _add(self, items: Sequence[_Item]) -> None:
        """Add those that were not refused: what follows an end first."""
        left = [item for item in items if item.answer is None]
        for item in left:
            try:
                await self._prepare(item)
            except TocsinError as refusal:  # its queue's settings cannot be had
                item.answer = refusal
        await self._add_followers([item for item in left if item.answer is None])
        left = [item for item in left if item.answer is None and item.draft is not None]
        drafts = [item.draft for item in left if item.draft is not None]
        if not drafts:
            return
        answers = await self._store.add(drafts)
        job_log.scheduled(drafts, answers)
        for item, draft, added in zip(left, drafts, answers, strict=True):
            item.answer = added if isinstance(added, TocsinError) else (draft, added)
        # One of which nobody knows whether it was made may run, and its end lets go what follows.
        unmade = [item for item in left if not _is_new(item.answer) and not isinstance(item.answer, OutcomeUnknown)]
        await self._drop(unmade)
        await self._let_ask([item for item in left if _is_new(item.answer)])

    async def _prepare(self, item: _Item) -> None:
        """Draft the job and all that follows, each with an id that the one before can name."""
        asked = [item.request]
        while asked[-1].on_end is not None:
            asked.append(asked[-1].on_end)
        drafts = [await self._draft(request) for request in asked]
        named = [_named(draft, of_end=at > 0) for at, draft in enumerate(drafts)] if len(drafts) > 1 else drafts
        chain = []
        for at, draft in enumerate(named):
            above = named[at - 1] if at else None
            below = named[at + 1] if at + 1 < len(named) else None
            chain.append(_linked(_traced(draft, drafts[0]), above, below))
        item.draft, item.followers = replace(chain[0], parents=item.parents), chain[:0:-1]

    async def _add_followers(self, items: Sequence[_Item]) -> None:
        drafts = [draft for item in items for draft in item.followers]
        if not drafts:
            return
        answers = await self._store.add(drafts)
        job_log.scheduled(drafts, answers)
        left = iter(answers)
        for item in items:
            refused = [answer for _ in item.followers if isinstance(answer := next(left), TocsinError)]
            item.answer = refused[0] if refused else None
        unmade = [item for item in items if item.answer is not None]
        await self._drop(unmade)
        for item in unmade:
            item.answer = await self._found_standing(item.request) or item.answer

    async def _drop(self, items: Sequence[_Item]) -> None:
        """Take away what was to follow jobs that were not made. Where that fails it goes by itself."""
        ids: dict[str, list[str]] = defaultdict(list)
        for item in items:
            for draft in item.followers:
                ids[draft.spec.queue].append(str(draft.job_id))
        for queue, of_queue in ids.items():
            try:
                await self._store.delete(queue, of_queue, ended_only=False)
            except TocsinError as error:
                _log.warning("followers_not_dropped", queue=queue, error=str(error))

    async def _let_ask(self, items: Sequence[_Item]) -> None:
        """Let them ask their parents. The jobs stand: where this fails they ask by themselves."""
        children: dict[JobRef, Sequence[ParentJob]] = {}
        of_end = []
        for item in items:
            if item.draft is not None and item.parents and isinstance(item.answer, tuple):
                added = item.answer[1]
                job_id = added.job_id if isinstance(added, New) else added.job.job_id
                children[JobRef(item.draft.spec.queue, job_id)] = item.parents
            for draft in item.followers:
                of_end.append(child := JobRef(draft.spec.queue, str(draft.job_id)))
                children[child] = draft.parents
        if not children or self._dependents is None:
            return
        try:
            await self._dependents.ask(children, of_end)
        except TocsinError as error:
            _log.warning("parents_not_asked", jobs=len(children), error=str(error))


def _parts(requests: Sequence[JobRequest], places: Sequence[int]) -> Iterator[dict[int, JobRequest]]:
    """The requests by place, in order, in parts of which none waits for another of its part, and that have not too many
    parents."""
    part: dict[int, JobRequest] = {}
    parents = 0
    for place, request in zip(places, requests, strict=True):
        named = {(parent.queue or request.queue, parent.job_id) for parent in request.parents}
        items = {parent.batch_item for parent in request.parents}
        too_many = parents > 0 and parents + len(request.parents) > _PARENTS_AT_ONCE
        if too_many or not items.isdisjoint(part) or any((one.queue, one.job_id) in named for one in part.values()):
            yield part
            part, parents = {}, 0
        part[place] = request
        parents += len(request.parents)
    if part:
        yield part


def _key(request: JobRequest, parent: ParentRequest) -> tuple[str, str]:
    return parent.queue or request.queue, parent.job_id


def _of_batch(i: int, item: int, place: int, done: Mapping[int, Scheduled] | None) -> ParentJob | TocsinError:
    """The parent that is the batch's `item`, of the child at `place`."""
    path = f"job.depends_on.parents[{i}].batch_item"
    if done is None:
        return InvalidFields([Violation(path, "names an item of a batch, and there is none: give job_id")])
    if item >= place:
        return InvalidFields([Violation(path, f"is {item}, not an earlier item than this one, which is item {place}")])
    made = done.get(item)
    if not isinstance(made, tuple):
        return ParentRefused(path, item)
    draft, added = made
    if isinstance(added, New):
        return ParentJob(draft.spec.queue, added.job_id, added.arrival)
    return ParentJob(draft.spec.queue, added.job.job_id, added.job.arrival)


def _named(draft: Draft, *, of_end: bool) -> Draft:
    """The draft, with an id by which others can name it."""
    if draft.job_id is not None and not of_end:
        return draft
    return replace(draft, job_id=str(uuid4()), on_conflict=OnConflict.UNIQUE)


def _traced(draft: Draft, first: Draft) -> Draft:
    """What follows a job is of its trace, where it names none."""
    own, trace = draft.spec.conditions, first.spec.conditions
    if own.traceparent or not trace.traceparent:
        return draft
    conditions = replace(own, traceparent=trace.traceparent, tracestate=trace.tracestate)
    return replace(draft, spec=replace(draft.spec, conditions=conditions))


def _linked(draft: Draft, above: Draft | None, below: Draft | None) -> Draft:
    """The draft, that waits for the end of the one above, and whose end the one below waits for."""
    conditions, parents = draft.spec.conditions, draft.parents
    if above is not None:
        conditions = replace(conditions, depends=DependsOn(WhenParentFails.RUN, of_end=True))
        parents = (ParentJob(above.spec.queue, str(above.job_id)),)
    if below is not None:
        conditions = replace(conditions, on_end=JobRef(below.spec.queue, str(below.job_id)))
    if conditions is draft.spec.conditions:
        return draft
    return replace(draft, spec=replace(draft.spec, conditions=conditions), parents=parents)


def _is_new(answer: Scheduled | None) -> bool:
    return isinstance(answer, tuple) and isinstance(answer[1], New)
