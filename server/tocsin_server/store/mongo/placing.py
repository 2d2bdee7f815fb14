"""Jobs are placed as they stood elsewhere: plan what each comes to, take numbers, write, and plan again where others
were faster."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tocsin_server.domain import limits
from tocsin_server.domain.errors import JobActive, OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.domain.job import Job, Put
from tocsin_server.domain.quotas import too_many_types
from tocsin_server.domain.states import State
from tocsin_server.store.batching import part_by_part, parts
from tocsin_server.store.mongo.arrivals import Arrivals
from tocsin_server.store.mongo.comparing import Comparing
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.heads import Allocation
from tocsin_server.store.mongo.known_types import KnownTypes
from tocsin_server.store.mongo.placed import placed_document
from tocsin_server.store.mongo.records import Records, basic, changes_of, flags_of_all, new_operation, unknown_after
from tocsin_server.store.mongo.room import QueueRoom, Rooms
from tocsin_server.store.mongo.transitions import Standing, place_over
from tocsin_server.store.placing import Placed

_CALL_JOBS, _CALL_BYTES = 200, 8 << 20
_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class _Planned:
    """A job that is to be written."""

    at: int  # its place in the batch
    job: Job
    arrival: int  # 0: the next one
    over: Standing | None  # what stands under its id

    @property
    def renumbered(self) -> bool:
        """It comes to a number that it does not stand under already."""
        return self.over is None or self.over.before["arrival"] != self.arrival

    @property
    def events(self) -> int:
        """Where another arrival comes, what stood is deleted first."""
        return 2 if self.over is not None and self.renumbered else 1


class PutWrites:
    """JobStore.put."""

    def __init__(self, records: Records, types: KnownTypes, jobs_max: int | None) -> None:
        self._records = records
        self._types = types
        self._rooms = Rooms(records, jobs_max)
        self._arrivals = Arrivals(records)
        self._comparing = Comparing(records)

    async def put_into(self, queue: str, jobs: Sequence[Job], *, over: bool) -> list[Placed]:
        """Place jobs of one queue, in order."""
        sizes = [len(job.spec.payload.body) if job.spec.payload else 0 for job in jobs]
        cuts = parts(sizes, _CALL_JOBS, _CALL_BYTES)
        highest = max(job.arrival for job in jobs)
        return await part_by_part(jobs, cuts, lambda part: self._put(queue, part, over, highest))

    async def _put(self, queue: str, jobs: Sequence[Job], over: bool, highest: int) -> list[Placed]:
        answers: dict[int, Placed] = {}
        begun = False
        for wave in _waves(jobs):
            left = wave
            for _ in range(_ROUNDS):
                with unknown_after(begun):
                    plan = await self._plan(queue, {at: jobs[at] for at in left}, over, answers)
                    lost = await self._write(queue, plan, highest, answers) if plan else set()
                begun = True
                left = [at for at in left if jobs[at].job_id in lost]
                if not left:
                    break
            else:
                raise OutcomeUnknown("others kept changing the same jobs")
        return [answers[at] for at in range(len(jobs))]

    async def _plan(
        self, queue: str, jobs: Mapping[int, Job], over: bool, answers: dict[int, Placed]
    ) -> list[_Planned]:
        """Which jobs, of different ids, are to be written by what stands now; the others are answered."""
        standing = await self._records.load(queue, [job.job_id for job in jobs.values()])
        if not over:
            answers.update((at, Put.KEPT) for at, job in jobs.items() if job.job_id in standing)
            jobs = {at: job for at, job in jobs.items() if job.job_id not in standing}
        if not jobs:
            return []
        holders = await self._arrivals.holders(queue, {job.arrival for job in jobs.values() if job.arrival})
        alike = await self._comparing.alike([job for job in jobs.values() if job.job_id in standing], standing)
        known = await self._types.of(queue, {job.spec.type for job in jobs.values()})
        room = await self._rooms.of(queue)
        return list(_planned(jobs, standing, holders, alike, known, room, answers))

    async def _write(self, queue: str, plan: Sequence[_Planned], highest: int, answers: dict[int, Placed]) -> set[str]:
        """Write what was planned; the ids at which others were faster."""
        taken = await self._records.heads.allocate_above(
            queue,
            highest,  # of the whole batch: a job that needs a number takes none that another one brings
            events=sum(one.events for one in plan),
            arrivals=sum(not one.arrival for one in plan),
        )
        following = itertools.count(taken.first_arrival)
        new: list[Document] = []
        over: list[Standing] = []
        brought: list[Document] = []  # with numbers of their own
        for one in plan:
            document = placed_document(one.job, one.arrival or next(following))
            if one.over is None:
                new.append(document)
            else:
                place_over(one.over, document)
                over.append(one.over)
            if one.renumbered and one.arrival:
                brought.append(document)
            answers[one.at] = Put.CREATED if one.over is None else Put.REPLACED
        lost = await self._send(new, over, taken)
        await self._arrivals.separate(queue, [document for document in brought if document["id"] not in lost])
        new = [document for document in new if document["id"] not in lost]
        over = [job for job in over if job.document["id"] not in lost]
        await self._records.log.append(taken, [*changes_of(over), *map(basic, new)], flags_of_all(new, over))
        return lost

    async def _send(self, new: Sequence[Document], over: Sequence[Standing], taken: Allocation) -> set[str]:
        """Write new jobs, and those that take the place of others; the ids at which others were faster."""
        lost: set[str] = set()
        acted = False
        try:
            if new:
                lost |= await self._records.insert(new)
                acted = True
            if over:
                lost |= await self._records.swap(over, new_operation())
        except (StoreAway, StoreFull) as error:
            if acted:
                raise OutcomeUnknown(str(error)) from error
            await self._records.heads.give_back(taken)
            raise
        return lost


def _waves(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Places of the batch; of several jobs of one id each comes one wave later, so that it finds the one before."""
    left = list(range(len(jobs)))
    while left:
        first: dict[str, int] = {}
        for at in left:
            first.setdefault(jobs[at].job_id, at)
        wave = sorted(first.values())
        yield wave
        left = sorted(set(left) - set(wave))


def _planned(
    jobs: Mapping[int, Job],
    standing: Mapping[str, Standing],
    holders: dict[int, str],
    alike: set[str],
    known_types: set[str],
    room: QueueRoom,
    answers: dict[int, Placed],
) -> Iterator[_Planned]:
    """What each job comes to, in order, where it is to be written; the others are answered.

    holders: ids by arrival number, of the numbers that the jobs had elsewhere.
    """
    for at, job in jobs.items():
        stands = standing.get(job.job_id)
        if stands is not None and stands.state is State.ACTIVE:
            answers[at] = JobActive(job.queue, job.job_id)
            continue
        arrival = job.arrival if holders.get(job.arrival, job.job_id) == job.job_id else 0
        if stands is not None and job.job_id in alike and arrival in (0, stands.document["arrival"]):
            answers[at] = Put.SAME
            continue
        if job.spec.type not in known_types:
            if len(known_types) >= limits.TYPES_PER_QUEUE:
                answers[at] = too_many_types(job.queue)
                continue
            known_types.add(job.spec.type)
        if stands is None and (refusal := room.take()) is not None:
            answers[at] = refusal
            continue
        if stands is not None:
            holders.pop(stands.document["arrival"], None)
        if arrival:
            holders[arrival] = job.job_id
        yield _Planned(at, job, arrival, stands)
